"""Samples back to files, as `tar xf` would, but chosen by key and field, and never outside the folder."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from shardpack.errors import DuplicateKeyError, InvalidKeyError, OutputExistsError, StorageError
from shardpack.format.manifest import Manifest
from shardpack.format.naming import unescape_key
from shardpack.read.sample import Sample
from shardpack.runtime.progress import Progress, no_progress
from shardpack.storage.atomic import storage_errors

PROGRESS_SAMPLES = 100


class Samples(Protocol):
    """What is asked of a dataset, or a view of one."""

    @property
    def manifest(self) -> Manifest: ...

    def __len__(self) -> int: ...

    def select(self, items: Iterable[Any]) -> Samples:
        """Return a view of some positions or keys."""
        ...

    def stream(self, *, fields: Sequence[str] | None) -> Iterable[Sample]:
        """Return the samples in order."""
        ...


def extract(
    dataset: Samples,
    out: str | os.PathLike[str],
    *,
    keys: Iterable[str | int] | None = None,
    fields: Sequence[str] | None = None,
    unescape: bool = False,
    force: bool = False,
    progress: Progress = no_progress,
) -> int:
    """Write samples as files `<out>/<key>.<field>`; return how many files were written.

    Args:
        dataset: An open dataset, or a view of one.
        out: Folder, made if it is not there.
        keys: Only these keys or positions; all by default. One that is named twice is written once.
        fields: Only these fields.
        unescape: Undo the escaping of `rename_keys`, so that files get their original names.
        force: Overwrite files that are there.
        progress: Called as progress("extract", samples done, samples in all).

    Raises:
        InvalidKeyError: A key would lead outside `out`. Nothing of that sample is written.
        DuplicateKeyError: Two samples would be the same file.
        OutputExistsError: A file is there already, and `force` is off.
        StorageError: The disk refused.
    """
    chosen = dataset if keys is None else dataset.select(keys)
    samples = chosen.stream(fields=fields)
    seen = bytearray(chosen.manifest.num_samples)  # a view may name a sample twice
    target = os.path.realpath(os.fspath(out))
    with storage_errors(f"make the folder {target!r}"):
        os.makedirs(target, exist_ok=True)
    writer = _FileWriter(target, force=force)
    if force:  # different keys may still be one file: "./a" and "a", and what escaping kept apart
        writer.written = set()
    written = 0
    for done, sample in enumerate(samples, start=1):
        if not seen[sample.position]:
            seen[sample.position] = 1
            written += writer.write(unescape_key(sample.key) if unescape else sample.key, sample)
        if done % PROGRESS_SAMPLES == 0 or done == len(chosen):
            progress("extract", done, len(chosen))
    return written


class _FileWriter:
    """Write the fields of samples as files below one folder, and nowhere else."""

    def __init__(self, target: str, *, force: bool) -> None:
        self._target, self._force = target, force
        self._folders = {target}  # made, and known to lie inside
        self.written: set[str] | None = None  # paths, where two samples may want the same one

    def write(self, stem: str, sample: Sample) -> int:
        """Write `<stem>.<field>` for each field; return how many."""
        paths = [os.path.join(self._target, *_parts(stem, field)) for field in sample]
        for path, payload in zip(paths, sample.values(), strict=True):
            self._enter(os.path.dirname(path), stem)
            if self.written is not None:
                if path in self.written:
                    raise DuplicateKeyError(f"two samples would be the file {path!r}; extract one of them", key=stem)
                self.written.add(path)
            self._write_file(path, payload)
        return len(paths)

    def _enter(self, folder: str, stem: str) -> None:
        """Make a folder. Links inside the target could lead out of it as well as ".." can."""
        if folder in self._folders:
            return
        if os.path.commonpath([self._target, os.path.realpath(folder)]) != self._target:
            raise InvalidKeyError("key leads outside the folder through a link; choose an empty folder", key=stem)
        missing = []  # a key may have thousands of components: no recursion
        while folder not in self._folders:
            missing.append(folder)
            folder = os.path.dirname(folder)
        for path in reversed(missing):
            try:
                os.mkdir(path)
            except OSError as error:
                if not (isinstance(error, FileExistsError) and os.path.isdir(path)):
                    raise _refused("make the folder", path, error) from error
            self._folders.add(path)

    def _write_file(self, path: str, payload: Any) -> None:
        """Write a new file; with `force`, put it in the place of one that is there, which is not written into."""
        try:
            try:
                _write_new(path, payload)
            except FileExistsError as error:
                if not self._force:
                    raise OutputExistsError(
                        f"file exists: {path!r}; choose an empty folder, or pass --force"
                    ) from error
                if os.path.islink(path):
                    raise StorageError(
                        f"cannot write {path!r}: a link stands in its place; choose an empty folder"
                    ) from error
                _replace(path, payload)
        except (OutputExistsError, StorageError):
            raise  # OSErrors, too
        except OSError as error:
            raise _refused("write", path, error) from error


def _write_new(path: str, payload: Any) -> None:
    """Write a file that was not there: never through a link, and rather none than half of one."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o644)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(payload)
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise


def _replace(path: str, payload: Any) -> None:
    """Write a file beside another, then give it the other's name: whoever else holds that one keeps it as it was."""
    temporary = os.path.join(os.path.dirname(path), f".{secrets.token_hex(8)}.tmp")
    _write_new(temporary, payload)
    try:
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _refused(action: str, path: str, error: OSError) -> StorageError:
    what_next = {
        errno.ENOSPC: "free some space, then run the same command with --force",
        errno.ELOOP: "a link stands in its place; choose an empty folder",
        errno.ENOTDIR: "a file stands where a folder is needed; choose an empty folder",
        errno.EEXIST: "a file stands where a folder is needed; choose an empty folder",
        errno.EISDIR: "a folder stands in its place; choose an empty folder",
        errno.ENAMETOOLONG: 'the name is too long for this disk; write it with "shardpack cat"',
    }.get(error.errno or 0, "choose another folder")
    return StorageError(f"cannot {action} {path!r}: {error.strerror}; {what_next}")


def _parts(stem: str, field: str, *, windows: bool = os.name == "nt") -> list[str]:
    """Return the components of `<stem>.<field>`, all of them plain names, without the "." of GNU tar's "./a.jpg".

    Raises:
        InvalidKeyError: One is not, so that the path could lead elsewhere.
    """
    parts = [part for part in f"{stem}.{field}".split("/") if part != "."]
    if (
        "/" in field
        or not parts
        or any(part in ("", "..") or "\0" in part or (part[1:2] == ":" and part[0].isalpha()) for part in parts)
        or (windows and any("\\" in part or ":" in part or part[-1] in " ." for part in parts))
    ):
        raise InvalidKeyError(
            f'field {field!r} of this key cannot be a file below a folder; write it with "shardpack cat"', key=stem
        )
    try:
        os.fsencode(stem + field)
    except UnicodeEncodeError as error:
        raise InvalidKeyError(
            f'this system cannot spell the name of field {field!r}; write it with "shardpack cat"', key=stem
        ) from error
    return parts
