"""What samples with the same fields have in common, found out once: most datasets have one shape of sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from shardpack.codecs.encode import encode_field
from shardpack.errors import InvalidKeyError
from shardpack.format.naming import check_field
from shardpack.format.shard_index import check_field_names
from shardpack.format.tar_header import BLOCK, MAX_NAME_BYTES, MAX_OCTAL_SIZE, header_length, padded


@dataclass(frozen=True, slots=True, eq=False)
class SampleShape:
    """The fields of a sample, checked and sorted.

    Attributes:
        fields: Their names, sorted.
        suffixes: What each adds to the key to make a member's name.
        header_bytes: Of all members, where one block each does: for keys up to `plain_key` characters.
        pick: Returns the values of a sample in the order of `fields`.
    """

    fields: tuple[str, ...]
    suffixes: tuple[str, ...]
    header_bytes: int
    plain_key: int
    pick: Callable[[Mapping[str, Any]], tuple[Any, ...]]

    def payloads(self, values: Mapping[str, Any]) -> Sequence[bytes]:
        """Return the payload of each field.

        Raises:
            OptionError: A value is nothing that its field can store.
        """
        found = self.pick(values)
        for value in found:
            if type(value) is not bytes:
                return [encode_field(field, value) for field, value in zip(self.fields, found, strict=True)]
        return found

    def tar_bytes(self, key: str, payloads: Sequence[bytes]) -> int:
        """Return what such a sample takes in a tar: headers, payloads and padding."""
        total = self.header_bytes
        for payload in payloads:
            total += len(payload) + BLOCK - 1 & -BLOCK
        if len(key) <= self.plain_key and total <= MAX_OCTAL_SIZE:
            return total
        return sum(
            header_length(f"{key}{suffix}".encode(), len(payload)) + padded(len(payload))
            for suffix, payload in zip(self.suffixes, payloads, strict=True)
        )


def shape_of(fields: tuple[Any, ...], *, key: str) -> SampleShape:
    """Return the shape of a sample with these fields, which fits a shard of its own.

    Raises:
        InvalidKeyError: There is none, or readers would cut the name of one differently.
        FormatError: There are more than an index may have.
    """
    if not fields:
        raise InvalidKeyError("a sample without any field; give it at least one", key=key)
    for field in fields:
        if not isinstance(field, str):
            raise InvalidKeyError(f"field name is a {type(field).__name__}, expected a str", key=key)
        check_field(field, key=key)
    check_field_names(fields, key=key)
    names = tuple(sorted(fields))
    suffixes = tuple(f".{field}" for field in names)
    return SampleShape(
        fields=names,
        suffixes=suffixes,
        header_bytes=BLOCK * len(fields),
        plain_key=MAX_NAME_BYTES - max(map(len, suffixes)),
        pick=itemgetter(*names) if len(names) > 1 else lambda values: (values[names[0]],),
    )
