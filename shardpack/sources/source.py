"""What can be packed in parallel: a `Source` lists its samples before any payload is read.

    folder                FolderSource     payloads are files, and labels made from the layout    folder.py
    dataset, view, mix    DatasetSource    payloads are ranges of shards                          dataset.py
    (key, fields), ...    not a Source: an iterable cannot list its samples in advance            write/pack_samples.py

A new source returns a `Listing` whose payloads are files, ranges of objects, or bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from shardpack.errors import OnError, SourceError
from shardpack.runtime.engine import IN_PROCESS, Engine
from shardpack.runtime.progress import Advance, no_advance
from shardpack.sources.listing import Listing, name_of, without
from shardpack.storage.protocols import Store

SHOWN = 3  # problems that an error names


@dataclass
class Problems:
    """What cannot be packed, and what is not part of any sample.

    Attributes:
        rejected: (path or key, reason) of samples that cannot be packed as requested: an error, unless skipped.
        left_out: Reason -> number of files that do not belong to a sample: reported, but not an error.
        left_out_examples: Reason -> path of the first such file.
        noted: What should be known of samples that are packed all the same -> number of samples.
        left_out_names: Paths of all such files.
        without_match: Patterns of files to ignore that no file matches.
    """

    rejected: list[tuple[str, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    left_out_examples: dict[str, str] = field(default_factory=dict)
    noted: Counter[str] = field(default_factory=Counter)
    left_out_names: list[str] = field(default_factory=list)
    without_match: list[str] = field(default_factory=list)

    def reject(self, name: str, reason: str) -> None:
        """Record a sample or file that cannot be packed."""
        self.rejected.append((name, reason))

    def leave_out(self, name: str, reason: str) -> None:
        """Record a file that does not belong to a sample."""
        self.left_out[reason] += 1
        self.left_out_examples.setdefault(reason, name)
        self.left_out_names.append(name)

    def note(self, what: str, count: int = 1) -> None:
        """Count samples of which something should be known: images without a label file."""
        if count:
            self.noted[what] += count

    def extend(self, other: Problems) -> None:
        """Add the problems of another collection."""
        self.rejected.extend(other.rejected)
        self.left_out.update(other.left_out)
        self.noted.update(other.noted)
        self.left_out_names.extend(other.left_out_names)
        self.without_match.extend(other.without_match)
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


@dataclass(frozen=True, slots=True)
class Listed:
    """What a source lists.

    Attributes:
        listing: The samples in the order of the source.
        layout: How the source was read: the name of a layout, or "dataset".
        problems: What was rejected, and what was left out.
        sentence: What was found, and what a sample will be, in one line.
    """

    listing: Listing
    layout: str
    problems: Problems
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """How to list any source.

    Attributes:
        rename_keys: Escape unsafe keys reversibly instead of rejecting them.
        on_error: "raise" at the end if anything was rejected, or "skip" to go on without it.
        progress: Called from time to time with the number of files or samples found so far.
        engine: Distributes the work; the result does not depend on it.
        unpack: Unpacks a compressed file: its store and path -> those of a local file, which is there as long as the
            samples are read; None if nothing may be unpacked.
    """

    rename_keys: bool = False
    on_error: OnError = "raise"
    progress: Advance = no_advance
    engine: Engine = IN_PROCESS
    unpack: Callable[[Store, str], tuple[Store, str]] | None = None


class Source(Protocol):
    """Can list its samples in advance."""

    def list(self, options: ListOptions) -> Listed:
        """Return all samples, their names checked; reads no payload. The same source gives the same listing.

        Raises:
            SourceError: The source has no samples, or samples were rejected and `on_error` is "raise".
        """
        ...
