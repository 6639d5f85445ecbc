"""What the parts of a plan agree on, and in what two plans differ.

    .shardpack/tmp/parts/plan.json              digest of the plan, its options, and the name of the other file
    .shardpack/tmp/parts/members-<digest>.zlib  names and digests of all members; read only to name what differs

Names, sizes and times of the files count, but not the path at which a machine has their folder.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from shardpack.commit.journal import PARTS_FOLDER
from shardpack.commit.shared_transaction import Read

_FAST = 1  # level of zlib; names in order compress well at any


class PlanMembers(Protocol):
    """What there is to pack: files and ranges of a listing, or units of rows."""

    def facts(self) -> dict[str, Any]:
        """Return facts about all of them, as JSON: classes, splits, how many samples."""
        ...

    def names(self) -> list[bytes]:
        """Return (m) their names."""
        ...

    def digests(self) -> npt.NDArray[np.uint64]:
        """Return (m) a hash of all that is known of each."""
        ...

    def label(self, member: int) -> str:
        """Return what a message calls one of them."""
        ...


class PartPlan:
    """The plan of a run, as an `Agreement`."""

    def __init__(
        self,
        members: PlanMembers,
        *,
        digest: str,
        packed_with: Mapping[str, Any],
        more: Mapping[str, Any],
        is_dataset: Callable[[Read], bool],
    ) -> None:
        """Agree on a plan.

        Args:
            members: What there is to pack, in its order.
            digest: Digest of all that determines the dataset, but for the path of the source.
            packed_with: What the manifest keeps of the request.
            more: JSON values that are part of the plan; those that follow from the others last.
            is_dataset: Returns whether a published dataset is the one of this plan; called with what reads its files.
        """
        self._members, self._packed_with, self._more = members, dict(packed_with), dict(more)
        self.digest, self.is_dataset = digest, is_dataset

    @property
    def text(self) -> bytes:
        """The plan as it is published."""
        value = {
            "plan": self.digest,
            "packed_with": self._packed_with,
            **self._members.facts(),
            "members": self._members_path,
            **self._more,
        }
        return json.dumps(value, indent=1).encode()

    @property
    def _members_path(self) -> str:
        return f"{PARTS_FOLDER}/members-{self.digest}.zlib"

    def details(self) -> Sequence[tuple[str, Iterable[Any]]]:
        """Return the file that names the members."""
        names, digests = b"\0".join(self._members.names()), self._members.digests()
        return [(self._members_path, [zlib.compress(names + b"\0\0" + digests.tobytes(), _FAST)])]

    def difference(self, published: bytes, read: Read) -> str:
        """Return how this plan differs from the published one: the first option, or the first file."""
        try:
            value, own = json.loads(published), json.loads(self.text)
            if (differing := _first_difference(own["packed_with"], value["packed_with"])) is not None:
                return differing
            if value["classes"] != own["classes"]:
                return "the class names differ"
            names, _, digests = zlib.decompress(read(value["members"]) or b"").rpartition(b"\0\0")
            member = self._differing_member(names.split(b"\0"), np.frombuffer(digests, np.uint64))
            if member is None and value["splits"] != own["splits"]:
                return "its samples are in other splits"
            ours, theirs = ({name: plan[name] for name in self._more} for plan in (own, value))
            return member or _first_difference(ours, theirs) or "the samples that were left out differ"
        except (ValueError, KeyError, TypeError, zlib.error):
            return "it was written by another version of shardpack"

    def _differing_member(self, names: Sequence[bytes], digests: npt.NDArray[np.uint64]) -> str | None:
        label, own_names, own_digests = self._members.label, self._members.names(), self._members.digests()
        for member, (name, own_name) in enumerate(zip(names, own_names, strict=False)):
            if name != own_name or digests[member] != own_digests[member]:
                break
        else:
            if len(names) == len(own_names):
                return None
            member = min(len(names), len(own_names))
        own_name = own_names[member] if member < len(own_names) else b""
        name = names[member] if member < len(names) else b""
        if own_name and own_name not in set(names):
            return f"{label(member)!r} is not in it"
        if name and name not in set(own_names):
            return f"{name.decode()!r} is in it, but not in the source here"
        if name != own_name:
            return f"{label(member)!r} is at another place in its order"
        return f"{label(member)!r} has another size or time here"


def _first_difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str | None:
    """Return the first option that differs, also of a mapping of options; None if all are equal."""
    for name in dict.fromkeys((*ours, *theirs)):
        own, other = ours.get(name), theirs.get(name)
        if isinstance(own, dict) and isinstance(other, dict):
            if (differing := _first_difference(own, other)) is not None:
                return differing
        elif own != other:
            return f"{name} is {other!r} in it, and {own!r} here"
    return None
