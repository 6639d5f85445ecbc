"""A shard being written sample by sample: payloads wait until they fill a chunk, which a thread writes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shardpack.errors import DuplicateKeyError
from shardpack.format.shard_index import ShardIndex, check_field_names
from shardpack.runtime.write_behind import WriteBehind
from shardpack.storage.atomic import NewFile
from shardpack.write.sample_shape import SampleShape
from shardpack.write.shard_assembler import Chunk, ShardAssembler


class OpenShard:
    """One shard, from its first sample to its index. `finish` or `discard` ends it, and its thread.

    Attributes:
        num_bytes: Of the tar so far, what waits included, without its end.
        keys: Of its samples, in order.
    """

    def __init__(self, name: str, file: NewFile, chunk: Chunk) -> None:
        self.name, self.file = name, file
        self.num_bytes = 0
        self.keys: list[str] = []
        self._seen: dict[str, str] = {}  # a key in lower case -> the key
        self._chunk_bytes = chunk.num_bytes
        self._behind = WriteBehind(file.write)
        self._behind.__enter__()
        self._assembler = ShardAssembler(self._behind.write, chunk)
        self._code_of: dict[str, int] = {}  # of each field of the shard
        self._codes_of: dict[SampleShape, list[int]] = {}
        self._shapes: list[SampleShape] = []  # of all samples
        self._sizes: list[npt.NDArray[np.int64]] = []
        self._waiting: list[bytes] = []
        self._waiting_bytes = self._num_flushed = 0

    def add(self, key: str, shape: SampleShape, payloads: list[bytes], num_bytes: int) -> bool:
        """Add a sample; return whether enough wait to be flushed. The first one of a shard is never refused.

        Raises:
            DuplicateKeyError: The shard has the key, or one that differs in case only.
            FormatError: More different fields, with those of the other samples, than an index may have.
        """
        before = len(self._seen)
        other = self._seen.setdefault(key.lower(), key)
        if len(self._seen) == before:
            raise repeated(key, other, self.name)
        if shape not in self._codes_of:
            self._add_shape(shape, key)
        self.keys.append(key)
        self._shapes.append(shape)
        self._waiting += payloads
        self.num_bytes += num_bytes
        self._waiting_bytes += num_bytes
        return self._waiting_bytes >= self._chunk_bytes

    def _add_shape(self, shape: SampleShape, key: str) -> None:
        if self._code_of:
            try:
                check_field_names(sorted({*self._code_of, *shape.fields}), shard=self.name, key=key)
            except BaseException:
                del self._seen[key.lower()]  # the sample is refused, the writer goes on
                raise
        self._codes_of[shape] = [self._code_of.setdefault(field, len(self._code_of)) for field in shape.fields]

    def flush(self) -> None:
        """Lay out what waits, and hand it to the thread that writes."""
        waiting = self._waiting
        if not waiting:
            return

        def fill(views: Sequence[memoryview]) -> None:
            for payload, view in zip(waiting, views, strict=True):
                view[:] = payload

        first = self._num_flushed
        named = zip(self.keys[first:], self._shapes[first:], strict=True)
        names = [(key + suffix).encode() for key, shape in named for suffix in shape.suffixes]
        sizes = np.fromiter(map(len, waiting), np.int64, len(waiting))
        self._assembler.append(names, sizes, fill)
        self._sizes.append(sizes)
        self._num_flushed = len(self.keys)
        self._waiting, self._waiting_bytes = [], 0

    def finish(self) -> ShardIndex:
        """Write what waits and the end of the tar, all of it; return the index."""
        self.flush()
        counts = np.fromiter((len(shape.fields) for shape in self._shapes), np.int64, len(self._shapes))
        codes = [code for shape in self._shapes for code in self._codes_of[shape]]
        index = self._assembler.finish(
            self.keys,
            np.concatenate(([0], np.cumsum(counts))),
            np.array(codes, np.int64),
            list(self._code_of),
            np.concatenate(self._sizes),
        )
        self._behind.__exit__(None, None, None)
        return index

    def discard(self) -> None:
        """Stop writing, and delete what was written."""
        self._behind.__exit__(OSError, OSError(), None)
        self.file.discard()


def repeated(key: str, other: str, shard: str) -> DuplicateKeyError:
    """Return the error for a key that a shard has already, in this case or another."""
    if key == other:
        return DuplicateKeyError("key was written twice; keys name one sample each", shard=shard, key=key)
    return DuplicateKeyError(
        f"key differs in case only from {other!r}, and some file systems know no case; rename one", shard=shard, key=key
    )
