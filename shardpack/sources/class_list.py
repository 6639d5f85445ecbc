"""The file that keeps the class names of a dataset beside an export, where the format has no place for them.

    names:
      0: "zebra"
      1: "ant"

`export` writes it into the folder that it makes, in the words of YOLO's data.yaml, and `pack` reads it back from the
folder that it is given, or from the folders in it. So classes without samples, and the numbers of all, are what they
were.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from shardpack.codecs.compression import split_compression
from shardpack.codecs.decode import decode_field
from shardpack.errors import DecodeError, SourceError
from shardpack.sources.annotations.plain_yaml import parse_yaml
from shardpack.sources.class_numbers import label_members, number_classes
from shardpack.sources.listing import Listing, Reference
from shardpack.sources.payloads import read_payload
from shardpack.sources.source import Problems

CLASS_LIST = "shardpack-classes.yaml"  # no name of other tools, as it is believed without a question
MAX_BYTES = 64 << 20
_LINE_ENDS = {ord(char): f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"}  # of YAML 1.1, which readers may be of


def names_lines(names: Iterable[str]) -> list[str]:
    """Return the lines of YAML that name the classes 0, 1, 2, ..."""
    texts = (json.dumps(name, ensure_ascii=False).translate(_LINE_ENDS) for name in names)
    return ["names:", *(f"  {number}: {text}" for number, text in enumerate(texts))]


def class_list_text(classes: Sequence[str]) -> str:
    """Return the text of the file."""
    return "\n".join(names_lines(classes)) + "\n"


def read_class_lists(
    names: Iterable[str], read: Callable[[str], bytes]
) -> tuple[Sequence[str], tuple[str, ...] | None]:
    """Return the files of this kind among all of a source, and the class names that they hold; None without any.

    Args:
        names: Names of all files.
        read: Returns the bytes of one.

    Raises:
        SourceError: As `read_class_list`; or two hold other names, as those of unlike exports in one folder do.
    """
    lists = [name for name in names if name.endswith(CLASS_LIST) and name.rpartition("/")[2] == CLASS_LIST]
    found: tuple[str, ...] | None = None
    for name in lists:
        classes = read_class_list(read(name), name)
        if found is not None and classes != found:
            raise SourceError(f"{lists[0]!r} and {name!r} name other classes; pack their folders apart, or remove one")
        found = classes
    return lists, found


def read_class_list(data: bytes, name: str = CLASS_LIST) -> tuple[str, ...]:
    """Return the class names that the file holds.

    Raises:
        SourceError: It is damaged, or does not name the classes 0, 1, 2, ... differently.
    """
    try:
        classes = parse_yaml(data, max_bytes=MAX_BYTES).get("names")
    except DecodeError as error:
        raise SourceError(f"{error.args[0]}; export it again, or remove it", path=name) from error
    if (
        not isinstance(classes, dict)
        or list(classes) != [str(number) for number in range(len(classes))]
        or not all(isinstance(one, str) for one in classes.values())
        or len(set(classes.values())) < len(classes)
    ):
        raise SourceError(
            "expected a name for each of the classes 0, 1, 2, ..., all different; correct it, or remove it",
            path=name,
        )
    return tuple(classes.values())


def with_class_list(listing: Listing, classes: Sequence[str], problems: Problems) -> Listing:
    """Return the samples with these classes: numbers of a source that named them by itself become those of the list.

    Labels of other sources stay as they are. Those that contradict the list are rejected, and those with a class that
    it does not have are noted; labels inside of archives and stores are not read for that.
    """
    if listing.classes is not None:
        return number_classes(listing, classes)
    reasons: dict[int, str] = {}
    unknown: list[int] = []
    for member in label_members(listing):
        label = _label_of(listing, member)
        if reason := contradiction_in(label, classes):
            reasons[member] = reason
        elif any(_is_unknown(part, classes) for part in _parts(label)):
            unknown.append(member)
    problems.note(f"with a class that {CLASS_LIST} does not have", len(set(listing.owners(unknown))))
    of_samples = dict(zip(map(int, listing.owners(list(reasons))), reasons.values(), strict=True))
    return problems.reject_samples(replace(listing, classes=tuple(classes)), of_samples)


def contradiction_in(label: Any, classes: Sequence[str]) -> str:
    """Return where a JSON label or one of its annotations gives a class another number than the list; "" if nowhere.

    Numbers and names that the list does not have are no contradiction: labels may count something else.
    """
    for part in _parts(label):
        number, name = part.get("label"), part.get("class")
        if type(number) is not int or number < 0 or not isinstance(name, str):
            continue
        if name != classes[number] if number < len(classes) else name in classes:
            return f"label {number} and class {name!r:.60} contradict {CLASS_LIST}; correct one, or remove the list"
    return ""


def _parts(label: Any) -> Iterator[Mapping[str, Any]]:
    """Yield a label and its annotations, as far as they are objects."""
    if isinstance(label, Mapping):
        yield label
        annotations = label.get("annotations")
        yield from (
            part for part in (annotations if isinstance(annotations, list) else ()) if isinstance(part, Mapping)
        )


def _is_unknown(part: Mapping[str, Any], classes: Sequence[str]) -> bool:
    number, name = part.get("label"), part.get("class")
    return (type(number) is int and number >= len(classes)) or (isinstance(name, str) and name not in classes)


def _label_of(listing: Listing, member: int) -> Any:
    """Return the label that a member is; None of one that cannot be read, or lies in an archive or store."""
    field = listing.fields[listing.field_code[member]]
    if isinstance(listing.payload[member], Reference):
        return None
    try:
        value = decode_field(field, read_payload(listing, member))
    except (DecodeError, OSError):
        return None  # told when it is packed
    return {"label": value} if split_compression(field)[0] == "cls" else value
