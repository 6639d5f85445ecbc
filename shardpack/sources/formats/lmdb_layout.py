"""What the entries of an LMDB database are to samples, found by their keys.

0001 -> value                              an entry is a sample
0001.jpg -> image, 0001.json -> label      the entries of a key are a sample, stored as they are
image-0001 -> image, label-0001 -> text    the entries of a number are a sample
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from shardpack.format.naming import split_name

Shape = Literal["entries", "fields", "numbered"]

NOTES = frozenset(
    (b"__len__", b"__keys__", b"__metadata__", b"length", b"num-samples", b"num_samples", b"nSamples", b"dataset_size")
)
_NUMBERED = re.compile(rb"([A-Za-z_]+)-([0-9]+)")
_MOST_PREFIXES = 16


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring samples, as a unit reads them. Pickles.

    Attributes:
        file: The environment.
        database: Name of the database in it, or None.
        shape: What a sample is.
        prefixes: Of numbered entries: "image", "label".
        first: Key of the first entry; None for that of the database.
    """

    file: str
    database: bytes | None
    shape: Shape
    prefixes: tuple[bytes, ...] = ()
    first: bytes | None = None


def shape_of(keys: Iterable[bytes]) -> tuple[Shape, tuple[bytes, ...]]:
    """Return what a sample is, by the keys of a whole database in their order; and the prefixes of numbered entries."""
    sample, fields, has_pair, dotted, numbered = "", set[str](), False, True, True
    counts: Counter[bytes] = Counter()
    for key in keys:
        name = split_name(key.decode("utf-8", "surrogateescape")) if dotted else None
        dotted = name is not None
        if name is not None:
            if name[0] != sample:
                sample, fields = name[0], set()
            fields.add(name[1])
            has_pair = has_pair or len(fields) > 1
        match = _NUMBERED.fullmatch(key) if numbered else None
        numbered = match is not None and len(counts) <= _MOST_PREFIXES
        if match is not None:
            counts[match[1]] += 1
        if not dotted and not numbered:
            break
    if dotted and has_pair:
        return "fields", ()
    if numbered and len(counts) > 1 and len(set(counts.values())) == 1:
        return "numbered", tuple(counts)
    return "entries", ()
