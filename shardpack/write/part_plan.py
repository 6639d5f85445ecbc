"""What the parts of a plan agree on, and in what two plans differ.

    .shardpack/tmp/parts/plan.json              digest of the plan, its options, and the name of the other file
    .shardpack/tmp/parts/members-<digest>.zlib  names and digests of all members; read only to name what differs

Names, sizes and times of the files count, but not the path at which a machine has their folder.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from shardpack.commit.journal import PARTS_FOLDER
from shardpack.commit.shared_transaction import Read
from shardpack.errors import CorruptManifestError
from shardpack.format.layout import MANIFEST_PATH
from shardpack.format.manifest import parse_manifest
from shardpack.format.shard_info import ShardInfo
from shardpack.format.shard_table import ShardTable
from shardpack.sources.listing import Listing
from shardpack.write.pack_run import PackRun
from shardpack.write.pack_shard import member_names

_FAST = 1  # level of zlib; names in order compress well at any


class PartPlan:
    """The plan of a run as an `Agreement`."""

    def __init__(self, run: PackRun) -> None:
        """Agree on the plan of this run; it must count `anywhere`."""
        self._run = run
        self.digest = run.digest()

    @property
    def text(self) -> bytes:
        """The plan as it is published."""
        plan = self._run.plan
        value = {
            "plan": self.digest,
            "packed_with": dict(self._run.recorded),
            "classes": plan.listing.classes and list(plan.listing.classes),
            "num_samples": plan.listing.num_samples,
            "num_shards": plan.num_shards,
            "members": self._members_path,
        }
        return json.dumps(value, indent=1).encode()

    @property
    def _members_path(self) -> str:
        return f"{PARTS_FOLDER}/members-{self.digest}.zlib"

    def details(self) -> Sequence[tuple[str, Iterable[Any]]]:
        """Return the file that names the members."""
        listing = self._run.plan.listing
        names = b"\0".join(member_names(listing))
        return [(self._members_path, [zlib.compress(names + b"\0\0" + _member_digests(listing).tobytes(), _FAST)])]

    def difference(self, published: bytes, read: Read) -> str:
        """Return how this plan differs from the published one: the first option, or the first file."""
        try:
            value = json.loads(published)
            theirs, ours = value["packed_with"], json.loads(json.dumps(dict(self._run.recorded)))
            if (differing := _first_difference(ours, theirs)) is not None:
                return differing
            if value["classes"] != json.loads(self.text)["classes"]:
                return "the class names differ"
            names, _, digests = zlib.decompress(read(value["members"]) or b"").rpartition(b"\0\0")
            return self._differing_member(names.split(b"\0"), np.frombuffer(digests, np.uint64))
        except (ValueError, KeyError, TypeError, zlib.error):
            return "it was written by another version of shardpack"

    def _differing_member(self, names: Sequence[bytes], digests: npt.NDArray[np.uint64]) -> str:
        listing = self._run.plan.listing
        own_names, own_digests = member_names(listing), _member_digests(listing)
        for member, (name, own_name) in enumerate(zip(names, own_names, strict=False)):
            if name != own_name or digests[member] != own_digests[member]:
                break
        else:
            if len(names) == len(own_names):
                return "the samples that were left out differ"
            member = min(len(names), len(own_names))
        own_name = own_names[member] if member < len(own_names) else b""
        name = names[member] if member < len(names) else b""
        if own_name and own_name not in set(names):
            return f"{_file(listing, member)!r} is not in it"
        if name and name not in set(own_names):
            return f"{name.decode()!r} is in it, but not in the source here"
        if name != own_name:
            return f"{_file(listing, member)!r} is at another place in its order"
        return f"{_file(listing, member)!r} has another size or time here"

    def is_dataset(self, read: Read) -> bool:
        """Return whether the published dataset has the keys, options, classes and lengths of this plan."""
        text = read(MANIFEST_PATH) or b""
        manifest, plan = parse_manifest(text), self._run.plan
        infos = list(ShardTable.whole(manifest, read))
        return (
            len(infos) == plan.num_shards
            and all(self._is_planned(shard, info) for shard, info in enumerate(infos))
            and _manifest_of(self._run.files(infos)) == text
        )

    def _is_planned(self, shard: int, info: ShardInfo) -> bool:
        plan = self._run.plan
        return (
            info.name == plan.name(shard)
            and info.num_samples == int(plan.cuts[shard + 1] - plan.cuts[shard])
            and (plan.compression is not None or info.num_bytes == int(plan.shard_bytes[shard]))
            and dict(info.samples_per_field) == plan.part(shard).samples_per_field()
        )


def _manifest_of(files: Sequence[tuple[str, Iterable[Any]]]) -> bytes:
    name, parts = files[-1]
    if name != MANIFEST_PATH:
        raise CorruptManifestError("the manifest is not the last file of the dataset", path=name)
    return b"".join(parts)


def _member_digests(listing: Listing) -> npt.NDArray[np.uint64]:
    """Return (m) a hash of all that is known of each member."""
    checksums = [-1] * len(listing.payload) if listing.crc32c is None else listing.crc32c.tolist()
    columns = zip(listing.payload, listing.size.tolist(), listing.mtime_ns.tolist(), checksums, strict=True)
    hashes = (xxh3_64_intdigest(repr(member).encode("utf-8", "surrogateescape")) for member in columns)
    return np.fromiter(hashes, np.uint64, len(listing.payload))


def _file(listing: Listing, member: int) -> str:
    """Return the path of a member's file, or its name if it has none."""
    payload = listing.payload[member]
    return payload if isinstance(payload, str) else member_names(listing)[member].decode()


def _first_difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str | None:
    """Return the first option that differs, also of a mapping of options; None if all are equal."""
    for name in sorted({*ours, *theirs}):
        own, other = ours.get(name), theirs.get(name)
        if isinstance(own, dict) and isinstance(other, dict):
            if (differing := _first_difference(own, other)) is not None:
                return differing
        elif own != other:
            return f"{name} is {other!r} in it, and {own!r} here"
    return None
