"""Number the classes of a source as a dataset does that its samples are added to.

    dataset   cat 0, dog 1
    source    bird 0, cat 1             ->  cat 0, dog 1, bird 2: unknown classes at the end
    labels    {"label": 1, "class": "cat", ...}  ->  {"label": 0, "class": "cat", ...}

Changed are the numbers in the fields `json`, of the whole label and of its annotations, and `cls`; also where these are
compressed. A label whose number does not change keeps its bytes. Where neither a name nor a class list says what a
number means, that is a question.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shardpack.codecs.compression import split_compression
from shardpack.codecs.decode import decode_field
from shardpack.codecs.encode import encode_field
from shardpack.codecs.field_types import parse_json
from shardpack.errors import DecodeError, OptionError, SourceError
from shardpack.sources.json_labels import class_number, compact_json
from shardpack.sources.listing import Listing, Payload, name_of
from shardpack.sources.payloads import read_payload

LABEL_FIELDS = frozenset(("json", "cls"))
_SAY_CLASSES = (
    'say what the numbers of the source mean: classes=[...] (--classes), its class names in order, or "same" if they '
    "are those of the dataset"
)


@dataclass(frozen=True, slots=True)
class ClassNumbers:
    """What classes of a source are in a dataset. Pickles.

    Attributes:
        names: Class names of the dataset, in the order of their numbers, with those that the source adds.
        numbers: Number there of each class of the source; None if it has no class list.
        own: Class names of the source, or None.
        is_same: Whether numbers without a name mean what they mean in the dataset.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...] | None = None
    own: tuple[str, ...] | None = None
    is_same: bool = False

    @classmethod
    def of(cls, known: Sequence[str], own: Sequence[str] | None, *, is_same: bool = False) -> ClassNumbers:
        """Return the numbers of a source's classes in a dataset with the classes `known`."""
        if own is None:
            return cls(tuple(known), is_same=is_same)
        present = set(known)
        names = (*known, *(name for name in own if name not in present))
        number_of = {name: number for number, name in enumerate(names)}
        return cls(names, tuple(number_of[name] for name in own), tuple(own))

    @property
    def changes_nothing(self) -> bool:
        """Whether each class of the source has the number there that it has in the source."""
        return self.numbers == tuple(range(len(self.numbers or ())))

    def payload(self, field: str, payload: Any) -> Any:
        """Return the payload of a label field, the very same if no number changes; bytes, or a value to be encoded.

        Raises:
            SourceError: The label contradicts the class list, or cannot be read.
            OptionError: Nobody says what a number means.
        """
        plain, suffix = split_compression(field)
        is_stored = isinstance(payload, (bytes, bytearray, memoryview))
        try:
            value = payload
            if is_stored:
                value = decode_field(field, payload) if suffix or plain != "json" else parse_json(bytes(payload))
        except DecodeError as error:
            raise SourceError(f"{field} cannot be read: {error.args[0]}; correct it") from error
        made = self._number(value) if plain == "cls" else self.label(value)
        if made is value or made == value:
            return payload
        if not is_stored:
            return made
        return compact_json(made) if field == "json" else encode_field(field, made)

    def label(self, value: Any) -> Any:
        """Return a JSON label with the numbers of the dataset; itself if it has none. Raises as `payload`."""
        if not isinstance(value, Mapping):
            return value
        made = self._part(value)
        parts = value.get("annotations")
        if isinstance(parts, list) and any(isinstance(part, Mapping) for part in parts):
            made = {**made, "annotations": [self._part(p) if isinstance(p, Mapping) else p for p in parts]}
        return made

    def _part(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        number, name = class_number(value.get("label")), value.get("class")
        if number is not None:
            new = self._number(number, name if isinstance(name, str) else None)
            return value if new == number else {**value, "label": new}
        if isinstance(name, str) and "label" not in value:
            new = self._named(name)
            return value if new is None else {"label": new, **value}
        return value

    def _number(self, number: Any, name: str | None = None) -> Any:
        """Return the number in the dataset of a class of the source; numbers below 0 stand for no class."""
        if type(number) is not int or number < 0:
            return number
        if self.numbers is not None and self.own is not None:
            if number >= len(self.numbers) or name not in (None, self.own[number]):
                said = f" and class {name!r}" if name is not None else ""
                raise SourceError(
                    f"label {number}{said} contradicts the class list of the source, which has {len(self.own)}; "
                    "correct one of them"
                )
            return self.numbers[number]
        if name is not None:
            new = self._named(name)
            assert new is not None
            return new
        if not self.is_same:
            raise OptionError(f"label {number} has no class name, and the source has no class list; {_SAY_CLASSES}")
        if number >= len(self.names):
            raise SourceError(f"label {number} has no class: the dataset has {len(self.names)}; correct the label")
        return number

    def _named(self, name: str) -> int | None:
        """Return the number of a name; None if the class list of the source numbers its classes."""
        if self.own is not None:
            return None
        if name not in self.names:
            raise OptionError(
                f"class {name!r} is not among those of the dataset, and the source has no class list; {_SAY_CLASSES}"
            )
        return self.names.index(name)


def is_label_field(field: str) -> bool:
    """Return whether payloads of a field may hold numbers of classes."""
    return split_compression(field)[0] in LABEL_FIELDS


def number_classes(listing: Listing, known: Sequence[str], *, is_same: bool = False) -> Listing:
    """Return the samples with the classes of a dataset that they are added to; reads labels only if it must.

    Args:
        listing: The samples, with the class list of their source.
        known: Class names of the dataset.
        is_same: Whether the numbers of a source without a class list are those of the dataset.

    Raises:
        SourceError: A label contradicts the class list, or cannot be read; the sample is named.
        OptionError: Nobody says what the numbers of the source mean.
    """
    members = label_members(listing)
    if listing.classes is None and not is_same and members:
        found = {name for member in members for name in _names(listing, member)}
        known = (*known, *sorted(found.difference(known)))
    numbers = ClassNumbers.of(known, listing.classes, is_same=is_same)
    listing = replace(listing, classes=numbers.names)
    return listing if numbers.changes_nothing or not members else _renumbered(listing, numbers, members)


def _renumbered(listing: Listing, numbers: ClassNumbers, members: Collection[int]) -> Listing:
    payloads: list[Payload] = list(listing.payload)
    size, mtime_ns = listing.size.copy(), listing.mtime_ns.copy()
    crc32c = None if listing.crc32c is None else listing.crc32c.copy()
    for member in members:
        try:
            payload = read_payload(listing, member)
            made = numbers.payload(listing.fields[listing.field_code[member]], payload)
        except (OptionError, SourceError) as error:
            sample = int(listing.owners([member])[0])
            raise type(error)(f"{name_of(listing, sample)!r}: {error.args[0]}", key=listing.keys[sample]) from error
        if made is not payload:
            payloads[member], size[member], mtime_ns[member] = made, len(made), 0
            if crc32c is not None:
                crc32c[member] = -1
    return replace(listing, payload=payloads, size=size, mtime_ns=mtime_ns, crc32c=crc32c)


def label_members(listing: Listing) -> list[int]:
    """Return the members whose payloads may hold numbers of classes."""
    codes = [code for code, field in enumerate(listing.fields) if is_label_field(field)]
    return [member for member, code in enumerate(listing.field_code.tolist()) if code in codes] if codes else []


def _names(listing: Listing, member: int) -> Iterator[str]:
    """Yield the names of classes in a label; of one that cannot be read, none: it is refused later."""
    field = listing.fields[listing.field_code[member]]
    if split_compression(field)[0] != "json":
        return
    try:
        value = decode_field(field, read_payload(listing, member))
    except DecodeError:
        return
    parts = value.get("annotations") if isinstance(value, Mapping) else None
    for part in (value, *(parts if isinstance(parts, list) else ())):
        if isinstance(part, Mapping) and isinstance(part.get("class"), str):
            yield part["class"]
