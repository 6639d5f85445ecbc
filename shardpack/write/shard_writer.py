"""`ShardWriter` makes a dataset from samples that code passes to it one by one."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from shardpack.codecs.encode import versions_for
from shardpack.commit.lease import how_to_continue
from shardpack.commit.open_target import as_target
from shardpack.commit.target import Target
from shardpack.commit.transaction import Transaction
from shardpack.errors import FormatError, InvalidKeyError, OptionError, SourceError, StorageError
from shardpack.format.assemble import encode_dataset, recorded_options
from shardpack.format.layout import shard_name
from shardpack.format.manifest import Manifest
from shardpack.format.shard_info import ShardInfo
from shardpack.format.split_names import split_names_problem
from shardpack.format.splits import splits_of_shards
from shardpack.runtime.sizes import DEFAULT_MAX_SHARD_BYTES, parse_bytes
from shardpack.runtime.threads import Threads
from shardpack.runtime.words import a_type
from shardpack.storage.atomic import storage_errors
from shardpack.storage.open import Writable
from shardpack.write.apply_steps import Failure, Made, failure_of
from shardpack.write.compress_fields import CompressFields
from shardpack.write.duplicate_keys import SeenKeys
from shardpack.write.request import as_classes
from shardpack.write.shard_assembler import Buffer
from shardpack.write.shard_compression import recorded_compression, shard_compression
from shardpack.write.shard_in_progress import ShardInProgress
from shardpack.write.shard_series import ShardSeries
from shardpack.write.sharding import ShardLimits
from shardpack.write.transform import ENCODED, Counts, Pipeline, RenameKeys, Step


class ShardWriter:
    """Writes samples into shards; `close` publishes the dataset, even if it has no samples.

    Use it as a context manager: leaving it normally publishes the dataset, leaving it by an
    exception publishes nothing. Finished shards then stay without a manifest until the next
    writer starts in the folder. Memory: 12 MiB or three times the largest sample, the index
    of one shard, and 16 bytes per sample. Not thread-safe. Only the process that opened it can write:
    in a forked child `write` raises, and `close` and `abort` do nothing.

    Attributes:
        largest_shard_bytes: Length of the longest finished tar.
        manifest: The manifest of the dataset after `close`; None before.
        counts: What the steps have counted: "encoded.json" is the number of values in a field that is compressed.
        recorded: What the manifest keeps besides the writer's own options.
        rejected: (name, reason) of each sample that was left out, for `rejected.jsonl`.

    Example:
        >>> import shardpack, tempfile
        >>> with shardpack.ShardWriter(tempfile.mkdtemp()) as writer:
        ...     writer.write("cat/0001", {"jpg": b"...", "json": {"label": 3}})
    """

    def __init__(
        self,
        out: Writable | Target,
        *,
        max_shard_bytes: int | str = DEFAULT_MAX_SHARD_BYTES,
        max_shard_samples: int | None = None,
        allow_oversized: bool = False,
        classes: Sequence[str] | None = None,
        rename_keys: bool = False,
        force: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        work_dir: str | os.PathLike[str] | None = None,
        compress: Mapping[str, str] | None = None,
        frame_bytes: int | str | None = None,
    ):
        """Open `out` for a new dataset, which can be read after `close`.

        Args:
            out: A folder, created if it does not exist, or its URL (`s3://`, `gs://`, `az://`, `memory://`,
                or any that fsspec has a driver for); or a target, as edits open one. The files of an unfinished run
                in it are replaced.
            max_shard_bytes: Hard cap on a finished tar: a number of bytes, or text such as "256MiB".
            max_shard_samples: Cap on the number of samples in a shard.
            allow_oversized: Give a sample that exceeds the cap a shard of its own.
            classes: Class names in the order of their labels, kept in the manifest.
            rename_keys: Escape unsafe keys reversibly instead of refusing them.
            force: Replace an existing dataset; it is deleted now.
            storage_options: Options of the URL: region, endpoint, credentials, and others of the provider.
            work_dir: For URLs: local folder with space for two shards. Each is made there, uploaded while
                the next one is written, and deleted.
            compress: What is compressed with zstd, at level 1 to 22. `{"json": "zstd:9"}` stores each field `json` as
                `json.zst`; readers that decode undo it. `{"shards": "zstd:3"}` compresses whole shards:
                `shard-000000.tar.zst`; the caps hold for the tars before compression. Needs the extra `zstd`.
            frame_bytes: How much of a tar is compressed together, at least: "16KiB" unless told. A sample is
                read together with its frame.

        Raises:
            MissingDependencyError: Something is to be compressed, and zstandard is not installed.
            OutputExistsError: A dataset exists and `force` is off, or another packer is at work.
            StorageError: The folder or bucket cannot be written.
        """
        self._limits = ShardLimits(parse_bytes(max_shard_bytes), max_shard_samples, allow_oversized)
        self._rename_keys = rename_keys
        self._compress = CompressFields.parse(compress)
        steps: list[Step] = [RenameKeys()] if rename_keys else []
        if self._compress.by_field:
            steps.append(self._compress)
        self._transform = Pipeline(tuple(steps)) if steps else None
        self.counts: Counts = Counts()
        self.recorded: dict[str, Any] = {}
        self.rejected: list[tuple[str, str]] = []
        self._classes = as_classes(classes)
        self._target = as_target(out, storage_options, work_dir=work_dir)
        self._compression = shard_compression(compress, frame_bytes)
        self._buffer = Buffer()
        self._shards: list[ShardInfo] = []
        self._series = ShardSeries(
            self._limits,
            buffer_bytes=self._buffer.num_bytes,
            start=self._start_shard,
            flush=self._flush_shard,
            finish=self._finish_shard,
        )
        self._split: str | None = None
        self._num_shards = Counter[str | None]()  # by split
        self._num_finished = self._finished_payload_bytes = 0
        self._finisher = Threads(1, purpose="finish")
        self._finishing: Future[ShardInfo] | None = None
        self._process = os.getpid()
        self._closed = False
        self._failure: BaseException | None = None
        self.largest_shard_bytes = 0
        self.tar_bytes = 0
        self.manifest: Manifest | None = None
        self._transaction = Transaction.new_dataset(self._target, "write", force=force)
        self._deliveries = self._transaction.delivery_queue(jobs=1)
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
        """Number of samples written so far."""
        return self._num_finished + (len(shard.keys) if (shard := self._series.open) else 0)

    @property
    def payload_bytes(self) -> int:
        """Total length of the payloads written so far."""
        return self._finished_payload_bytes + (shard.payload_bytes if (shard := self._series.open) else 0)

    @property
    def location(self) -> str:
        """The dataset's folder, or its URL without secrets."""
        return self._target.location

    def write(self, key: str, fields: Mapping[str, Any], *, split: str | None = None) -> None:
        """Add one sample. The caller may change its payloads afterwards.

        After an error that concerns only this sample (its names, values or size, or a key that this
        shard already has) the writer can be used further; any other error closes it.

        Args:
            key: Unique in the dataset; "/" makes folders when the tar is unpacked.
            fields: Field name -> payload. Bytes are stored as they are; of other values, the last part of the
                name ("png" of "seg.png") says how: "json" any JSON value, "txt" a string, "cls" an integer, "npy" an
                array, "npz" a dict of arrays, "msgpack" what MessagePack can hold (extra `msgpack`), "png", "jpg" and
                "webp" an array or a PIL image, of which no pixel changes silently. "json.zst" is compressed.
            split: Name of the split that the sample is in; None for none. No shard has samples of two: a sample of
                another split than the one before begins a shard, so write those of a split one after another.

        Raises:
            InvalidKeyError: The key is not a string, or readers would split the key or a field differently.
            FormatError: The samples of the shard have more different fields than an index may have.
            DuplicateKeyError: The shard already has the key. Repeats across shards are found when the
                later shard is finished, at the latest by `close`.
            OptionError: A field cannot store its value; the split cannot have this name; or the writer is closed, or
                another process opened it.
            MissingDependencyError: A field needs a library that is not installed.
            SourceError: The sample does not fit in a shard.
            StorageError: The disk or the bucket refused.
        """
        if self._closed:
            self._raise_failure()
            raise OptionError("the writer is closed; open another one")
        if os.getpid() != self._process:
            raise OptionError(
                f"the writer belongs to process {self._process}, and this is process {os.getpid()}; "
                "write all samples from one, or open a writer for another folder after the fork"
            )
        if not isinstance(key, str):
            raise InvalidKeyError(f"key is {a_type(key)}, expected a str", key=repr(key))
        if not isinstance(fields, Mapping):
            raise OptionError(
                f'the fields of a sample are {a_type(fields)}, expected a dict such as {{"jpg": data}} (key={key!r})'
            )
        if split != self._split:
            self._change_split(split)
        if self._transform is None:
            self._series.add(self._series.prepare(key, fields))
        else:
            for new_key, new_fields in self._transform(key, fields, self.counts):
                self._series.add(self._series.prepare(new_key, new_fields))

    def _change_split(self, split: str | None) -> None:
        """End the shard that is open; the next ones are of this split."""
        names = {name for name in (*self._num_shards, split) if name is not None}
        if problem := split_names_problem(names):
            raise OptionError(problem)
        self._series.finish()
        self._split = split

    def add_outcome(self, made: Made, *, split: str | None = None) -> Failure | None:
        """Add what the steps have made of one sample elsewhere; return why that cannot be written, or None.

        Raises:
            DuplicateKeyError: The shard already has a key of it.
            StorageError: The disk or the bucket refused.
        """
        try:
            prepared = [self._series.prepare(key, fields) for key, fields in made.samples]
        except (FormatError, SourceError) as error:
            return failure_of(error)
        if split != self._split:
            self._change_split(split)
        for sample in prepared:
            self._series.add(sample)
        self.counts.update(made.counts)
        return None

    def _start_shard(self) -> ShardInProgress:
        split = self._split
        name = shard_name(self._num_shards[split], split=split, compressed=self._compression is not None)
        with self._writing():
            self._deliveries.acquire()
            shard = ShardInProgress(name, self._scratch.new_file(name), self._buffer, compression=self._compression)
            self._num_shards[split] += 1
            return shard

    def _flush_shard(self, shard: ShardInProgress) -> None:
        with self._writing():
            shard.flush()

    def _finish_shard(self, shard: ShardInProgress) -> None:
        """Start a thread that syncs and renames the shard while the next one is filled."""
        with self._writing():
            self._await_finished()
            self._seen.add(shard.keys, shard.name)
            index = shard.finish()
            self.tar_bytes += index.plain_bytes
            self._finishing = self._finisher.start(self._scratch.finish_shard, shard.name, shard.file, index)
            self._num_finished += len(shard.keys)
            self._finished_payload_bytes += shard.payload_bytes

    def _await_finished(self) -> None:
        """Wait until the previous shard is finished, and start delivering it."""
        finishing, self._finishing = self._finishing, None
        if finishing is not None:
            info = finishing.result()
            self._shards.append(info)
            self.largest_shard_bytes = max(self.largest_shard_bytes, info.num_bytes)
            self._deliveries.submit(info, "code")
            self._deliveries.poll()  # raises the error of an earlier delivery

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Close the writer if the body fails, because the shard being written is then incomplete."""
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
            StorageError: The disk or the bucket refused, now or in an earlier `write`; nothing is published.
        """
        if os.getpid() != self._process:
            return
        if self._closed:
            self._raise_failure()
            return
        self._series.finish()
        with self._writing():
            self._await_finished()
        recorded = recorded_options(
            max_shard_bytes=self._limits.max_bytes,
            max_shard_samples=self._limits.max_samples,
            allow_oversized=self._limits.allow_oversized or None,
            rename_keys=self._rename_keys or None,
            compress={**(self._compress.recorded() or {}), **recorded_compression(self._compression)} or None,
            frame_bytes=None if self._compression is None else self._compression.frame_bytes,
            versions={**self.recorded.pop("versions", {}), **self._versions()} or None,
            **self.recorded,
        )
        with self._writing():
            self._finisher.close()
            for _ in self._deliveries.drain():
                pass
            self._deliveries.stop()
            self.manifest, files = encode_dataset(
                self._shards,
                self._seen.hashes(),
                classes=self._classes,
                splits=splits_of_shards(self._shards),
                packed_with=recorded,
                rejected=self.rejected,
            )
            self._transaction.publish(files)
        self._buffer.release()
        self._closed = True

    def _versions(self) -> dict[str, str]:
        """Return the versions of the libraries that decided the bytes of fields and shards."""
        compressed = {name.removeprefix(ENCODED) for name in self.counts if name.startswith(ENCODED)}
        encoded = compressed | self._series.encoded
        of_shards = {} if self._compression is None else self._compression.versions()
        return versions_for(encoded) | self._compress.versions() | of_shards

    def abort(self) -> None:
        """Discard the shard being written, and publish nothing. Safe to call twice, and after `close`."""
        if os.getpid() != self._process:
            return
        self._closed = True
        self._series.discard()
        self._finisher.close()
        self._buffer.release()
        self._deliveries.stop()
        self._transaction.release()
