"""The splits of a listing: `with_splits` sets them, for sources that find them; packing orders samples by them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from shardpack.errors import OptionError, SourceError
from shardpack.format.split_names import in_split_order, split_names_problem
from shardpack.format.splits import NO_SPLIT
from shardpack.sources.listing import Listing

# Name in lower case, of a folder or a file -> the split that it usually means.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}


def with_splits(listing: Listing, splits: Sequence[str | None]) -> Listing:
    """Return the listing with the split that each sample is in: its name, or None for none. The order stays.

    Raises:
        SourceError: A name cannot be that of a split.
    """
    found = {name for name in splits if name is not None}
    if problem := split_names_problem(found):
        raise SourceError(problem)
    if not found:
        return replace(listing, split_names=(), split=None)
    names = in_split_order(found)
    numbers: dict[str | None, int] = {name: number for number, name in enumerate(names)}
    numbers[None] = NO_SPLIT
    split = np.fromiter((numbers[name] for name in splits), np.uint16, listing.num_samples)
    return replace(listing, split_names=tuple(names), split=split)


def split_of(listing: Listing, sample: int) -> str | None:
    """Return the name of the split that a sample is in; None if it is in none."""
    number = NO_SPLIT if listing.split is None else int(listing.split[sample])
    return None if number == NO_SPLIT else listing.split_names[number]


def counted_splits(listing: Listing) -> dict[str, int]:
    """Return the number of samples in each split, in the order of the splits; splits without samples are left out."""
    if listing.split is None:
        return {}
    counts = np.bincount(listing.split, minlength=NO_SPLIT + 1)[: len(listing.split_names)].tolist()
    return {name: count for name, count in zip(listing.split_names, counts, strict=True) if count}


def sorted_by_split(listing: Listing) -> Listing:
    """Return the listing with the samples of each split together, in the order of the splits, those of none last.

    The order within a split stays.
    """
    if listing.split is None or bool((listing.split[1:] >= listing.split[:-1]).all()):
        return listing
    return listing.take(np.argsort(listing.split, kind="stable"))


def split_ends(listing: Listing) -> list[int]:
    """Return where each run of samples of one split ends, ascending; the last is the number of samples.

    Of a listing without splits that is one run.
    """
    if listing.split is None or not listing.num_samples:
        return [listing.num_samples]
    return [*(np.flatnonzero(np.diff(listing.split)) + 1).tolist(), listing.num_samples]


def check_split(name: str, splits: Collection[str]) -> None:
    """Raise OptionError unless a source with these splits has one of this name; the message names those that it has."""
    if not splits:
        raise OptionError(f"the source has no splits, so none is called {name!r}; leave out split (--split)")
    if name not in splits:
        raise OptionError(f"the source has no split {name!r}; choose one of {', '.join(map(repr, splits))}")


def only_split(listing: Listing, name: str) -> Listing:
    """Return the samples of one split, as a listing without splits.

    Raises:
        OptionError: The source has no splits, or none of this name.
    """
    check_split(name, counted_splits(listing))
    assert listing.split is not None
    chosen = listing.take(np.flatnonzero(listing.split == listing.split_names.index(name)))
    return replace(chosen, split_names=(), split=None)
