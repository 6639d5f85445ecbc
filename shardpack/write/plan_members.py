"""What the parts of a plan compare: the members of a listing, or the units of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from shardpack.sources.listing import Listing
from shardpack.sources.row_source import RowSource
from shardpack.sources.splits import counted_splits
from shardpack.write.pack_shard import member_names


class ListedMembers:
    """The files and ranges of a listing."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    def facts(self) -> dict[str, Any]:
        """Return class names, splits and the number of samples, as JSON."""
        listing = self._listing
        classes = listing.classes and list(listing.classes)
        return {"classes": classes, "splits": counted_splits(listing), "num_samples": listing.num_samples}

    def names(self) -> list[bytes]:
        """Return (m) the names of members."""
        return member_names(self._listing)

    def digests(self) -> npt.NDArray[np.uint64]:
        """Return (m) a hash of all that is known of each member."""
        listing = self._listing
        checksums = [-1] * len(listing.payload) if listing.crc32c is None else listing.crc32c.tolist()
        columns = zip(listing.payload, listing.size.tolist(), listing.mtime_ns.tolist(), checksums, strict=True)
        hashes = (xxh3_64_intdigest(repr(member).encode("utf-8", "surrogateescape")) for member in columns)
        return np.fromiter(hashes, np.uint64, len(listing.payload))

    def label(self, member: int) -> str:
        """Return the path of a member's file, or its name if it has none."""
        payload = self._listing.payload[member]
        return payload if isinstance(payload, str) else self.names()[member].decode()


class RowMembers:
    """The units of a source of rows, and its version, which stands for their content."""

    def __init__(self, source: RowSource) -> None:
        self._source = source

    def facts(self) -> dict[str, Any]:
        """Return class names, the splits of units and the version of the source, as JSON."""
        source = self._source
        splits = sorted({unit.split for unit in source.units if unit.split is not None})
        return {"classes": source.classes and list(source.classes), "splits": splits, "version": source.version}

    def names(self) -> list[bytes]:
        """Return (m) the names of units."""
        return [unit.name.encode("utf-8", "surrogateescape") for unit in self._source.units]

    def digests(self) -> npt.NDArray[np.uint64]:
        """Return (m) a hash of all that is known of each unit."""
        units = self._source.units
        hashes = (xxh3_64_intdigest(repr(unit).encode("utf-8", "surrogateescape")) for unit in units)
        return np.fromiter(hashes, np.uint64, len(units))

    def label(self, member: int) -> str:
        """Return the name of a unit."""
        return self._source.units[member].name
