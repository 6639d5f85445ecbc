"""What can be packed in parallel: a `Source` lists its samples before any payload is read.

    folder                FolderSource     payloads are files, and labels made from the layout    folder.py
    dataset, view         DatasetSource    payloads are ranges of shards                          dataset.py
    (key, fields), ...    not a Source: an iterable cannot list its samples in advance            write/pack_samples.py

A new source returns a `Listing` whose payloads are files, ranges of objects, or bytes.
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
    """What a source lists.

    Attributes:
        listing: The samples in the order of the source.
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
        progress: Called from time to time with the number of files or samples found so far.
        engine: Distributes the work; the result does not depend on it.
    """

    rename_keys: bool = False
    on_error: OnError = "raise"
    progress: Callable[[int], None] = _ignore
    engine: Engine = IN_PROCESS


class Source(Protocol):
    """Can list its samples in advance."""

    def list(self, options: ListOptions) -> Listed:
        """Return all samples, their names checked; reads no payload. The same source gives the same listing.

        Raises:
            SourceError: The source has no samples, or samples were rejected and `on_error` is "raise".
        """
        ...
