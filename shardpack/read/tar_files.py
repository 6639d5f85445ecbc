"""Which tars a user means: paths, folders and patterns to names below one folder."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass

from shardpack.errors import OptionError, ShardNotFoundError
from shardpack.format import manifest

_COMPRESSED = (".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz", ".tar.lz4")


@dataclass(frozen=True, slots=True)
class TarSet:
    """Tars below one folder: `names` are relative to it, in the order of the dataset."""

    folder: str
    names: tuple[str, ...]

    def path(self, name: str) -> str:
        """Return where a tar, or what belongs beside it, is on the disk."""
        return os.path.join(self.folder, name)


def find_tars(paths: Sequence[str]) -> TarSet:
    """Return the tars that paths, patterns and folders name, in the order given (a folder's by name).

    Raises:
        ShardNotFoundError: A path leads nowhere, or a folder or pattern holds no tar.
        OptionError: None is named, one is named twice, or by a name that no manifest may hold.
    """
    found: list[str] = []
    for path in paths:
        tars = _tars_at(path)
        if not tars:
            raise _no_tars(path)
        found.extend(os.path.abspath(tar) for tar in tars)
    if not found:
        raise OptionError("no tar is named; name tars, or a folder of tars")
    if len(set(found)) != len(found):
        raise OptionError("a tar is named twice; name each once")
    folder = os.path.commonpath([os.path.dirname(tar) for tar in found])
    names = tuple(os.path.relpath(tar, folder).replace(os.sep, "/") for tar in found)
    _check_names(names)
    return TarSet(folder, names)


def _tars_at(path: str) -> list[str]:
    if os.path.isdir(path):
        return sorted(os.path.join(path, name) for name in os.listdir(path) if name.endswith(".tar"))
    if os.path.exists(path):
        return [path]
    return sorted(found for found in glob.glob(path, recursive=True) if not os.path.isdir(found))


def _no_tars(path: str) -> ShardNotFoundError:
    if not os.path.isdir(path):
        return ShardNotFoundError(f"no tar found at {path!r}; check the path")
    compressed = sum(name.endswith(_COMPRESSED) for name in os.listdir(path))
    if compressed:
        return ShardNotFoundError(
            f"{compressed} tar(s) in {path!r} are compressed, which cannot be sought; unpack them to plain tars"
        )
    return ShardNotFoundError(
        f"no .tar file in {path!r}; for folders below it, give a pattern: {os.path.join(path, '**', '*.tar')!r}"
    )


def _check_names(names: Sequence[str]) -> None:
    owners: dict[str, str] = {}
    for name in names:
        problem = manifest.shard_name_problem(name)
        if problem:
            raise OptionError(f"cannot index a tar named {name!r}: {problem}; rename it")
        other = owners.setdefault(manifest.index_name(name), name)
        if other != name:
            raise OptionError(f"{other!r} and {name!r} would share one index; rename one")
