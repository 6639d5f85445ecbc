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
from types import MappingProxyType

import numpy as np

from shardpack.errors import SourceError
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
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=default)
    except (TypeError, ValueError, RecursionError) as error:
        raise SourceError(f"JSON cannot represent a value: {error}; change it, or drop it") from error
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair: only an escape can represent it.
        return json.dumps(value, separators=(",", ":"), default=default).encode("ascii")


def plain_value(value: object) -> str:
    """Return a date, time or decimal number of a table as the text that JSON holds of it; for `compact_json`.

    Raises:
        TypeError: The value is of another kind.
    """
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"a {type(value).__name__}")


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
    has_own: set[int] = set()
    if LABEL in listing.fields:
        members = np.flatnonzero(listing.field_code == listing.fields.index(LABEL))
        has_own.update(listing.owners(members).tolist())
    removed: set[int] = set()
    for sample, label in enumerate(labels):
        if sample in refused:
            problems.reject(name_of(listing, sample), refused[sample])
        elif label is None and missing is not None:
            problems.leave_out(name_of(listing, sample), missing)
        elif label is not None and sample in has_own:
            problems.reject(name_of(listing, sample), "has a label of its own in a .json file; keep one of the two")
        else:
            continue
        removed.add(sample)
    kept = [label for sample, label in enumerate(labels) if sample not in removed]
    return insert_field(
        without(listing, removed), LABEL, [None if label is None else (label, len(label), 0) for label in kept]
    )


Member = tuple[Payload, int, int]  # payload, its size, its modification time


def insert_field(listing: Listing, field: str, members: Sequence[Member | None]) -> Listing:
    """Return the listing with one more member in each sample that is given one, at its place among the fields.

    Args:
        listing: Samples; those that are given a member do not have the field.
        field: Its name.
        members: (n) the member of each sample, or None.
    """
    has = np.fromiter((member is not None for member in members), bool, listing.num_samples)
    given = [member for member in members if member is not None]
    if not given:
        return listing
    fields = tuple(sorted({*listing.fields, field}))
    code = fields.index(field)
    moved = 0 if field in listing.fields else 1
    codes = listing.field_code + moved * (listing.field_code >= code)
    owner = np.repeat(np.arange(listing.num_samples), np.diff(listing.start))
    before = np.bincount(owner[codes < code], minlength=listing.num_samples)
    at = (listing.start[:-1] + before)[has]
    payloads: list[Payload] = []
    reached = 0
    for position, (payload, _, _) in zip(at.tolist(), given, strict=True):
        payloads.extend(listing.payload[reached:position])
        payloads.append(payload)
        reached = position
    payloads.extend(listing.payload[reached:])
    return replace(
        listing,
        fields=fields,
        start=listing.start + np.concatenate(([0], np.cumsum(has))),
        field_code=np.insert(codes.astype(np.uint16), at, code),
        size=np.insert(listing.size, at, [size for _, size, _ in given]),
        mtime_ns=np.insert(listing.mtime_ns, at, [mtime for _, _, mtime in given]),
        payload=payloads,
    )
