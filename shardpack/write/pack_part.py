"""Make one part of a plan, and publish the dataset if the other parts are finished, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from shardpack.commit.shared_transaction import SharedTransaction
from shardpack.commit.target import Target
from shardpack.errors import OutputExistsError, StorageError
from shardpack.runtime.engine import IN_PROCESS, Engine
from shardpack.write.pack_run import Packed, PackPlan, PackRun, packed_before
from shardpack.write.part import Part
from shardpack.write.part_plan import PartPlan
from shardpack.write.request import PackRequest


def pack_part(
    plan: PackPlan,
    target: Target,
    request: PackRequest,
    part: Part,
    *,
    recorded: Mapping[str, Any],
    rejected: Sequence[tuple[str, str]] = (),
    engine: Engine = IN_PROCESS,
) -> Packed:
    """Make the shards of a part that are missing; arguments as of `pack_plan`, the target opened as shared.

    Raises:
        OutputExistsError: Parts of another plan are at work, or the target holds something else.
        SourceError: A file has changed or vanished since it was listed.
        StorageError: The disk or the bucket refused. Finished shards stay; the same call continues.
    """
    run = PackRun(replace(plan, anywhere=True), request, recorded, rejected)
    with SharedTransaction(target, PartPlan(run)) as transaction:
        if transaction.complete:
            return packed_before(target)
        try:
            resumed = _make(run, transaction, part, engine)
        except (OutputExistsError, StorageError):  # our work folder vanished: is everything done?
            if not transaction.was_published():
                raise
            return packed_before(target)
    return run.packed(resumed)


def _make(run: PackRun, transaction: SharedTransaction, part: Part, engine: Engine) -> int:
    """Make the missing shards of a part, and publish if no shard is missing; return how many were there before."""
    own = part.shards(run.plan.num_shards)
    missing = _missing(run, transaction, own)
    run.make(transaction, missing, engine)
    transaction.refresh()
    others = [shard for shard in range(run.plan.num_shards) if shard not in own]
    if _missing(run, transaction, others):
        transaction.check()  # entries vanish where another part has published
    else:
        transaction.publish(run.files())
    return len(own) - len(missing)


def _missing(run: PackRun, transaction: SharedTransaction, shards: Sequence[int]) -> list[int]:
    """Return those of the shards that are not finished, and add the others to the run."""
    missing = []
    for shard in shards:
        entry = transaction.finished(run.plan.name(shard), run.plan.input_digest(shard))
        if entry is None:
            missing.append(shard)
        else:
            run.add(entry.info)
    return missing
