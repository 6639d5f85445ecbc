"""Reads the labels of a dataset that is edited, or one value of each: in batches, by plan, and no image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from shardpack.codecs.compression import SUFFIXES, split_compression
from shardpack.codecs.decode import decode_field
from shardpack.edit.base import EditBase
from shardpack.errors import DecodeError, FieldNotFoundError, OptionError
from shardpack.format.manifest import Manifest
from shardpack.read.read_many import read_samples
from shardpack.read.sample import Sample
from shardpack.runtime.arrays import Integers
from shardpack.runtime.progress import Progress
from shardpack.sources.json_labels import LABEL

BATCH = 4096  # labels that are read together
_JSON = frozenset((LABEL, *(f"{LABEL}.{suffix}" for suffix in SUFFIXES)))
_UNREADABLE = frozenset(
    f"{LABEL}.{suffix}" for suffix in ("bz2", "xz", "lzma", "lz4", "br", "zstd", "gzip", "zip", "z")
)
LABEL_FIELDS = _JSON | {"cls"}  # that hold numbers of classes


def label_field(manifest: Manifest) -> str:
    """Return the field that holds the JSON labels of a dataset: "json", "json.zst" or "json.gz"; else "json".

    Raises:
        OptionError: Some labels are in one of them, and some in another, or they are compressed in a way not read here.
    """
    found = [field for field in manifest.fields if field in _JSON | _UNREADABLE]
    if len(found) > 1:
        raise OptionError(f"the dataset has labels in {found[0]!r} and in {found[1]!r}; pack it again with one of them")
    if found and found[0] in _UNREADABLE:
        readable = ", ".join(map(repr, sorted(_JSON)))
        raise OptionError(
            f"the dataset has labels in {found[0]!r}, expected one of {readable}; pack it with one of them"
        )
    return found[0] if found else LABEL


def class_number_fields(manifest: Manifest) -> tuple[str, ...]:
    """Return the fields that hold the number of a sample's class and nothing else: "cls", compressed or not."""
    return tuple(field for field in manifest.fields if split_compression(field)[0] == "cls")


def other_label_field(known: Iterable[str], new: Iterable[str]) -> tuple[str, str] | None:
    """Return the field of JSON labels that fields bring, and the other one that holds them already; None if all fit.

    A dataset with labels in two fields could not be relabelled or split by them.
    """
    mine = sorted(_JSON.union(_UNREADABLE).intersection(known))
    others = sorted(_JSON.union(_UNREADABLE).intersection(new).difference(mine))
    return (others[0], mine[0]) if mine and others else None


def read_labels(base: EditBase, positions: Integers, progress: Progress) -> Iterator[Any]:
    """Yield the label of each sample, in the order of the positions; None of samples without one.

    Raises:
        DecodeError: A label is not JSON.
    """
    yield from _read(base, positions, label_field(base.manifest), progress)


def read_values(base: EditBase, positions: Integers, name: str, progress: Progress) -> Iterator[Any]:
    """Yield one value of each sample: of the field that is called so, or else of that name in its label, or None.

    Raises:
        FieldNotFoundError: There is neither a field of this name, nor a label.
        OptionError: No label has such a value.
        DecodeError: A label is not what its field's name says.
    """
    if name in base.manifest.fields:
        yield from _read(base, positions, name, progress)
        return
    field = label_field(base.manifest)
    if field not in base.manifest.fields:
        known = ", ".join(base.manifest.fields)
        raise FieldNotFoundError(f"no sample has a label (json) or a field {name!r}; the dataset has: {known}")
    found, others = False, dict[str, None]()
    for label in _read(base, positions, field, progress):
        value = label.get(name) if isinstance(label, dict) else None
        found = found or value is not None
        if not found and isinstance(label, dict) and len(others) < len(label):
            others.update(dict.fromkeys(label))
        yield value
    if not found and len(positions):
        names = ", ".join(map(repr, list(others)[:8])) or "none"
        raise OptionError(f"no label has {name!r}; they have: {names}")


def read_fields(base: EditBase, positions: Integers, fields: tuple[str, ...], progress: Progress) -> Iterator[Sample]:
    """Yield samples with these of their fields, in the order of the positions."""
    for begin in range(0, len(positions), BATCH):
        yield from read_samples(base.cache, positions[begin : begin + BATCH], fields)
        progress("read", min(begin + BATCH, len(positions)), len(positions))


def _read(base: EditBase, positions: Integers, field: str, progress: Progress) -> Iterator[Any]:
    for sample in read_fields(base, positions, (field,), progress):
        if field not in sample:
            yield None
            continue
        try:
            yield decode_field(field, sample[field])
        except DecodeError as error:
            raise DecodeError(error.args[0], key=sample.key) from error
