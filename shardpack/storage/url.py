"""The grammar of locations: which are URLs, which are local paths, and which mean the same place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from shardpack.errors import OptionError

BUCKET_SCHEMES = frozenset(("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "adl"))
WEB_SCHEMES = frozenset(("http", "https"))
_ALIASES = {"s3a": "s3", "gcs": "gs", "azure": "az", "abfs": "az", "abfss": "az", "adl": "az"}


def is_url(location: str | os.PathLike[str]) -> bool:
    """Return whether a location has a scheme, as in s3://bucket. A drive letter is not a scheme."""
    text = os.fspath(location)
    return "://" in text or text.startswith("file:/")


def is_path(location: object) -> bool:
    """Return whether a location is a plain path: neither a URL nor a store."""
    return isinstance(location, (str, os.PathLike)) and not is_url(location)


def scheme_of(location: object) -> str | None:
    """Return the scheme of a URL as it is written, "s3" of s3://bucket; None for anything else."""
    if isinstance(location, (str, os.PathLike)) and is_url(location):
        return os.fspath(location).partition(":")[0]
    return None


def options_for(location: object, other: object, options: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the storage options that were given for two places, as far as the first may use them.

    Credentials for one provider are not sent to another: if both are URLs, their schemes must be the same.
    """
    return options if scheme_of(other) in (None, scheme_of(location)) else None


def local_path(location: str) -> str | None:
    """Return the path of a plain path or of a file: URL (RFC 8089), and None for any other URL.

    Raises:
        OptionError: The file is on another machine.
    """
    if not is_url(location):
        return location
    if not location.startswith("file:/"):
        return None
    from urllib.request import url2pathname

    parts = urlsplit(location)
    if parts.netloc not in ("", "localhost"):
        raise OptionError(f"{location!r} is on another machine; write file:///folder, or the path alone")
    return url2pathname(parts.path)


def canonical(location: str) -> str:
    """Return one spelling for all spellings of a location: scheme aliases, trailing slashes, symbolic links."""
    scheme, separator, rest = location.partition("://")
    return f"{_ALIASES.get(scheme, scheme)}://{rest.rstrip('/')}" if separator else os.path.realpath(location)
