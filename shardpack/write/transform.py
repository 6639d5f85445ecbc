"""What happens to a sample on its way into a shard, where the shard is written.

A transform may change a sample, drop it, or make several of it. It must pickle, and give the same for the same
input, because it may run in any process and again after a kill.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from shardpack.errors import InvalidKeyError
from shardpack.format.naming import escape_key

Fields = Mapping[str, Any]


class Transform(Protocol):
    """A function from one sample to the samples that are written in its place."""

    def __call__(self, key: str, fields: Fields, /) -> Iterable[tuple[str, Fields]]: ...


def rename_key(key: str, fields: Fields, /) -> Iterable[tuple[str, Fields]]:
    """Return the sample under a safe key, from which `unescape_key` gives back the original.

    Raises:
        InvalidKeyError: The key is no text.
    """
    if not isinstance(key, str):
        raise InvalidKeyError(f"key is a {type(key).__name__}, expected a str", key=repr(key))
    return ((escape_key(key), fields),)
