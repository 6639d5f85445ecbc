"""Say in one line what was found in a source, and what a sample will be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from shardpack.codecs.field_types import IMAGE_EXTENSIONS
from shardpack.sources.json_labels import LABEL
from shardpack.sources.listing import Listing
from shardpack.sources.source import SHOWN, Problems
from shardpack.sources.splits import counted_splits

_CLASSES_SHOWN = 3
_NOTHING: Mapping[str, int] = MappingProxyType({})


def describe(listing: Listing, *, title: str, label: str = "", noted: Mapping[str, int] = _NOTHING) -> str:
    """Return a line like "YOLO: 120 samples in train 100, val 20; a sample is jpg + json (boxes; 2 classes: cat, dog)".

    Args:
        listing: The samples.
        title: What the source is.
        label: What the JSON labels hold.
        noted: What should be known of some of the samples -> number of them.
    """
    splits = ", ".join(f"{name} {count:,}" for name, count in counted_splits(listing).items())
    count = f"{listing.num_samples:,} sample{'s' * (listing.num_samples != 1)}"
    notes = "".join(f"; {number:,} {what}" for what, number in noted.items())
    return f"{title}: {count}{' in ' * bool(splits)}{splits}; a sample is {_sample(listing, label)}{notes}"


def _sample(listing: Listing, label: str) -> str:
    counts = listing.samples_per_field()
    images = sorted((field for field in counts if field in IMAGE_EXTENSIONS), key=lambda field: (-counts[field], field))
    others = [field for field in counts if field not in IMAGE_EXTENSIONS]
    total = listing.num_samples
    parts = [" or ".join(images)] if images else []
    for field in others:
        some = f" in {counts[field]:,} of {total:,}" if counts[field] != total else ""
        parts.append(f"{field}{_label(listing.classes, label) if field == LABEL else ''}{some}")
    return " + ".join(parts) + ("" if others else ", without labels")


def _label(classes: Sequence[str] | None, label: str) -> str:
    said = [label] if label else []
    if classes is not None:
        names = ", ".join(classes[:_CLASSES_SHOWN]) + (", ..." if len(classes) > _CLASSES_SHOWN else "")
        said.append(f"{len(classes):,} class{'es' * (len(classes) != 1)}: {names}")
    return f" ({'; '.join(said)})" if said else ""


def without_match_line(patterns: Sequence[str]) -> str:
    """Return a line that names the patterns of files to ignore that no file matches; "" for none."""
    return f"no file matches {', '.join(map(repr, patterns))}" if patterns else ""


def left_out_line(problems: Problems) -> str:
    """Return a line that names the files that were left out, or of many the number for each reason; "" for none."""
    names = problems.left_out_names
    if not names:
        return ""
    if len(names) <= SHOWN:
        return f"left out {len(names)} file{'s' * (len(names) != 1)}: {', '.join(map(repr, names))}"
    reasons = (
        f"{count:,} {reason} (such as {problems.left_out_examples[reason]!r})"
        for reason, count in problems.left_out.items()
    )
    return f"left out {len(names):,} files: {', '.join(reasons)}"
