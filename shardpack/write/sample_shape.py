"""What samples with the same fields have in common, computed once; most datasets have one shape of sample."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from shardpack.codecs.encode import encode_field
from shardpack.errors import InvalidKeyError
from shardpack.format.naming import check_field
from shardpack.format.shard_index import check_field_names
from shardpack.format.tar_header import BLOCK, MAX_NAME_BYTES, MAX_OCTAL_SIZE, header_length, padded
from shardpack.runtime.words import a_type


@dataclass(frozen=True, slots=True, eq=False)
class SampleShape:
    """The fields of a sample, checked and sorted.

    Attributes:
        fields: Field names, sorted.
        suffixes: For each field, what follows the key in the name of the member.
        header_bytes: Total header bytes when every member needs one block (keys of at most `plain_key` characters).
        plain_key: Longest key, in characters, whose members need one header block each.
        pick: Returns the values of a sample in the order of `fields`.
        encoded: Names of the fields that came as values instead of bytes, in any sample so far.
    """

    fields: tuple[str, ...]
    suffixes: tuple[str, ...]
    header_bytes: int
    plain_key: int
    pick: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    encoded: set[str] = dataclasses.field(default_factory=set)

    def payloads(self, values: Mapping[str, Any]) -> Sequence[bytes]:
        """Return the payload of each field.

        Raises:
            OptionError: A value is not something that its field can store.
        """
        picked = self.pick(values)
        for value in picked:
            if type(value) is not bytes:
                return [self._payload(field, value) for field, value in zip(self.fields, picked, strict=True)]
        return picked

    def _payload(self, field: str, value: Any) -> bytes:
        if type(value) is bytes:
            return value
        payload = encode_field(field, value)
        if not isinstance(value, (bytearray, memoryview)):
            self.encoded.add(field)
        return payload

    def tar_bytes(self, key: str, payloads: Sequence[bytes]) -> int:
        """Return the length of such a sample in a tar: headers, payloads and padding."""
        total = self.header_bytes
        for payload in payloads:
            total += len(payload) + (BLOCK - 1) & -BLOCK  # `padded` without a call: this runs once per payload
        if len(key) <= self.plain_key and total <= MAX_OCTAL_SIZE:
            return total
        return sum(
            header_length(f"{key}{suffix}".encode(), len(payload)) + padded(len(payload))
            for suffix, payload in zip(self.suffixes, payloads, strict=True)
        )


def shape_of(fields: tuple[Any, ...], *, key: str) -> SampleShape:
    """Return the shape of a sample with these fields; `key` names the sample in errors.

    Raises:
        InvalidKeyError: There are no fields, or readers would split the name of one differently.
        FormatError: There are more fields than an index may have.
    """
    if not fields:
        raise InvalidKeyError("a sample without any field; give it at least one", key=key)
    for field in fields:
        if not isinstance(field, str):
            raise InvalidKeyError(f"field name is {a_type(field)}, expected a str", key=key)
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
