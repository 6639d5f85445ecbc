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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from shardpack.errors import DecodeError, SourceError
from shardpack.sources.annotations.plain_yaml import parse_yaml
from shardpack.sources.class_numbers import number_classes
from shardpack.sources.listing import Listing

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


def with_class_list(listing: Listing, classes: Sequence[str]) -> Listing:
    """Return the samples with these classes: numbers of a source that named them by itself become those of the list."""
    if listing.classes is None:
        return replace(listing, classes=tuple(classes))
    return number_classes(listing, classes)
