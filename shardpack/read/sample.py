"""The values that reading returns: `Sample`, and where a sample is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from shardpack.codecs.decode import decode_field
from shardpack.errors import DecodeError, FieldNotFoundError
from shardpack.format.frames import StoredRange
from shardpack.format.naming import key_text
from shardpack.order.visible import Visible


@dataclass(frozen=True, slots=True)
class FieldLocation:
    """Where the payload of one field is stored: bytes `offset` to `offset + size` of an object.

    Attributes:
        url: Path or URL of the shard.
        offset, size: In bytes, from the shard's start; of a compressed shard, from that of the plain tar in it.
        crc32c: CRC32C of the payload; None if the shard was indexed without reading payloads.
        stored: For a compressed shard, the range of the file to decompress, and where the payload begins in it.
    """

    url: str
    offset: int
    size: int
    crc32c: int | None
    stored: StoredRange | None = None


@dataclass(frozen=True, slots=True)
class SampleLocation:
    """Where one sample is stored, field by field; `shard` is the name of its shard."""

    key: str
    position: int
    shard: str
    fields: dict[str, FieldLocation]


class KeySource(Protocol):
    """An object that knows the keys and positions of some samples without reading anything."""

    @property
    def visible(self) -> Visible | None:
        """What is visible of the dataset; None if nothing is deleted."""
        ...

    def key_at(self, stored: int) -> bytes:
        """Return the key at a stored position, as UTF-8."""
        ...


@dataclass(frozen=True, slots=True)
class KnownKey:
    """The key of one sample of a dataset in which others are deleted."""

    raw: bytes
    visible: Visible

    def key_at(self, stored: int) -> bytes:  # noqa: ARG002 - there is one sample
        return self.raw


class Sample(dict[str, Any]):
    """One sample: a dict from field name to payload bytes, fields in sorted order.

    The bytes are the sample's own: it may be kept, changed, pickled and sent anywhere. A sample created by
    the user, `Sample(jpg=...)`, has the key "" and the position -1 until they are set.

    Attributes:
        source: In a mix, the number of the dataset that the sample is from; otherwise None.
        repeat: In an epoch in which the sample comes several times (of a view that has it so often, of a mix, balanced
            or weighted), a number that differs each time; otherwise 0. Padding repeats samples as they are.
        stored_position: The number of the sample in the dataset with those that are deleted; see `position`.
        stored_key: The key as readers set it, which `key` decodes.
    """

    __slots__ = ("repeat", "source", "stored_key", "stored_position")

    repeat: int
    source: int | None
    stored_key: str | bytes | KeySource
    stored_position: int

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Return the default of an attribute that is not set: readers set as few as they can."""
            try:
                return _UNSET[name]
            except KeyError:
                raise AttributeError(f"a Sample has no attribute {name!r}") from None

    @property
    def key(self) -> str:
        """The sample's name. Costs no read."""
        key = self.stored_key
        if isinstance(key, str):
            return key
        if isinstance(key, bytes):
            key = self.stored_key = key_text(key)
            return key
        text = key_text(key.key_at(self.stored_position))
        if key.visible is None:  # else `position` needs it
            self.stored_key = text
        return text

    @key.setter
    def key(self, key: str) -> None:
        self.stored_position, self.stored_key = self.position, key

    @property
    def position(self) -> int:
        """The sample's position in the dataset: its number among the samples that are not deleted. Costs no read."""
        key = self.stored_key
        if isinstance(key, (str, bytes)) or key.visible is None:
            return self.stored_position
        return key.visible.position_of(self.stored_position)

    @position.setter
    def position(self, position: int) -> None:
        self.stored_key, self.stored_position = self.key, position

    @property
    def drawn_as(self) -> tuple[int, ...]:
        """Numbers that tell the sample from all others of an epoch and its repeats: random crops depend on them."""
        which = (self.position,) if self.source is None else (self.position, self.source)
        return (*which, self.repeat) if self.repeat else which

    def decode(self, field: str) -> Any:
        """Return one field as a Python value; see `Dataset.decode`.

        Raises:
            FieldNotFoundError: The sample lacks the field.
            DecodeError: The payload is not what the field's name says, or the name says nothing that is decoded.
            MissingDependencyError: The field needs a library that is not installed.
        """
        try:
            return decode_field(field, self[field])
        except DecodeError as error:
            raise DecodeError(error.args[0], key=self.key or None) from error

    def __missing__(self, field: str) -> Any:
        has = ", ".join(self) or "none"
        raise FieldNotFoundError(f"no field {field!r}; the sample has: {has}", key=self.key or None)

    def __repr__(self) -> str:
        which = f" {self.position} {self.key!r}" if self.key else ""
        return f"<Sample{which}: {', '.join(map(_described, self.items()))}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self.key, self.position, dict(self), self.source, self.repeat))


_UNSET = {"stored_position": -1, "repeat": 0, "source": None, "stored_key": ""}


def _described(field: tuple[str, Any]) -> str:
    name, payload = field
    return f"{name}: {len(payload)} bytes" if isinstance(payload, bytes) else f"{name}: {type(payload).__name__}"


def _rebuild(key: str, position: int, fields: dict[str, Any], source: int | None = None, repeat: int = 0) -> Sample:
    sample = Sample(fields)
    sample.stored_key, sample.stored_position, sample.source, sample.repeat = key, position, source, repeat
    return sample
