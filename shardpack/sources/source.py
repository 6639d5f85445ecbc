"""What samples come from: a `Source` lists its samples before any payload is read.

    folder                FolderSource     files, and labels made from the layout       folder.py
    dataset, view         DatasetSource    ranges of its shards                         dataset.py
    (key, fields), ...    no Source: nothing is known of what an iterable will give     write/pack_samples.py

Whoever adds one returns a `Listing` whose payloads are files, ranges of objects, or bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from shardpack.errors import OnError
from shardpack.runtime.engine import IN_PROCESS, Engine
from shardpack.sources.listing import Listing
from shardpack.sources.rejects import Problems


@dataclass(frozen=True, slots=True)
class Listed:
    """A source, listed.

    Attributes:
        listing: What to pack, in the order of packing.
        layout: How the source was read: "classes", "files", "table", "coco" or "dataset".
        problems: What was rejected, and what was left out.
    """

    listing: Listing
    layout: str
    problems: Problems


def _ignore(_: int) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """How to list any source.

    Attributes:
        rename_keys: Escape unsafe keys reversibly instead of rejecting them.
        on_error: "raise" at the end if anything was rejected, or "skip" to go on without it.
        progress: Called with the number of files or samples found so far, now and then.
        engine: Shares the work among its workers; the result is the same.
    """

    rename_keys: bool = False
    on_error: OnError = "raise"
    progress: Callable[[int], None] = _ignore
    engine: Engine = IN_PROCESS


class Source(Protocol):
    """Something that can say what its samples are."""

    def list(self, options: ListOptions) -> Listed:
        """Return all samples, their names checked; reads no payload. The same source gives the same listing.

        Raises:
            SourceError: There is no sample, or what was rejected is not to be skipped.
        """
        ...
