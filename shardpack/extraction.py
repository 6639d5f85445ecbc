"""Samples back to files, as `tar xf` would, but chosen by key and field, and never outside the folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from shardpack.errors import InvalidKeyError, OutputExistsError
from shardpack.format.naming import unescape_key
from shardpack.progress import Progress, no_progress
from shardpack.read.dataset import Dataset
from shardpack.read.sample import Sample
from shardpack.storage.files import storage_errors


def extract(
    dataset: Dataset,
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
        keys: Only these keys or positions; all by default.
        fields: Only these fields.
        unescape: Undo the escaping of `rename_keys`, so that files get their original names.
        force: Overwrite files that are there.
        progress: Called as progress("extract", samples done, samples in all).

    Raises:
        InvalidKeyError: A key would lead outside `out`. Nothing of that sample is written.
        OutputExistsError: A file is there already, and `force` is off.
        StorageError: The disk refused.
    """
    chosen = dataset if keys is None else dataset.select(keys)
    target = os.path.realpath(os.fspath(out))
    written = 0
    with storage_errors(f"write to {target!r}"):
        os.makedirs(target, exist_ok=True)
        for done, sample in enumerate(chosen.stream(fields=fields), start=1):
            written += _write_sample(target, sample, unescape=unescape, force=force)
            if done % 1000 == 0 or done == len(chosen):
                progress("extract", done, len(chosen))
    return written


def _write_sample(target: str, sample: Sample, *, unescape: bool, force: bool) -> int:
    stem = unescape_key(sample.key) if unescape else sample.key
    path = os.path.join(target, _safe(stem))
    folder = os.path.dirname(path)
    # Links inside the folder could lead out of it as well as ".." can.
    if os.path.commonpath([target, os.path.realpath(folder)]) != target:
        raise InvalidKeyError("key leads outside the folder through a link; choose an empty folder", key=stem)
    os.makedirs(folder, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    for field, payload in sample.items():
        if "/" in field or "\\" in field or "\0" in field:
            raise InvalidKeyError(f"field {field!r} cannot be a file name", key=stem)
        try:
            descriptor = os.open(f"{path}.{field}", flags, 0o644)
        except FileExistsError as error:
            raise OutputExistsError(
                f"file exists: {path}.{field}; choose an empty folder, or pass --force"
            ) from error
        with os.fdopen(descriptor, "wb") as file:
            file.write(payload)
    return len(sample)


def _safe(stem: str) -> str:
    parts = stem.split("/")
    if "\\" in stem or "\0" in stem or ":" in parts[0] or any(part in ("", ".", "..") for part in parts):
        raise InvalidKeyError("key cannot be a path below the folder; extract others with --key", key=stem)
    return os.path.join(*parts)
