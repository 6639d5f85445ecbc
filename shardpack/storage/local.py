"""A folder as a store: positional reads, hints to the kernel, memory maps.

The one place that knows what the operating system offers (`pread`, `posix_fadvise`, `preadv` with
RWF_NOWAIT); elsewhere, and on systems without them, plain reads do the same more slowly.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from shardpack.errors import CorruptShardError, ShardNotFoundError, StaleIndexError, StorageError
from shardpack.storage.coalesce import MergeLimits
from shardpack.storage.protocols import Ranges, ReadStats

# A local read costs under a microsecond beyond its bytes: merge the members of one small sample,
# but never copy a large payload twice to save one call. The gap is one header and its padding: less
# than any member takes, so that reading some fields never reads the bytes of another.
_MERGE_LIMITS = MergeLimits(max_gap_bytes=1023, max_request_bytes=64 << 10)
_LARGE_MAP_BYTES = 256 << 10
_MAX_OPEN_FILES = 256  # a quarter of the usual limit of 1024 descriptors a process
_LARGE_BYTES = 64 << 20
_COPY_BYTES = 4 << 20


class LocalStore:
    """Objects are files below a folder. One descriptor a file, opened at first use.

    Safe in threads and after fork: reads carry their offset and share no file position.
    """

    merge_limits = _MERGE_LIMITS
    checks_reads = False
    remote = False

    def __init__(self, location: str | os.PathLike[str]):
        self.location = os.fspath(location)
        self._folder = os.path.abspath(self.location)  # also after a change of the working directory
        self.stats = ReadStats()
        self._files: dict[str, LocalFile] = {}
        self._identities: dict[str, tuple[int, ...]] = {}  # of each file when it was first opened

    def __reduce__(self) -> tuple[type[LocalStore], tuple[str]]:
        return (LocalStore, (self._folder,))

    def __repr__(self) -> str:
        return f"LocalStore({self.location!r})"

    def get_range(self, path: str, *, start: int, length: int) -> bytes:
        """See `RangeReader.get_range`. One system call."""
        data = self._file(path).read(start, length)
        self.stats.add_requests(1, length)
        return data

    def get_ranges(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """See `RangeReader.get_ranges`. What is not in the page cache is hinted first, then all is read."""
        file = self._file(path)
        if len(starts) > 1:
            file.prefetch(starts, lengths)
        read = file.read
        data = [read(start, length) for start, length in zip(starts, lengths, strict=True)]
        self.stats.add_requests(len(data), sum(lengths))
        return data

    def get_many(self, wanted: Sequence[Ranges]) -> list[list[bytes]]:
        """See `RangeReader.get_many`. One object after the other."""
        return [self.get_ranges(ranges.path, starts=ranges.starts, lengths=ranges.lengths) for ranges in wanted]

    def size(self, path: str) -> int:
        """See `RangeReader.size`."""
        return self._file(path).size()

    def buffer(self, path: str) -> Any:
        """Return the file memory-mapped, read-only; nothing is copied."""
        with LocalFile(self._resolve(path), path) as file:
            self.stats.add_requests(1, file.size())
            return file.map()

    def map(self, path: str) -> mmap.mmap | None:
        """Return the file memory-mapped for many small reads at random."""
        mapped = self._file(path).map()
        return mapped if isinstance(mapped, mmap.mmap) else None

    def is_cached(self, path: str, start: int) -> bool:
        """Return whether a byte is in the page cache; True where the system cannot tell."""
        return self._file(path).is_cached(start)

    def prefetch(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> None:
        """Tell the kernel which ranges will be wanted, if they are not in memory yet."""
        self._file(path).prefetch(starts, lengths)

    def put(self, path: str, source: bytes | Path) -> None:
        """See `ObjectStore.put`. Written under another name, synced, renamed."""
        from shardpack.storage.atomic import storage_errors, sync_folder, write_file  # stands on this file

        full = self._resolve(path)
        with storage_errors(f"write {full!r}"):
            os.makedirs(os.path.dirname(full), exist_ok=True)
            write_file(full, [source] if isinstance(source, bytes) else _parts(source))
            sync_folder(os.path.dirname(full))
        self._files.pop(path, None)
        self._identities.pop(path, None)

    def delete(self, path: str) -> None:
        """See `ObjectStore.delete`."""
        from shardpack.storage.atomic import storage_errors

        full = self._resolve(path)
        with storage_errors(f"delete {full!r}"), suppress(FileNotFoundError):
            os.unlink(full)

    def names(self) -> list[str]:
        """See `ObjectStore.names`."""
        found = []
        for folder, _, files in os.walk(self._folder):
            below = os.path.relpath(folder, self._folder).replace(os.sep, "/")
            found.extend(files if below == "." else [f"{below}/{name}" for name in files])
        return sorted(found)

    def close(self) -> None:
        """Close all descriptors; later reads open them again."""
        self._files.clear()

    def _resolve(self, path: str) -> str:
        return os.path.join(self._folder, path)

    def _file(self, path: str) -> LocalFile:
        file = self._files.get(path)
        if file is None:
            # No lock: of two threads that open the same file, the loser's copy closes itself.
            opened = LocalFile(self._resolve(path), path)
            identity = opened.identity()
            if self._identities.setdefault(path, identity) != identity:
                raise StaleIndexError(
                    "the file was replaced after this dataset was opened; open the dataset again", shard=path
                )
            file = self._files.setdefault(path, opened)
            while len(self._files) > _MAX_OPEN_FILES:
                with suppress(KeyError, StopIteration, RuntimeError):
                    self._files.pop(next(iter(self._files)))
        return file


class LocalFile:
    """One file open for reading. Closes itself when the last user lets go of it."""

    def __init__(self, full_path: str, name: str):
        self._name = name
        self._descriptor = -1
        try:
            self._descriptor = os.open(full_path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ShardNotFoundError(
                f"a file of the dataset is missing: {full_path!r}; restore it, or pack again", shard=name
            ) from error
        except OSError as error:
            raise StorageError(f"cannot open {full_path!r}: {error.strerror}", shard=name) from error

    def __enter__(self) -> LocalFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def identity(self) -> tuple[int, ...]:
        """Return what tells this very file from one that takes its name later."""
        status = os.fstat(self._descriptor)
        return status.st_dev, status.st_ino

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def read(self, start: int, length: int) -> bytes:
        """Return exactly `length` bytes from `start`, or raise."""
        if length > _LARGE_BYTES and start + length > self.size():
            raise self._too_short(start, length)  # before so much memory is asked for
        try:
            data = _pread(self._descriptor, length, start)
            while len(data) < length:  # signals and the 2 GiB limit of one call cut reads short
                more = _pread(self._descriptor, length - len(data), start + len(data))
                if not more:
                    raise self._too_short(start, length)
                data += more
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(f"cannot read: {error.strerror}", shard=self._name, offset=start) from error
        return data

    def _too_short(self, start: int, length: int) -> CorruptShardError:
        return CorruptShardError(
            f"shard is truncated: expected bytes up to {start + length}, it has {self.size()}; "
            'restore it, then run "shardpack verify"',
            shard=self._name,
            offset=start,
        )

    def map(self) -> mmap.mmap | bytes:
        """Return a read-only map of the whole file; an empty file cannot be mapped and gives b""."""
        size = self.size()
        try:
            return mmap.mmap(self._descriptor, size, access=mmap.ACCESS_READ, **_MAP_OPTIONS) if size else b""
        except (OSError, ValueError) as error:  # ValueError: cut short just now
            raise StorageError(f"cannot map: {error}; try again", shard=self._name) from error

    def prefetch(self, starts: Sequence[int], lengths: Sequence[int]) -> None:
        """Start reading those ranges whose first byte is not in the page cache.

        Asking first keeps a warm batch free of hints: a probe costs 0.6 us on a 2-core VM, a hint
        that finds everything cached about as much, and both together more than the read.
        """
        if not _HAS_HINTS:
            return
        for start, length in zip(starts, lengths, strict=True):
            if length and not self.is_cached(start):  # to the kernel, no length means all the rest
                os.posix_fadvise(self._descriptor, start, length, os.POSIX_FADV_WILLNEED)

    def is_cached(self, start: int) -> bool:
        """Return whether the byte at `start` is in the page cache; True where the system cannot tell."""
        if not _HAS_HINTS:
            return True
        try:
            os.preadv(self._descriptor, [bytearray(1)], start, os.RWF_NOWAIT)
        except OSError:
            return False  # EAGAIN, or a file system without the probe: the hint does no harm
        return True


# A map keeps a descriptor of its own, only to tell the file's length: not needed here (Python 3.13).
_MAP_OPTIONS: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) and os.name != "nt" else {}
_HAS_HINTS = hasattr(os, "posix_fadvise") and hasattr(os, "preadv") and hasattr(os, "RWF_NOWAIT")

if hasattr(os, "pread"):
    _pread = os.pread
else:  # Windows

    def _pread(descriptor: int, length: int, offset: int) -> bytes:
        # A private duplicate would share the position: reopening by descriptor is not possible
        # there, so one lock keeps seek and read together.
        with _SEEK_LOCK:
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.read(descriptor, length)

    import threading

    _SEEK_LOCK = threading.Lock()


def drop_resident(buffer: Any) -> None:
    """Let go of the memory that a large map takes; the page cache keeps the bytes, and use brings them back."""
    if isinstance(buffer, mmap.mmap) and len(buffer) > _LARGE_MAP_BYTES and hasattr(mmap, "MADV_DONTNEED"):
        buffer.madvise(mmap.MADV_DONTNEED)


def _parts(source: Path) -> Iterator[bytes]:
    """Yield a file, a few MiB at a time."""
    with open(source, "rb", buffering=0) as file:
        while part := file.read(_COPY_BYTES):
            yield part


def start_writeback(descriptor: int, start: int, length: int) -> None:
    """Let the disk begin with a range just written, so that a sync later finds little left to do.

    Without it, packing 430 MB in shards of 64 MiB waits 0.25 s for syncs, with it 0.05 s (ext4, 2-core VM).
    """
    if not _HAS_HINTS:
        return
    with suppress(OSError):  # a hint that fails is no failed write
        # What is still to be written is only queued by this; what is on the disk may leave the cache.
        os.posix_fadvise(descriptor, start, length, os.POSIX_FADV_DONTNEED)
