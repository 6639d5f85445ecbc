"""Collect all problems of a source, instead of stopping at the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from shardpack.codecs.field_types import IMAGE_EXTENSIONS
from shardpack.errors import SourceError
from shardpack.sources.listing import Listing

SHOWN = 3  # problems that an error names


@dataclass
class Problems:
    """What cannot be packed, and what is not part of any sample.

    Attributes:
        rejected: (path or key, reason) of samples that cannot be packed as requested: an error, unless skipped.
        left_out: Reason -> number of files that do not belong to a sample: reported, but not an error.
        left_out_examples: Reason -> path of the first such file.
    """

    rejected: list[tuple[str, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    left_out_examples: dict[str, str] = field(default_factory=dict)

    def reject(self, name: str, reason: str) -> None:
        """Record a sample or file that cannot be packed."""
        self.rejected.append((name, reason))

    def leave_out(self, name: str, reason: str) -> None:
        """Record a file that does not belong to a sample."""
        self.left_out[reason] += 1
        self.left_out_examples.setdefault(reason, name)

    def extend(self, other: Problems) -> None:
        """Add the problems of another collection."""
        self.rejected.extend(other.rejected)
        self.left_out.update(other.left_out)
        for reason, name in other.left_out_examples.items():
            self.left_out_examples.setdefault(reason, name)

    def reject_samples(self, listing: Listing, reasons: Mapping[int, str]) -> Listing:
        """Return the listing without the samples in `reasons` (sample -> reason), which are recorded as rejected."""
        for sample in sorted(reasons):
            self.reject(name_of(listing, sample), reasons[sample])
        return without(listing, reasons)

    def raise_if_any(self) -> None:
        """Raise SourceError if anything was rejected: names the first few, and counts all."""
        if not self.rejected:
            return
        shown = "; ".join(f"{name!r}: {reason}" for name, reason in self.rejected[:SHOWN])
        more = len(self.rejected) - SHOWN
        rest = f"; and {more} more" if more > 0 else ""
        count = len(self.rejected)
        raise SourceError(
            f"{count} problem{'s' if count > 1 else ''} in the source: {shown}{rest}; "
            "correct them, or leave them out with on_error='skip' (--on-error skip)"
        )


def name_of(listing: Listing, sample: int) -> str:
    """Return the path of a sample's image, or its key if it has none: what a person can find it by."""
    for member in range(int(listing.start[sample]), int(listing.start[sample + 1])):
        payload = listing.payload[member]
        if isinstance(payload, str) and listing.fields[listing.field_code[member]] in IMAGE_EXTENSIONS:
            return payload
    return listing.keys[sample]


def without(listing: Listing, samples: Collection[int]) -> Listing:
    """Return the listing without these samples, and without the fields that no other sample has."""
    if not samples:
        return listing
    kept = np.delete(np.arange(listing.num_samples), list(samples))
    rest = listing.take(kept)
    codes, field_code = np.unique(rest.field_code, return_inverse=True)
    return replace(
        rest,
        fields=tuple(listing.fields[code] for code in codes.tolist()),
        field_code=field_code.astype(np.uint16),
    )
