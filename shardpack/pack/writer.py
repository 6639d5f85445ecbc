"""`ShardWriter`: samples from code into a dataset, one after the other."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.codecs.encode import encode_field
from shardpack.errors import DuplicateKeyError, InvalidKeyError, OptionError, SourceError
from shardpack.format import tar
from shardpack.format.key_index import hash_keys
from shardpack.format.manifest import Manifest, ShardInfo
from shardpack.format.naming import check_field, check_key, escape_key
from shardpack.pack.assembler import CHUNK_BYTES, Chunk, ShardAssembler
from shardpack.pack.publish import Output, shard_name
from shardpack.pack.run import recorded_options
from shardpack.plan.packing import ShardLimits
from shardpack.storage.files import NewFile, storage_errors
from shardpack.units import parse_bytes


class ShardWriter:
    """Write samples into shards; `close` makes them a dataset.

    Use it as a context manager: leaving it normally publishes the dataset, leaving it by an
    exception publishes nothing (finished shards stay, without a manifest). Memory: a chunk of
    4 MiB, or the largest sample, and the index of one shard. Not thread-safe.

    Example:
        >>> import shardpack, tempfile
        >>> with shardpack.ShardWriter(tempfile.mkdtemp()) as writer:
        ...     writer.write("cat/0001", {"jpg": b"...", "json": {"label": 3}})
    """

    def __init__(
        self,
        out: str | os.PathLike[str],
        *,
        max_shard_bytes: int | str = "256MiB",
        max_shard_samples: int | None = None,
        allow_oversized: bool = False,
        rename_keys: bool = False,
        force: bool = False,
    ):
        """Open `out` for a new dataset; nothing is there to be read before `close`.

        Args:
            out: A folder, made if it is not there.
            max_shard_bytes: Hard cap on a finished tar, as a number or like "256MiB".
            max_shard_samples: Cap on the samples in a shard.
            allow_oversized: Give a sample beyond the cap a shard of its own.
            rename_keys: Escape unsafe keys reversibly instead of refusing them.
            force: Replace a dataset, or the rest of one, that is already there.

        Raises:
            OutputExistsError: Something is there, and `force` is off.
        """
        self._limits = ShardLimits(parse_bytes(max_shard_bytes), max_shard_samples, allow_oversized)
        self._rename_keys = rename_keys
        self._output = Output(os.fspath(out))
        with storage_errors(f"write to {self._output.path!r}"):
            self._output.prepare(force=force)
            self._output.keep_only([])
        self._chunk = Chunk()
        self._shards: list[ShardInfo] = []
        self._hashes = _SeenKeys()
        self._open: _OpenShard | None = None
        self._closed = False
        self.payload_bytes = 0  # of all fields written so far
        self.manifest: Manifest | None = None  # of the dataset, once closed

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None:
            self.close()
        else:
            self.abort()

    @property
    def num_samples(self) -> int:
        """Samples written so far."""
        return sum(info.num_samples for info in self._shards) + (len(self._open.keys) if self._open else 0)

    def write(self, key: str, fields: Mapping[str, Any]) -> None:
        """Add one sample.

        Args:
            key: Unique in the dataset; "/" makes folders when the tar is unpacked.
            fields: Field name -> payload. Bytes are stored as they are; for "json" any JSON value,
                for "txt" a string, for "cls" an integer will do.

        Raises:
            InvalidKeyError: Readers would cut the key or a field differently.
            DuplicateKeyError: The shard holds the key already. Across shards this is found when
                the later one is finished, at the latest by `close`.
            SourceError: The sample is larger than a shard may be.
        """
        if self._closed:
            raise OptionError("the writer is closed; open another one")
        if self._rename_keys:
            key = escape_key(key)
        check_key(key)
        if not fields:
            raise InvalidKeyError("a sample without any field; give it at least one", key=key)
        names, payloads = [], []
        for field in sorted(fields):
            check_field(field, key=key)
            names.append(f"{key}.{field}".encode())
            payloads.append(encode_field(field, fields[field]))
        with storage_errors(f"write to {self._output.path!r}"):
            shard = self._shard_for(key, names, payloads)
            shard.add(key, sorted(fields), names, payloads)
        self.payload_bytes += sum(map(len, payloads))

    def _shard_for(self, key: str, names: list[bytes], payloads: list[bytes | memoryview]) -> _OpenShard:
        needed = sum(
            tar.header_length(name, len(payload)) + tar.padded(len(payload))
            for name, payload in zip(names, payloads, strict=True)
        )
        room = self._limits.max_bytes - len(tar.END_OF_ARCHIVE)
        if needed > room and not self._limits.allow_oversized:
            raise SourceError(
                f"sample takes {needed} bytes of a shard of {self._limits.max_bytes}; "
                "raise max_shard_bytes, or pass allow_oversized=True",
                key=key,
            )
        shard = self._open
        if shard is not None and (
            shard.num_bytes + needed > room or len(shard.keys) == self._limits.max_samples
        ):
            self._finish_shard(shard)
            shard = None
        if shard is None:
            name = shard_name(len(self._shards))
            shard = self._open = _OpenShard(name, self._output.new_shard(name), self._chunk)
        shard.num_bytes += needed
        return shard

    def _finish_shard(self, shard: _OpenShard) -> None:
        self._hashes.add(shard.keys, shard.name)
        index = shard.finish()
        self._shards.append(self._output.finish_shard(shard.name, shard.file, index, made_of="code"))
        self._open = None

    def close(self) -> None:
        """Finish the last shard, write the key index and the manifest. Safe to call twice.

        Raises:
            DuplicateKeyError: A key was written twice; nothing is published.
            StorageError: The disk refused; nothing is published.
        """
        if self._closed:
            return
        try:
            with storage_errors(f"write to {self._output.path!r}"):
                if self._open is not None:
                    self._finish_shard(self._open)
                recorded = recorded_options(
                    max_shard_bytes=self._limits.max_bytes,
                    max_shard_samples=self._limits.max_samples,
                    allow_oversized=self._limits.allow_oversized or None,
                    rename_keys=self._rename_keys or None,
                )
                self.manifest = self._output.complete(self._shards, self._hashes.in_order(), packed_with=recorded)
        except BaseException:
            self.abort()
            raise
        self._closed = True

    def abort(self) -> None:
        """Drop the shard being written and publish nothing."""
        if self._open is not None:
            self._open.file.discard()
            self._open = None
        self._closed = True


class _OpenShard:
    """A shard being written: samples wait until they fill a chunk."""

    def __init__(self, name: str, file: NewFile, chunk: Chunk):
        self.name, self.file = name, file
        self.num_bytes = 0  # planned, without the end blocks
        self.keys: list[str] = []
        self._seen: set[str] = set()
        self._assembler = ShardAssembler(file.write, chunk)
        self._start = [0]
        self._fields: list[str] = []
        self._sizes: list[int] = []
        self._names: list[bytes] = []
        self._waiting: list[bytes | memoryview] = []
        self._waiting_bytes = 0

    def add(self, key: str, fields: list[str], names: list[bytes], payloads: list[bytes | memoryview]) -> None:
        if key in self._seen:
            raise DuplicateKeyError("key was written twice; keys name one sample each", shard=self.name, key=key)
        self._seen.add(key)
        self.keys.append(key)
        self._fields.extend(fields)
        self._sizes.extend(map(len, payloads))
        self._start.append(len(self._fields))
        self._names.extend(names)
        self._waiting.extend(payloads)
        self._waiting_bytes += sum(map(len, payloads)) + 1024 * len(payloads)
        if self._waiting_bytes >= CHUNK_BYTES:
            self._flush()

    def _flush(self) -> None:
        waiting = self._waiting
        if not waiting:
            return

        def load(i: int, view: memoryview) -> None:
            view[:] = waiting[i]

        self._assembler.append(self._names, np.array(self._sizes[-len(waiting) :], np.int64), load)
        self._names, self._waiting, self._waiting_bytes = [], [], 0

    def finish(self) -> Any:
        self._flush()
        fields = sorted(set(self._fields))
        code = {field: number for number, field in enumerate(fields)}
        codes = np.array([code[field] for field in self._fields], np.uint16)
        sizes = np.array(self._sizes, np.int64)
        return self._assembler.finish(self.keys, np.array(self._start, np.int64), codes, fields, sizes)


class _SeenKeys:
    """Hashes of all keys so far, 16 bytes a key, to find one that was written before.

    Sorted runs are merged when they are of like length, so a key is moved O(log n) times.
    """

    def __init__(self) -> None:
        self._shards: list[npt.NDArray[np.uint64]] = []
        self._runs: list[npt.NDArray[np.uint64]] = []

    def add(self, keys: list[str], shard: str) -> None:
        hashes = hash_keys((key.encode() for key in keys), len(keys))
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, hashes), len(run) - 1)
            again = np.flatnonzero(run[at] == hashes)
            if len(again):
                raise DuplicateKeyError(
                    "key was written in an earlier shard; keys name one sample each",
                    shard=shard,
                    key=keys[int(again[0])],
                )
        self._shards.append(hashes)
        self._runs.append(np.sort(hashes))
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            self._runs.append(np.sort(np.concatenate((self._runs.pop(), self._runs.pop()))))

    def in_order(self) -> npt.NDArray[np.uint64]:
        """Return the hashes of all samples, in their order."""
        return np.concatenate(self._shards) if self._shards else np.zeros(0, np.uint64)
