"""Write samples to files as `tar xf` would, but chosen by key and field, and never outside the folder."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, Protocol

import numpy as np
from xxhash import xxh3_64_intdigest

from shardpack.errors import DuplicateKeyError, InvalidKeyError, OutputExistsError, StorageError
from shardpack.format.manifest import Manifest
from shardpack.format.naming import unescape_key
from shardpack.read.sample import Sample
from shardpack.runtime.progress import Progress, no_progress
from shardpack.storage.atomic import storage_errors, write_file
from shardpack.storage.url import local_path

PROGRESS_SAMPLES = 100
_ADVICE = {
    errno.EEXIST: "a file is in the place of a folder; choose an empty folder",
    errno.ENOTDIR: "a file is in the place of a folder; choose an empty folder",
    errno.EISDIR: "a folder is in its place; choose an empty folder",
    errno.ELOOP: "a link is in its place; choose an empty folder",
    errno.ENAMETOOLONG: 'the name is too long for this disk; write it with "shardpack cat"',
}


class Extractable(Protocol):
    """The part of a dataset, or of a view of one, that `extract` uses."""

    @property
    def manifest(self) -> Manifest: ...

    @property
    def location(self) -> str:
        """Where the dataset was opened."""
        ...

    def __len__(self) -> int: ...

    def select(self, items: Iterable[Any]) -> Extractable:
        """Return a view of some positions or keys."""
        ...

    def stream(self, *, fields: Sequence[str] | None) -> Iterable[Sample]:
        """Return the samples in order."""
        ...


def extract(
    dataset: Extractable,
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
        out: Folder to write to; created if it does not exist.
        keys: Keys or positions of the samples; a sample that is named twice is written once. Default: all.
        fields: Fields to write. Default: all.
        unescape: Undo the escaping of `rename_keys`, so that files get their original names.
        force: Overwrite existing files.
        progress: Called as progress("extract", samples done, total samples).

    Raises:
        InvalidKeyError: A key would lead outside `out`; no file of that sample is written.
        DuplicateKeyError: Two samples would be written to the same file.
        OutputExistsError: A file exists already, and `force` is off; or `out` is the folder of the dataset.
        StorageError: A file or folder could not be written.
    """
    chosen = dataset if keys is None else dataset.select(keys)
    samples = chosen.stream(fields=fields)
    seen = bytearray(chosen.manifest.num_samples)  # a view may contain a sample twice
    target = os.path.realpath(os.fspath(out))
    refuse_folder_of(dataset, target)
    with _extract_errors(f"make the folder {target!r}"):
        os.makedirs(target, exist_ok=True)
    writer = _FileWriter(target, force=force)
    num_files = 0
    for done, sample in enumerate(samples, start=1):
        if not seen[sample.position]:
            seen[sample.position] = 1
            num_files += writer.write(unescape_key(sample.key) if unescape else sample.key, sample)
        if done % PROGRESS_SAMPLES == 0 or done == len(chosen):
            progress("extract", done, len(chosen))
    return num_files


def refuse_folder_of(dataset: Extractable, out: str | os.PathLike[str]) -> None:
    """Raise OutputExistsError if a folder is that of the dataset: files would be among its tars."""
    home = local_path(dataset.location)
    if home is not None and os.path.realpath(home) == os.path.realpath(out):
        raise OutputExistsError(f"{os.fspath(out)!r} is the folder of the dataset itself; choose another folder")


class _FileWriter:
    """Write the fields of samples as files below one folder, and nowhere else."""

    def __init__(self, target: str, *, force: bool) -> None:
        self._target = target
        self._folders = {target}  # folders that exist and are inside the target
        # With `force`, paths written so far: different keys, such as "./a" and "a", may still be one file.
        self._written: set[str] | None = set() if force else None

    def write(self, stem: str, sample: Sample) -> int:
        """Write `<stem>.<field>` for each field; return the number of files."""
        paths = [os.path.join(self._target, *path_parts(stem, field)) for field in sample]
        for path, payload in zip(paths, sample.values(), strict=True):
            self._make_folder(os.path.dirname(path), stem)
            with _extract_errors(f"write {path!r}"):
                self._write_file(path, payload, stem)
        return len(paths)

    def _make_folder(self, folder: str, stem: str) -> None:
        """Make a folder, but not through a link that leads out of the target."""
        if folder in self._folders:
            return
        if os.path.commonpath([self._target, os.path.realpath(folder)]) != self._target:
            raise InvalidKeyError("key leads outside the folder through a link; choose an empty folder", key=stem)
        missing = []  # a key may have thousands of components, so no recursion
        while folder not in self._folders:
            missing.append(folder)
            folder = os.path.dirname(folder)
        for path in reversed(missing):
            with _extract_errors(f"make the folder {path!r}"):
                try:
                    os.mkdir(path)
                except FileExistsError:
                    if not os.path.isdir(path):
                        raise
            self._folders.add(path)

    def _write_file(self, path: str, payload: Any, stem: str) -> None:
        """Write a new file; with `force`, replace an existing one, which is not written into."""
        if self._written is not None:
            if path in self._written:
                raise DuplicateKeyError(f"two samples would be the file {path!r}; extract one of them", key=stem)
            self._written.add(path)
        try:
            _write_new(path, payload)
        except FileExistsError as error:
            if self._written is None:
                raise OutputExistsError(
                    f"file exists: {path!r}; choose an empty folder, or pass force=True (--force)"
                ) from error
            if os.path.islink(path):
                raise StorageError(f"cannot write {path!r}: a link is in its place; choose an empty folder") from error
            temporary = os.path.join(os.path.dirname(path), f".{secrets.token_hex(8)}.tmp")
            write_file(path, [payload], temporary=temporary, sync=False)


def _extract_errors(action: str) -> AbstractContextManager[None]:
    return storage_errors(action, then="repeat with force=True (--force)", advice=_ADVICE)


def _write_new(path: str, payload: Any) -> None:
    """Write a file that does not exist yet, never through a link; leave nothing if writing fails."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o644)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(payload)
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise


def path_parts(stem: str, field: str, *, windows: bool = os.name == "nt") -> list[str]:
    """Return the components of the path `<stem>.<field>`, without the "." of GNU tar's "./a.jpg".

    Raises:
        InvalidKeyError: A component is not a plain file name, so the path could lead elsewhere.
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
            f'this system cannot encode the name of field {field!r}; write it with "shardpack cat"', key=stem
        ) from error
    return parts


def within_split(path: list[str], split: str | None) -> list[str]:
    """Return a path below the folder of its split: without that folder, if the path begins with it."""
    return path[1:] if path[0] == split and len(path) > 1 else path


def are_different(names: Iterable[str]) -> bool:
    """Return whether no two names are equal; holds 8 bytes of each."""
    hashes = np.fromiter((xxh3_64_intdigest(name.encode("utf-8", "surrogatepass")) for name in names), np.uint64)
    return len(np.unique(hashes)) == len(hashes)
