"""Reads what plans ask for: from maps where that is best, otherwise by range, all stores at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shardpack.read.read_plan import STREAM_LIMITS, ReadPlan, Requests
from shardpack.runtime.threads import call_all
from shardpack.storage.coalesce import MergeLimits


def is_cut_from_map(plan: ReadPlan, merging: MergeLimits, *, verify: bool) -> bool:
    """Return whether to cut a plan's samples from the shard's map.

    Long runs are faster in one read than in faults; and what is not in memory is read, so that the requests overlap,
    and what was cut off the file is an error: its page would end the process.
    """
    shard = plan.shard
    if shard.mapped is None or verify or merging is STREAM_LIMITS or not len(plan.member):
        return False
    return shard.store.is_cached(shard.path, int((plan.starts + plan.sizes).max()) - 1)


def fetch(plans: Sequence[ReadPlan], requests: Sequence[Requests | None]) -> list[list[Any]]:
    """Return the ranges that each plan requests, none where that is None. All are read concurrently, if they can be."""
    fetched: list[list[Any]] = [[] for _ in plans]
    by_store: dict[int, list[int]] = {}
    for at, (plan, request) in enumerate(zip(plans, requests, strict=True)):
        if request is not None and len(plan.member):
            by_store.setdefault(id(plan.shard.store), []).append(at)

    def fetch_some(numbers: Sequence[int]) -> list[list[bytes]]:
        ranges = [request.ranges for at in numbers if (request := requests[at]) is not None]
        return plans[numbers[0]].shard.store.get_many(ranges)

    groups = list(by_store.values())
    remote = any(plans[numbers[0]].shard.store.remote for numbers in groups)
    for numbers, results in zip(
        groups, call_all(fetch_some, groups, limit=len(groups) if remote else 1, purpose="fetch"), strict=True
    ):
        for at, own in zip(numbers, results, strict=True):
            fetched[at] = own
    return fetched
