"""JSON labels that shardpack makes, from class folders, tables and annotations.

Decides how a label is written, and what happens to images that have no label, or two. Labels are compact
UTF-8 JSON (RFC 8259), without NaN and Infinity.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, time
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import cast

import numpy as np
import numpy.typing as npt

from shardpack.errors import SourceError
from shardpack.runtime.words import a_type
from shardpack.sources.columns import Chosen, inserted, lengths
from shardpack.sources.listing import Listing, Payload, name_of, without
from shardpack.sources.source import Problems

LABEL = "json"


def compact_json(value: object, *, default: Callable[[object], object] | None = None) -> bytes:
    """Return a value as JSON in UTF-8, without spaces, names in their order.

    Args:
        value: Anything that `json.dumps` accepts.
        default: As `json.dumps(default=...)`.

    Raises:
        SourceError: JSON cannot represent a part of the value, such as a number that is not finite.
    """
    try:
        text = _encoder(default).encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise SourceError(f"JSON cannot represent a value: {error}; change it, or drop it") from error
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair: only an escape can represent it.
        return json.dumps(value, separators=(",", ":"), default=default).encode("ascii")


@lru_cache(4)
def _encoder(default: Callable[[object], object] | None) -> json.JSONEncoder:
    return json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=default)


def plain_value(value: object) -> str:
    """Return a date, time or decimal number of a table as the text that JSON holds of it; for `compact_json`.

    Raises:
        TypeError: The value is of another kind.
    """
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(a_type(value))


def class_number(label: object) -> int | None:
    """Return the number of a class that a label is: a whole number, or 2.0, as tables with gaps write it; else None."""
    if isinstance(label, float) and label.is_integer():
        return int(label)
    return label if type(label) is int else None


def attach_labels(
    listing: Listing,
    labels: Sequence[bytes | None],
    problems: Problems,
    *,
    refused: Mapping[int, str] = MappingProxyType({}),
    missing: str | None = "no label",
) -> Listing:
    """Return the samples, each with its label as the field "json".

    Samples without a label are left out and counted, or kept; samples with two labels are rejected: that and a json
    field of their own.

    Args:
        listing: Samples.
        labels: (n) JSON text of each sample's label, or None.
        problems: Receives what is rejected or left out.
        refused: Sample -> reason for rejecting it, with or without a label.
        missing: Reason for leaving out a sample without a label; None keeps such samples.
    """
    count = listing.num_samples
    given = np.fromiter((label is not None for label in labels), bool, count)
    has_own = np.zeros(count, bool)
    if LABEL in listing.fields:
        has_own[listing.owners(np.flatnonzero(listing.field_code == listing.fields.index(LABEL)))] = True
    removed = np.zeros(count, bool) if missing is None else ~given
    removed |= given & has_own
    removed[list(refused)] = True
    for sample in np.flatnonzero(removed).tolist():
        if sample in refused:
            problems.reject(name_of(listing, sample), refused[sample])
        elif not given[sample]:
            problems.leave_out(name_of(listing, sample), missing or "")
        else:
            problems.reject(name_of(listing, sample), "has a label of its own in a .json file; keep one of the two")
    rest = without(listing, np.flatnonzero(removed).tolist())
    payload = Chosen.of(labels).take(np.flatnonzero(given & ~removed))
    return insert_field(rest, LABEL, given[~removed], cast("Sequence[bytes]", payload))


def insert_field(
    listing: Listing,
    field: str,
    has: npt.NDArray[np.bool_],
    payload: Sequence[Payload],
    *,
    size: Sequence[int] | None = None,
    mtime_ns: Sequence[int] | None = None,
) -> Listing:
    """Return the listing with one more member in some samples, at its place among the fields.

    Args:
        listing: Samples; those that are given a member do not have the field.
        field: Its name.
        has: (n) which samples are given a member.
        payload: Payload of each member.
        size: Length of each payload; None if they are bytes.
        mtime_ns: Modification time of each; None for zeros.
    """
    if not has.any():
        return listing
    fields = tuple(sorted({*listing.fields, field}))
    code = fields.index(field)
    moved = 0 if field in listing.fields else 1
    codes = listing.field_code + (moved * (listing.field_code >= code)).astype(np.uint16)
    owners = np.repeat(np.arange(listing.num_samples), np.diff(listing.start))
    before = np.bincount(owners[codes < code], minlength=listing.num_samples)
    start = listing.start + np.concatenate(([0], np.cumsum(has)))
    is_new = np.zeros(start[-1], bool)
    is_new[(start[:-1] + before)[has]] = True
    return replace(
        listing,
        fields=fields,
        start=start,
        field_code=inserted(codes, is_new, code),
        size=inserted(listing.size, is_new, lengths(cast("Sequence[bytes]", payload)) if size is None else size),
        mtime_ns=inserted(listing.mtime_ns, is_new, 0 if mtime_ns is None else mtime_ns),
        payload=Chosen.of(listing.payload).inserted(is_new, payload),
    )
