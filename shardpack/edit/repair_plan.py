"""What a repair of files is about to do: a value, which a dry run shows, and how it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shardpack.commit.generations import newest_undamaged
from shardpack.commit.target import Target, locked
from shardpack.errors import OutputExistsError
from shardpack.format.named_files import Parts


@dataclass(frozen=True, slots=True, eq=False)
class RepairPlan:
    """What is to be done with the files of one generation.

    Attributes:
        manifest_text: The bytes of its manifest, the newest one that is left.
        files: (name, parts) of the files that are made again, in the order of writing.
        unwanted: Names of files that are deleted before.
        lost: What cannot be made again, each in a sentence.
        broken: Numbers of the shards whose tars break off, and whose whole samples can be saved.
        has_table: Whether the files of the label table are whole.
    """

    manifest_text: bytes
    files: Sequence[tuple[str, Parts]]
    unwanted: Sequence[str]
    lost: Sequence[str]
    broken: Sequence[int]
    has_table: bool

    @property
    def names(self) -> list[str]:
        """Names of the files that are made again."""
        return [name for name, _ in self.files]


def write_plan(target: Target, plan: RepairPlan) -> None:
    """Do what is planned: delete what would be in the way of the next edits, then write the files.

    In a bucket no lock keeps an editor out between the check and the first deletion, and not every bucket can delete on
    a condition. An editor that within that request makes anew the very manifest that is deleted as damaged loses its
    generation; whatever else it makes then, another repair makes again.

    Raises:
        OutputExistsError: The dataset was edited or replaced meanwhile. Nothing was written.
    """
    if not (plan.files or plan.unwanted):
        return
    with locked(target):
        refuse_edited(target, plan.manifest_text)
        target.delete(plan.unwanted)
        for path, parts in plan.files:
            target.put(path, parts)
        target.fsync()


def refuse_edited(target: Target, manifest_text: bytes) -> None:
    """Raise if a manifest is no longer the newest one: what was read meanwhile may be of another generation.

    Raises:
        OutputExistsError: Another process made a generation, or replaced the dataset. Nothing was written.
    """
    target.refresh()
    newest = newest_undamaged(target)
    if newest is None or newest.text != manifest_text:
        raise OutputExistsError(
            f"the dataset in {target.location!r} was changed by another process while repair read it; "
            "nothing was written: run the same repair command again"
        )
