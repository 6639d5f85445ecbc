"""A shard that is written sample by sample: payloads wait until they fill a buffer, which a thread writes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from shardpack.errors import DuplicateKeyError
from shardpack.format.shard_index import ShardIndex, check_field_names
from shardpack.storage.atomic import NewFile
from shardpack.write.frame_writer import FrameWriter
from shardpack.write.sample_shape import SampleShape
from shardpack.write.shard_assembler import Buffer, ShardAssembler, WriteBehind
from shardpack.write.shard_compression import ShardCompression


class ShardInProgress:
    """One shard, from its first sample to its index. `finish` or `discard` ends it and its thread.

    Attributes:
        name: Name of the shard.
        file: The file that is being written.
        num_bytes: Length of the tar so far, unflushed samples included, end-of-archive blocks excluded.
        waiting_bytes: Length of the unflushed samples in the tar.
        keys: Keys of the samples, in order.
    """

    def __init__(
        self, name: str, file: NewFile, buffer: Buffer, *, compression: ShardCompression | None = None
    ) -> None:
        self.name, self.file = name, file
        self.num_bytes = self.waiting_bytes = 0
        self.keys: list[str] = []
        self._seen: dict[str, str] = {}  # key in lower case -> key
        self._frames = None if compression is None else FrameWriter(file.write, compression)
        self._ends: list[int] = []  # of the samples that wait, in the tar; kept for frames only
        self._behind = WriteBehind(file.write if self._frames is None else self._frames.write)
        self._behind.__enter__()
        self._assembler = ShardAssembler(self._behind.write, buffer)
        self._code_of: dict[str, int] = {}  # field -> its number in the shard
        self._shapes: set[SampleShape] = set()
        self._shape: SampleShape | None = None  # of the last sample added
        self._runs: list[tuple[int, SampleShape]] = []  # (first row, shape of the samples from there on)
        self._sizes: list[npt.NDArray[np.int64]] = []
        self._waiting: list[bytes] = []
        self._num_flushed = self._flushed_payload_bytes = 0

    @property
    def payload_bytes(self) -> int:
        """Total length of the payloads so far."""
        return self._flushed_payload_bytes + sum(map(len, self._waiting))

    def add(self, key: str, shape: SampleShape, payloads: Sequence[bytes], num_bytes: int) -> None:
        """Add a sample to those that wait; it takes `num_bytes` of the tar. The first sample is never refused.

        Raises:
            DuplicateKeyError: The shard has this key, or one that differs in case only.
            FormatError: With this sample, the shard has more different fields than an index may have.
        """
        folded = key.lower()
        if folded in self._seen:
            raise repeated(key, self._seen[folded], self.name)
        if shape is not self._shape:
            self._begin_run(shape, key)
        self._seen[folded] = key
        self.keys.append(key)
        self._waiting += payloads
        self.num_bytes += num_bytes
        if self._frames is not None:
            self._ends.append(self.num_bytes)
        self.waiting_bytes += num_bytes

    def _begin_run(self, shape: SampleShape, key: str) -> None:
        if shape not in self._shapes:
            if self._code_of:
                check_field_names(sorted({*self._code_of, *shape.fields}), shard=self.name, key=key)
            self._shapes.add(shape)
            for field in shape.fields:
                self._code_of.setdefault(field, len(self._code_of))
        self._shape = shape
        self._runs.append((len(self.keys), shape))

    def flush(self) -> None:
        """Assemble the samples that wait, and pass them to the thread that writes."""
        waiting = self._waiting
        if not waiting:
            return
        names = [
            (key + suffix).encode()
            for first, stop, shape in self._runs_from(self._num_flushed)
            for key in self.keys[first:stop]
            for suffix in shape.suffixes
        ]
        if self._frames is not None:
            self._frames.end_samples(self._ends)
            self._ends = []
        sizes = np.fromiter(map(len, waiting), np.int64, len(waiting))
        self._assembler.append_payloads(names, sizes, waiting)
        self._sizes.append(sizes)
        self._flushed_payload_bytes += int(sizes.sum())
        self._num_flushed = len(self.keys)
        self._waiting, self.waiting_bytes = [], 0

    def _runs_from(self, row: int) -> Iterator[tuple[int, int, SampleShape]]:
        """Yield (first, stop, shape) for each run of samples with one shape, from `row` on."""
        run = bisect_right(self._runs, row, key=itemgetter(0)) - 1
        stops = [first for first, _ in self._runs[run + 1 :]]
        for (first, shape), stop in zip(self._runs[run:], [*stops, len(self.keys)], strict=True):
            yield max(first, row), stop, shape

    def finish(self) -> ShardIndex:
        """Write the samples that wait and the end of the tar, wait for the thread, and return the index."""
        self.flush()
        runs = list(self._runs_from(0))
        lengths = [stop - first for first, stop, _ in runs]
        counts = np.repeat([len(shape.fields) for _, _, shape in runs], lengths)
        codes = {shape: [self._code_of[field] for field in shape.fields] for shape in self._shapes}
        index = self._assembler.finish(
            self.keys,
            np.concatenate(([0], np.cumsum(counts))),
            np.array([code for first, stop, shape in runs for code in codes[shape] * (stop - first)], np.int64),
            list(self._code_of),
            np.concatenate(self._sizes),
        )
        self._behind.__exit__(None, None, None)
        return index if self._frames is None else self._frames.finish(index)

    def discard(self) -> None:
        """Stop writing, and delete the file."""
        self._behind.__exit__(OSError, OSError(), None)
        self.file.discard()


def repeated(key: str, other: str, shard: str) -> DuplicateKeyError:
    """Return the error for a key that the shard already has, or has in another case."""
    if key == other:
        return DuplicateKeyError("key was written twice; each key must name one sample", shard=shard, key=key)
    return DuplicateKeyError(
        f"key differs in case only from {other!r}, and some file systems ignore case; rename one", shard=shard, key=key
    )
