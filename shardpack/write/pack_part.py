"""Make one part of a plan, and publish the dataset if the other parts are finished, too.

The plan is one of shards (`pack_run.py`) or of chunks (`chunked_run.py`): here both are units, of which each part makes
every n-th one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from shardpack.commit.shared_transaction import Agreement, SharedTransaction
from shardpack.commit.target import Target
from shardpack.errors import OutputExistsError, StorageError
from shardpack.runtime.engine import IN_PROCESS, Engine
from shardpack.write.pack_run import Packed, PackPlan, PackRun, packed_before
from shardpack.write.part import Part
from shardpack.write.request import PackRequest


class PartRun(Protocol):
    """A run of which any part can be made."""

    @property
    def num_units(self) -> int:
        """How many units there are."""
        ...

    def agreement(self) -> Agreement:
        """Return what all parts agree on."""
        ...

    def find(self, transaction: SharedTransaction, unit: int, /) -> bool:
        """Add a unit that any part has finished; return whether one has."""
        ...

    def make(self, transaction: SharedTransaction, units: Sequence[int], engine: Engine, /) -> None:
        """Make and add these units."""
        ...

    def describe(self, transaction: SharedTransaction, /) -> list[tuple[str, Iterable[Any]]]:
        """Return what describes the whole dataset, once all units are added."""
        ...


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
    resumed = make_part(run, target, part, engine)
    return packed_before(target) if resumed is None else run.packed(resumed)


def make_part(run: PartRun, target: Target, part: Part, engine: Engine) -> int | None:
    """Make the units of a part that are missing; return how many were there, or None if another part has published."""
    with SharedTransaction(target, run.agreement()) as transaction:
        if transaction.complete:
            return None
        try:
            return _make(run, transaction, part, engine)
        except (OutputExistsError, StorageError):  # our work folder vanished: is everything done?
            if not transaction.was_published():
                raise
            return None


def _make(run: PartRun, transaction: SharedTransaction, part: Part, engine: Engine) -> int:
    """Make the missing units of a part, and publish if none is missing; return how many were there before."""
    own = part.shards(run.num_units)
    missing = [unit for unit in own if not run.find(transaction, unit)]
    run.make(transaction, missing, engine)
    transaction.refresh()
    found = [run.find(transaction, unit) for unit in range(run.num_units) if unit not in own]
    if all(found):
        transaction.publish(run.describe(transaction))
    else:
        transaction.check()  # entries vanish where another part has published
    return len(own) - len(missing)
