"""`Sample`: what every way of reading hands out."""

from __future__ import annotations

from typing import Any, Protocol

from shardpack.codecs.decode import decode_field
from shardpack.errors import DecodeError, FieldNotFoundError


class _KeySource(Protocol):
    def key_at(self, position: int) -> str: ...


class Sample(dict[str, Any]):
    """One sample: a dict from field name to payload bytes, fields in sorted order.

    The bytes are the sample's own; it may be kept, changed, pickled and sent anywhere.

    Attributes:
        position: Its number in the dataset.
        key: Its name; looked up in the index at first use.
        source: In a mix, the number of the dataset it is from; else None.
    """

    __slots__ = ("_key", "_source", "position")

    position: int
    _key: str | _KeySource
    _source: int  # set by mixes only

    @property
    def key(self) -> str:
        key = self._key
        if not isinstance(key, str):
            key = self._key = key.key_at(self.position)
        return key

    @property
    def source(self) -> int | None:
        return getattr(self, "_source", None)

    def decode(self, field: str) -> Any:
        """Return one field as a Python value; see `Dataset.decode`.

        Raises:
            FieldNotFoundError: The sample lacks the field.
            DecodeError: The payload is not what the field's name says.
        """
        try:
            return decode_field(field, self[field])
        except DecodeError as error:
            raise DecodeError(error.args[0], key=self.key) from error

    def __missing__(self, field: str) -> Any:
        has = ", ".join(self) or "none"
        raise FieldNotFoundError(f"no field {field!r}; the sample has: {has}", key=self.key)

    def __repr__(self) -> str:
        which = f" {self.position} {self.key!r}" if hasattr(self, "_key") else ""  # none if made by hand
        return f"<Sample{which}: {', '.join(map(_shown, self.items()))}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self.key, self.position, dict(self), self.source))


def _shown(field: tuple[str, Any]) -> str:
    name, payload = field
    return f"{name}: {len(payload)} bytes" if isinstance(payload, bytes) else f"{name}: {type(payload).__name__}"


def _rebuild(key: str, position: int, fields: dict[str, Any], source: int | None = None) -> Sample:
    sample = Sample(fields)
    sample._key, sample.position = key, position
    if source is not None:
        sample._source = source
    return sample
