"""Names of files in archives: which may become names of a tree, and what the others are.

No name leads out of the archive: nothing is unpacked to a disk, but names become keys, and labels name files by them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from shardpack.codecs.field_types import is_image
from shardpack.sources.scan import JUNK

_SPLITS = frozenset(("train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval"))
_DRIVE = re.compile(r"[A-Za-z]:")
_HIDDEN = re.compile(rf"(?:^|/)(?:\.|(?:{'|'.join(map(re.escape, sorted(JUNK)))})(?:/|$))")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def problem_of(name: str) -> str | None:
    """Return why a name is refused, or None."""
    if name.startswith("/") or _DRIVE.match(name):
        return "its name is absolute; make the archive again, from within the folder"
    parts = name.split("/")
    if ".." in parts:
        return "its name leads out of the archive; make the archive again, from within the folder"
    if "" in parts or "." in parts:
        return "its name has empty parts, which readers take differently; make the archive again"
    if "\\" in name:
        return "its name has a backslash, which is a letter or means a folder; make the archive again"
    if _CONTROL.search(name):
        return "its name has control characters; rename the file, and make the archive again"
    return None


def is_hidden(name: str) -> bool:
    """Return whether a file is hidden, in a hidden folder, or left by a system: .DS_Store, __MACOSX."""
    return _HIDDEN.search(name) is not None


def with_slashes(names: Sequence[str]) -> list[str]:
    """Return names with the backslashes of Windows as slashes; unchanged if any name has a slash as well."""
    if any("/" in name for name in names) or not any("\\" in name for name in names):
        return list(names)
    return [name.replace("\\", "/") for name in names]


def without_dot(name: str) -> str:
    """Return a name without "./" in front, as `tar c .` writes it."""
    while name.startswith("./"):
        name = name[2:]
    return name


def repeated(names: Sequence[str]) -> dict[str, int]:
    """Return the names that occur more than once, in their order, and how often."""
    if len(set(names)) == len(names):
        return {}
    return {name: count for name, count in Counter(names).items() if count > 1}


def wrapping_folder(names: Sequence[str]) -> str:
    """Return the folder that all files are in, with a slash, if it says nothing: the name of the zipped folder.

    It is kept where it may mean something: where it holds images itself, so that it may be a class, and where it is
    called like a split.
    """
    first = names[0].partition("/")[0] if names else ""
    prefix = f"{first}/"
    if not first or first.lower() in _SPLITS or not all(name.startswith(prefix) for name in names):
        return ""
    direct = [name for name in names if "/" not in name[len(prefix) :]]
    if len(direct) == len(names) or any(is_image(name.rpartition(".")[2].lower()) for name in direct):
        return ""
    return prefix
