"""Check the keys and fields of a listing: every reader must split them alike.

`format/naming.py` decides about a single name. This module finds what only shows among all names:
equal keys, and keys that a file system without case would confuse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from shardpack.errors import InvalidKeyError
from shardpack.format.naming import PLAIN_KEY, check_field, escape_key, key_problem, unescape_key
from shardpack.sources.listing import Listing, name_of, sorted_by_key
from shardpack.sources.source import Problems

NOT_UTF8 = "its name is not UTF-8"
_REPAIR = "rename it, or pass rename_keys (--rename-keys) to escape it reversibly"


def check_names(
    listing: Listing, problems: Problems, *, rename_keys: bool = False, keep_order: bool = False
) -> Listing:
    """Return the samples whose names are safe and unique, ascending by key; the others are rejected.

    Among keys that are equal or differ in case only, the first is kept. Costs about 1 us per sample.

    Args:
        listing: Samples; the keys are those of the source, not escaped.
        problems: Receives the rejected samples.
        rename_keys: Escape unsafe keys with `escape_key`, and keys that differ in case only with
            its `escape_upper`. Fields are never renamed.
        keep_order: Keep the order of the samples instead of sorting them.
    """
    listing = _check_fields(listing, problems)
    if rename_keys:
        listing = _rename(listing)
    listing = _check_each(listing, problems)
    if not keep_order:
        listing = sorted_by_key(listing)
    if rename_keys:
        listing = _hide_case(listing)
        listing = listing if keep_order else sorted_by_key(listing)
    return _check_unique(listing, problems)


def _check_fields(listing: Listing, problems: Problems) -> Listing:
    bad: dict[int, str] = {}
    for code, field in enumerate(listing.fields):
        try:
            check_field(field)
        except InvalidKeyError as error:
            bad[code] = str(error) if _is_utf8(field) else f"{NOT_UTF8}; rename it"
    members = np.flatnonzero(np.isin(listing.field_code, list(bad)))
    owners = listing.owners(members)
    reasons = {
        owner: f"{listing.payload[member]!r}: {bad[int(listing.field_code[member])]}"
        for owner, member in zip(owners.tolist(), members.tolist(), strict=True)
    }
    return problems.reject_samples(listing, reasons)


def _rename(listing: Listing) -> Listing:
    if all(map(PLAIN_KEY.fullmatch, listing.keys)):
        return listing
    return replace(listing, keys=[key if PLAIN_KEY.fullmatch(key) else _escaped(key) for key in listing.keys])


def _escaped(key: str, *, escape_upper: bool = False) -> str:
    try:
        return escape_key(key, escape_upper=escape_upper)
    except InvalidKeyError:
        return key  # too long, or half a surrogate pair (possible on Windows): rejected as unsafe


def _check_each(listing: Listing, problems: Problems) -> Listing:
    if all(map(PLAIN_KEY.fullmatch, listing.keys)):
        return listing
    problem_of = {sample: key_problem(key) for sample, key in enumerate(listing.keys)}
    reasons = {
        sample: f"{problem if _is_utf8(listing.keys[sample]) else NOT_UTF8}; {_REPAIR}"
        for sample, problem in problem_of.items()
        if problem
    }
    return problems.reject_samples(listing, reasons)


def _hide_case(listing: Listing) -> Listing:
    """Return the listing with upper case escaped in the keys that differ in case only."""
    alike = _alike(listing.keys)
    if not alike:
        return listing
    keys = list(listing.keys)
    for samples in alike:
        for sample in samples:
            keys[sample] = _escaped(unescape_key(keys[sample]), escape_upper=True)
    return replace(listing, keys=keys)


def _check_unique(listing: Listing, problems: Problems) -> Listing:
    reasons: dict[int, str] = {}
    for samples in _alike(listing.keys):
        first_of: dict[str, int] = {}
        for sample in samples:
            key = listing.keys[sample]
            other = first_of.setdefault(key, sample)
            if other != sample:
                reasons[sample] = f"its key {key!r} is also that of {name_of(listing, other)!r}; rename one"
            elif other != samples[0]:
                first = name_of(listing, samples[0])
                reasons[sample] = f"its key {key!r} differs in case only from that of {first!r}; {_REPAIR}"
    return problems.reject_samples(listing, reasons)


def _alike(keys: Sequence[str]) -> list[list[int]]:
    """Return the groups of samples whose keys are equal or differ in case only, each group ascending."""
    # Hashes take 8 bytes per key, a set of strings far more. They only select candidates, so their seed is irrelevant.
    hashes = np.fromiter(map(hash, map(str.lower, keys)), np.int64, len(keys))
    ordered = np.sort(hashes)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if not repeated.size:
        return []
    groups: dict[str, list[int]] = {}
    for sample in np.flatnonzero(np.isin(hashes, repeated)).tolist():
        groups.setdefault(keys[sample].lower(), []).append(sample)
    return [samples for samples in groups.values() if len(samples) > 1]


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
