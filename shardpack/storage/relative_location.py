"""How a dataset names another place, so that both may move together: relative to it, where it can be (SPEC 6.5)."""

from __future__ import annotations

import os
import posixpath
from contextlib import suppress

from shardpack.errors import OptionError
from shardpack.format.manifest import is_location
from shardpack.storage.url import canonical, is_url, local_path


def relative_location(home: str, other: str | os.PathLike[str]) -> str:
    """Return the location of another dataset as the manifest of one names it: relative on one disk and in one bucket.

    Args:
        home: Folder or URL of the dataset whose manifest it is.
        other: Folder or URL of the other one.

    Raises:
        OptionError: Readers of the dataset could not follow any location of it.
    """
    text = os.fspath(other)
    path = local_path(text)
    if path is None:
        location = _relative_url(home, canonical(text)) if is_url(home) else canonical(text)
    elif is_url(home):
        raise OptionError(
            f"the dataset at {home!r} cannot name the folder {text!r} of this machine; copy it to that bucket first "
            '("shardpack copy")'
        )
    else:
        location = _relative_path(os.path.abspath(home), os.path.abspath(path))
    if not is_location(location):
        raise OptionError(f"a manifest cannot name {location!r:.100}; give the folder a plainer name, without secrets")
    return location


def _relative_path(home: str, other: str) -> str:
    path = other
    if os.path.realpath(home) == home:  # with symbolic links on the way, ".." would not lead where it seems to
        with suppress(ValueError):  # on another drive
            path = os.path.relpath(other, home)
    return path.replace(os.sep, "/")


def _relative_url(home: str, other: str) -> str:
    (root, folder), (other_root, other_folder) = _parts(canonical(home)), _parts(other)
    if root != other_root or root.startswith("memory:"):
        return other
    return posixpath.relpath(f"/{other_folder}", f"/{folder}")


def _parts(url: str) -> tuple[str, str]:
    """Return bucket or host (Hugging Face: the repository) with the scheme, and the path in it."""
    scheme, _, rest = url.partition("://")
    depth = 3 if scheme == "hf" else 1
    parts = rest.split("/")
    return f"{scheme}://{'/'.join(parts[:depth])}", "/".join(parts[depth:])
