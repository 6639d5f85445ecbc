"""Plan few requests that cover many byte ranges: pure arithmetic, no I/O."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class MergeLimits:
    """When two ranges are merged into one request.

    Attributes:
        max_gap_bytes: Largest number of unwanted bytes between two ranges that are read with them.
        max_request_bytes: Longest merged request. A single range may be longer.
    """

    max_gap_bytes: int
    max_request_bytes: int


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """Requests in ascending order, and the request that contains each range.

    Attributes:
        starts, lengths: Shape (r): the requests, half-open.
        owner: Shape (n): the number of the request that contains range i.
    """

    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    owner: npt.NDArray[np.int64]


def coalesce(starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], *, limits: MergeLimits) -> RequestPlan:
    """Return the requests that cover all ranges; ranges may come in any order and overlap.

    A range joins the preceding request if the gap between them and their joint length are within the limits.
    O(n log n).
    """
    order = np.argsort(starts, kind="stable")
    begins, ends = starts[order], (starts + lengths)[order]
    reach = np.maximum.accumulate(ends) if len(ends) else ends
    joinable = begins[1:] - reach[:-1] <= limits.max_gap_bytes
    first = np.ones(len(order), bool)
    if joinable.any():
        _join(first, begins.tolist(), ends.tolist(), joinable.tolist(), limits.max_request_bytes)
    group = np.cumsum(first) - 1
    heads = np.flatnonzero(first)
    request_starts = begins[heads]
    request_ends = np.maximum.reduceat(ends, heads) if len(heads) else ends
    owner = np.empty(len(order), np.int64)
    owner[order] = group
    return RequestPlan(request_starts, request_ends - request_starts, owner)


def _join(
    first: npt.NDArray[np.bool_], begins: list[int], ends: list[int], joinable: list[bool], max_bytes: int
) -> None:
    """Clear `first` where a range joins the preceding request."""
    # A range inside the preceding request joins it. So that request reaches furthest of all so far, and the gap in
    # `joinable` is the gap to its end.
    request_start, request_end = begins[0], ends[0]
    for i, joins in enumerate(joinable, start=1):
        end = ends[i]
        if end <= request_end:
            first[i] = False
        elif joins and end - request_start <= max_bytes:
            first[i] = False
            request_end = end
        else:
            request_start, request_end = begins[i], end
