"""Read the payloads of a listing: files, ranges of objects in stores, or inline bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import accumulate, groupby, pairwise

import numpy as np

from shardpack.errors import CorruptShardError, SourceError
from shardpack.format.checksum import crc32c
from shardpack.sources.listing import Listing, Payload, Reference
from shardpack.storage.protocols import Ranges


def read_payload(listing: Listing, member: int, num_bytes: int | None = None) -> bytes:
    """Return the first `num_bytes` of a payload, or all of it.

    Raises:
        OSError: A file cannot be read.
        ShardpackError: A store cannot be read.
    """
    payload = listing.payload[member]
    if isinstance(payload, bytes):
        return payload[:num_bytes]
    if isinstance(payload, Reference):
        size = int(listing.size[member])
        length = size if num_bytes is None else min(num_bytes, size)
        return bytes(listing.stores[payload.store].get_range(payload.path, start=payload.start, length=length))
    with open(os.path.join(listing.root, payload), "rb", buffering=0 if num_bytes else -1) as file:
        return file.read(-1 if num_bytes is None else num_bytes)


def read_into(listing: Listing, first: int, views: Sequence[memoryview]) -> None:
    """Fill each view with the complete payload of one member: those of the members from `first` on.

    Ranges of one store are requested together, so that it can merge them or read them at once.

    Raises:
        SourceError: A file cannot be read, or its size is not the one that was listed.
        ShardpackError: A store cannot be read.
    """
    payloads = listing.payload[first : first + len(views)]
    if listing.stores:
        _read_ranges(listing, payloads, views)
    payload: Payload = b""
    root = listing.root
    try:
        for payload, view in zip(payloads, views, strict=True):
            if isinstance(payload, str):
                if off := read_exactly_into(f"{root}/{payload}", view):
                    got = "more" if off > 0 else len(view) + off
                    raise SourceError(
                        f"source changed while packing: expected {len(view)} bytes in "
                        f"{os.path.join(root, payload)!r}, got {got}; run the same command again"
                    )
            elif isinstance(payload, bytes):
                view[:] = payload
    except OSError as error:
        raise SourceError(
            f"cannot read {os.path.join(root, str(payload))!r}: {error.strerror}; "
            "make it readable, then run the same command: it continues where it stopped"
        ) from error


def _read_ranges(listing: Listing, payloads: Sequence[Payload], views: Sequence[memoryview]) -> None:
    wanted = [(payload, view) for payload, view in zip(payloads, views, strict=True) if isinstance(payload, Reference)]
    for store, of_store in groupby(wanted, key=lambda pair: pair[0].store):
        ranges: list[Ranges] = []
        targets: list[list[memoryview]] = []
        for path, group in groupby(of_store, key=lambda pair: pair[0].path):
            pairs = list(group)
            targets.append([view for _, view in pairs])
            ranges.append(Ranges(path, [each.start for each, _ in pairs], [len(view) for _, view in pairs]))
        for into, contents in zip(targets, listing.stores[store].get_many(ranges), strict=True):
            for view, data in zip(into, contents, strict=True):
                view[:] = data


def read_listed(listing: Listing, first: int, stop: int) -> list[tuple[str, dict[str, bytes]]]:
    """Return (key, field -> payload) of the samples `first <= i < stop`, in order.

    Raises:
        CorruptShardError: A checksum differs from that of the source.
        SourceError, ShardpackError: As `read_into`.
    """
    start = listing.start[first : stop + 1].tolist()
    a, b = start[0], start[-1]
    sizes = listing.size[a:b].tolist()
    memory = memoryview(bytearray(sum(sizes)))
    ends = list(accumulate(sizes, initial=0))
    views = [memory[begin:end] for begin, end in pairwise(ends)]
    read_into(listing, a, views)
    if listing.crc32c is not None:
        check_payloads(listing, a, [crc32c(view) for view in views])
    names = [listing.fields[code] for code in listing.field_code[a:b].tolist()]
    payloads = [bytes(view) for view in views]
    return [
        (key, dict(zip(names[i - a : j - a], payloads[i - a : j - a], strict=True)))
        for key, i, j in zip(listing.keys[first:stop], start, start[1:], strict=False)
    ]


def check_payloads(listing: Listing, first: int, checksums: Sequence[int]) -> None:
    """Compare the checksums of the payloads from `first` on with those that the source knows.

    Raises:
        CorruptShardError: A checksum differs; the sample is named.
    """
    if listing.crc32c is None:
        return
    expected = listing.crc32c[first : first + len(checksums)]
    damaged = np.flatnonzero((expected >= 0) & (expected != np.asarray(checksums)))
    if len(damaged):
        raise _damaged(listing, first + int(damaged[0]))


def _damaged(listing: Listing, member: int) -> CorruptShardError:
    sample = int(listing.owners([member])[0])
    payload, field = listing.payload[member], listing.fields[listing.field_code[member]]
    where = payload if isinstance(payload, Reference) else None
    return CorruptShardError(
        f"field {field!r} does not have the checksum that is in its index; "
        'verify the source with "shardpack verify --full"',
        path=where.path if where else None,
        key=listing.keys[sample],
        offset=where.start if where else None,
    )


if hasattr(os, "readv"):

    def read_exactly_into(path: str, view: memoryview) -> int:
        """Fill `view` from a file; return the file's length minus that of `view`, at most 1: 0 means an exact fit.

        Costs open, read and close: reading one byte more than fits saves a call for the length.
        """
        descriptor = os.open(path, os.O_RDONLY)
        try:
            spare = bytearray(1)
            got = os.readv(descriptor, (view, spare))
            while got < len(view):  # the file ended, or one call reads at most 2 GiB
                more = os.readv(descriptor, (view[got:], spare))
                if not more:
                    break
                got += more
            return got - len(view)
        finally:
            os.close(descriptor)

else:  # Windows

    def read_exactly_into(path: str, view: memoryview) -> int:
        """Fill `view` from a file; return the file's length minus that of `view`, at most 1: 0 means an exact fit."""
        with open(path, "rb") as file:
            got = file.readinto(view)
            return got - len(view) if got < len(view) else len(file.read(1))
