"""`ShardWriter`: samples from code into a dataset, one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import numpy as np

from shardpack.codecs.encode import encode_field
from shardpack.commit.lease import how_to_continue
from shardpack.commit.target import open_target
from shardpack.commit.transaction import begin
from shardpack.errors import DuplicateKeyError, InvalidKeyError, OptionError, SourceError, StorageError
from shardpack.format import tar_header as tar
from shardpack.format.assemble import encode_dataset, recorded_options
from shardpack.format.manifest import Manifest, ShardInfo
from shardpack.format.naming import check_field, check_key, escape_key, shard_name
from shardpack.format.shard_index import ShardIndex
from shardpack.runtime.sizes import parse_bytes
from shardpack.storage.atomic import NewFile, storage_errors
from shardpack.write.duplicate_keys import SeenKeys
from shardpack.write.shard_assembler import CHUNK_BYTES, Chunk, ShardAssembler
from shardpack.write.sharding import ShardLimits


class ShardWriter:
    """Write samples into shards; `close` makes them a dataset, also of no sample at all.

    Use it as a context manager: leaving it normally publishes the dataset, leaving it by an
    exception publishes nothing. Finished shards then stay without a manifest, until the next
    writer starts over in the folder. Memory: 8 MiB, or twice the largest sample, the index of
    one shard, and 16 bytes a sample. Not thread-safe.

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
        storage_options: Mapping[str, Any] | None = None,
        work_dir: str | os.PathLike[str] | None = None,
    ):
        """Open `out` for a new dataset; nothing is there to be read before `close`.

        Args:
            out: A folder, made if it is not there, or its URL (`s3://`, `gs://`, `az://`, `memory://`,
                or what fsspec has a driver for). What an unfinished run left in it is replaced.
            max_shard_bytes: Hard cap on a finished tar, as a number or like "256MiB".
            max_shard_samples: Cap on the samples in a shard.
            allow_oversized: Give a sample beyond the cap a shard of its own.
            rename_keys: Escape unsafe keys reversibly instead of refusing them.
            force: Replace a dataset that is already there; it is deleted now.
            storage_options: Of the URL: region, endpoint, credentials, and what else the provider takes.
            work_dir: With a URL: a folder of this machine with room for two shards; each is made
                there, uploaded while the next one is written, and deleted.

        Raises:
            OutputExistsError: A dataset is there and `force` is off, or another packer is at work.
            StorageError: The folder cannot be written.
        """
        self._limits = ShardLimits(parse_bytes(max_shard_bytes), max_shard_samples, allow_oversized)
        self._rename_keys = rename_keys
        self._target = open_target(out, storage_options, scratch_dir=work_dir)
        self._chunk = Chunk()
        self._shards: list[ShardInfo] = []
        self._open: _OpenShard | None = None
        self._closed = False
        self._failure: BaseException | None = None
        self.payload_bytes = 0  # of all fields written so far
        self.manifest: Manifest | None = None  # of the dataset, once closed
        self._transaction = begin(self._target, "write", force=force)
        self._deliveries = self._transaction.deliveries(jobs=1)
        try:
            with storage_errors(f"write to {self._target.location!r}", then=how_to_continue("write")):
                self._transaction.keep_only([])
                self._scratch = self._transaction.scratch
        except BaseException:
            self._transaction.release()
            raise
        self._seen = SeenKeys(self._transaction.read_index)

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
        """Add one sample. Its payloads may be changed afterwards.

        After an error that concerns this sample only (its names, its values, its size, its key
        being in this shard already) the writer goes on; any other closes it.

        Args:
            key: Unique in the dataset; "/" makes folders when the tar is unpacked.
            fields: Field name -> payload. Bytes are stored as they are; for "json" any JSON value,
                for "txt" a string, for "cls" an integer will do.

        Raises:
            InvalidKeyError: Readers would cut the key or a field differently.
            DuplicateKeyError: The shard holds the key already. Across shards this is found when
                the later one is finished, at the latest by `close`.
            OptionError: A value is nothing that its field can store.
            SourceError: The sample is larger than a shard may be.
            StorageError: The disk refused.
        """
        if self._closed:
            self._raise_failure()
            raise OptionError("the writer is closed; open another one")
        key, names = self._checked_names(key, fields)
        used = sorted(fields)
        payloads = [encode_field(field, fields[field]) for field in used]
        needed = sum(
            tar.header_length(name, len(payload)) + tar.padded(len(payload))
            for name, payload in zip(names, payloads, strict=True)
        )
        shard = self._open
        if shard is not None and key in shard.seen:
            raise DuplicateKeyError("key was written twice; keys name one sample each", shard=shard.name, key=key)
        room = self._limits.max_bytes - len(tar.END_OF_ARCHIVE)
        if needed > room and not self._limits.allow_oversized:
            raise SourceError(
                f"sample takes {needed} bytes of a shard of {self._limits.max_bytes}; "
                "raise max_shard_bytes, or pass allow_oversized=True",
                key=key,
            )
        if shard is not None and (shard.num_bytes + needed > room or len(shard.keys) == self._limits.max_samples):
            self._finish_shard(shard)
            shard = None
        if shard is None:
            shard = self._start_shard()
        shard.add(key, used, names, payloads, needed)
        self.payload_bytes += sum(map(len, payloads))
        if shard.waiting_bytes >= CHUNK_BYTES:
            with self._writing():
                shard.flush()

    def _checked_names(self, key: str, fields: Mapping[str, Any]) -> tuple[str, list[bytes]]:
        """Return the key as it will be stored, and the member names, fields sorted."""
        if not isinstance(key, str):
            raise InvalidKeyError(f"key is a {type(key).__name__}, expected a str", key=repr(key))
        if self._rename_keys:
            key = escape_key(key)
        check_key(key)
        if not fields:
            raise InvalidKeyError("a sample without any field; give it at least one", key=key)
        for field in fields:
            if not isinstance(field, str):
                raise InvalidKeyError(f"field name is a {type(field).__name__}, expected a str", key=key)
            check_field(field, key=key)
        return key, [f"{key}.{field}".encode() for field in sorted(fields)]

    def _start_shard(self) -> _OpenShard:
        name = shard_name(len(self._shards))
        with self._writing():
            self._deliveries.acquire()
            self._open = _OpenShard(name, self._scratch.new_file(name), self._chunk)
            return self._open

    def _finish_shard(self, shard: _OpenShard) -> None:
        with self._writing():
            self._seen.add(shard.keys, shard.name)
            index = shard.finish()
            info = self._scratch.finish_shard(shard.name, shard.file, index)
            self._shards.append(info)
            self._open = None
            self._deliveries.submit(info, "code")
            self._deliveries.poll()  # raises what went wrong with an earlier one

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Close the writer if what is done here fails: the shard being written is not whole then."""
        try:
            with storage_errors(f"write to {self._target.location!r}", then=how_to_continue("write")):
                yield
        except BaseException as error:
            self._failure = error
            self.abort()
            raise

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise StorageError(
                f"nothing was published, because an earlier write failed: {self._failure}; write all samples again"
            ) from self._failure

    def close(self) -> None:
        """Finish the last shard, write the key index and the manifest. Safe to call twice.

        Raises:
            DuplicateKeyError: A key was written twice; nothing is published.
            StorageError: The disk refused, now or in an earlier `write`; nothing is published.
        """
        if self._closed:
            self._raise_failure()
            return
        if self._open is not None:
            self._finish_shard(self._open)
        recorded = recorded_options(
            max_shard_bytes=self._limits.max_bytes,
            max_shard_samples=self._limits.max_samples,
            allow_oversized=self._limits.allow_oversized or None,
            rename_keys=self._rename_keys or None,
        )
        with self._writing():
            for _ in self._deliveries.drain():
                pass
            self._deliveries.stop()
            self.manifest, files = encode_dataset(self._shards, self._seen.hashes(), packed_with=recorded)
            self._transaction.publish(files)
        self._closed = True

    def abort(self) -> None:
        """Drop the shard being written and publish nothing. Safe to call twice, and after `close`."""
        self._closed = True
        if self._open is not None:
            self._open.file.discard()
            self._open = None
        self._deliveries.stop()
        self._transaction.release()


class _OpenShard:
    """A shard being written: samples wait until they fill a chunk."""

    def __init__(self, name: str, file: NewFile, chunk: Chunk):
        self.name, self.file = name, file
        self.num_bytes = 0  # planned, without the end blocks
        self.keys: list[str] = []
        self.seen: set[str] = set()
        self._assembler = ShardAssembler(file.write, chunk)
        self._start = [0]
        self._fields: list[str] = []
        self._sizes: list[int] = []
        self._names: list[bytes] = []
        self._waiting: list[bytes] = []
        self.waiting_bytes = 0

    def add(self, key: str, fields: list[str], names: list[bytes], payloads: list[bytes], num_bytes: int) -> None:
        self.num_bytes += num_bytes
        self.waiting_bytes += num_bytes
        self.seen.add(key)
        self.keys.append(key)
        self._fields.extend(fields)
        self._sizes.extend(map(len, payloads))
        self._start.append(len(self._fields))
        self._names.extend(names)
        self._waiting.extend(payloads)

    def flush(self) -> None:
        waiting = self._waiting
        if not waiting:
            return

        def fill(views: Sequence[memoryview]) -> None:
            for payload, view in zip(waiting, views, strict=True):
                view[:] = payload

        self._assembler.append(self._names, np.array(self._sizes[-len(waiting) :], np.int64), fill)
        self._names, self._waiting, self.waiting_bytes = [], [], 0

    def finish(self) -> ShardIndex:
        self.flush()
        fields = sorted(set(self._fields))
        code = {field: number for number, field in enumerate(fields)}
        codes = np.array([code[field] for field in self._fields], np.int64)
        sizes = np.array(self._sizes, np.int64)
        return self._assembler.finish(self.keys, np.array(self._start, np.int64), codes, fields, sizes)
