"""What the table needs of samples: their labels, and the first bytes of their images; read by plan, many at once.

positions --by shard and layer--> members --coalesce--> requests --> JSON texts, and heads of images
an image whose head does not tell its size is read further, and at last as a whole
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from shardpack.codecs.compression import split_compression
from shardpack.codecs.field_types import is_image, is_mask, kind_of
from shardpack.codecs.image_size import ImageSize, image_size
from shardpack.errors import DecodeError, MissingDependencyError
from shardpack.order.visible import Visible
from shardpack.read.fetch import fetch
from shardpack.read.layered_plan import Part, plan_layered
from shardpack.read.read_plan import ReadPlan, Requests
from shardpack.read.shard_cache import ShardCache
from shardpack.read.shard_reader import ShardReader
from shardpack.runtime.arrays import Integers
from shardpack.storage.coalesce import coalesce
from shardpack.storage.protocols import Ranges

HEADS = (2 << 10, 64 << 10)  # bytes read of an image, until they tell its size; then all of it
_AT_ONCE_BYTES = 64 << 20  # read before any of it is used


@dataclass(slots=True)
class Facts:
    """What the table needs of a sample.

    Attributes:
        key: As stored.
        labels: Field -> payload, of the fields with labels.
        image_bytes: Length of its image; None if it has none.
        size: Of its image; None if it has none, or none that can be read.
    """

    key: bytes
    labels: dict[str, Any] = field(default_factory=dict)
    image_bytes: int | None = None
    size: ImageSize | None = None


@dataclass(frozen=True, slots=True)
class FactFields:
    """The fields that the table reads.

    Attributes:
        labels: Those with JSON, compressed or not, and `cls`.
        images: Those of which one is the image of a sample: the first that it has.
    """

    labels: tuple[str, ...]
    images: tuple[str, ...]

    @classmethod
    def among(cls, fields: Iterable[str]) -> FactFields:
        """Return which of some fields the table reads."""
        fields = sorted(fields)
        labels = [one for one in fields if kind_of(split_compression(one)[0]) == "json" or one == "cls"]
        images = [one for one in fields if is_image(one) and not is_mask(one)]
        return cls(tuple(labels), tuple(sorted(images, key=lambda one: (one.count("."), one))))


@dataclass(frozen=True, slots=True, eq=False)
class _Unsized:
    """An image whose size is not known from what was read of it."""

    facts: Facts
    shard: ShardReader
    start: int


def read_facts(cache: ShardCache, positions: Integers, fields: FactFields) -> Iterator[list[Facts]]:
    """Yield the facts of the samples at ascending stored positions, in that order, some at a time.

    Of deleted samples only the key is read, from the index: their tars may be lost. Costs few requests a shard, those
    of layers included; labels are checked where the dataset is opened so.

    Raises:
        CorruptShardError: A label does not have its checksum.
    """
    if cache.visible is not None:
        cache.trust_indexes(_without_visible(cache, cache.visible, positions))
    for runs in cache.shard_list.groups(positions):
        yield from _read(cache, positions[runs[0].begin : runs[-1].end], fields)


def _without_visible(cache: ShardCache, visible: Visible, positions: Integers) -> Iterator[int]:
    """Yield the numbers of the shards with some of these positions of which all samples are deleted."""
    shard_list, starts = cache.shard_list, cache.shard_list.columns.starts
    for run in shard_list.runs(positions):
        first, count = int(starts[run.number]), shard_list[run.number].num_samples
        begin, end = np.searchsorted(visible.deleted, (first, first + count)).tolist()
        if end - begin == count:
            yield run.number


def _read(cache: ShardCache, positions: Integers, fields: FactFields) -> Iterator[list[Facts]]:
    """Yield the facts of samples whose shards may be open together; half of them, where all are too much at once."""
    runs = list(cache.shard_list.runs(positions))
    shards = dict(zip((run.number for run in runs), cache.load(run.number for run in runs), strict=True))
    shown = positions if cache.visible is None else cache.visible.only(positions)
    wanted = _wanted(cache, shown, shards, fields)
    if len(positions) > 1 and sum(int(one.lengths.sum()) for one in wanted) > _AT_ONCE_BYTES:
        half = len(positions) // 2
        yield from _read(cache, positions[:half], fields)
        yield from _read(cache, positions[half:], fields)
        return
    found: list[Facts] = []
    for run in runs:
        found += map(Facts, map(shards[run.number].keys.key_at, positions[run.begin : run.end].tolist()))
    _fill([found[at] for at in np.searchsorted(positions, shown).tolist()], wanted)
    yield found


def _wanted(
    cache: ShardCache, positions: Integers, shards: Mapping[int, ShardReader], fields: FactFields
) -> list[_Wanted]:
    """Return what is read of visible samples, whose shards are open."""
    runs = list(cache.shard_list.runs(positions))
    of_runs = [shards[run.number] for run in runs]
    parts = plan_layered(cache, positions, of_runs, runs, (*fields.labels, *fields.images))
    return _without_other_images(parts, fields)


def _fill(facts: Sequence[Facts], wanted: Sequence[_Wanted]) -> None:
    """Give samples their labels and the sizes of their images; those that their heads do not tell are read further."""
    requests = [one.requests() for one in wanted]
    buffers = fetch([one.plan for one in wanted], requests)
    unsized: list[_Unsized] = []
    for one, request, own in zip(wanted, requests, buffers, strict=True):
        unsized += _hand_out(facts, one, request, own)
    for head in (*HEADS[1:], None):
        unsized = [image for part in _parts(unsized, head) for image in _read_further(part, head)]


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    """Payloads of one shard that are read, images in part.

    Attributes:
        plan: The payloads.
        lengths: (p) how much of each is read.
        owner: (p) which of the samples each belongs to.
        verify: Whether labels are compared with their checksums.
    """

    plan: ReadPlan
    lengths: Integers
    owner: Integers
    verify: bool

    def requests(self) -> Requests:
        """Return what to ask of the store."""
        plan = self.plan
        plan.shard.store.stats.add_used(int(self.lengths.sum()))
        merged = coalesce(plan.starts, self.lengths, limits=plan.shard.store.merge_limits)
        ranges = Ranges(plan.shard.path, merged.starts.tolist(), merged.lengths.tolist())
        return Requests(ranges, merged.owner, plan.starts - merged.starts[merged.owner])


def _without_other_images(parts: Sequence[Part], fields: FactFields) -> list[_Wanted]:
    """Return what is read of some parts: all labels, and of each sample the first image that it has, in part."""
    rank_of = {name: rank for rank, name in enumerate(fields.images)}
    ranks = [
        np.array([rank_of.get(name, -1) for name in part.plan.shard.fields], np.int64)[part.plan.field]
        for part in parts
    ]
    owners = [part.at[part.plan.owner] for part in parts]
    rank, owner = (np.concatenate([np.zeros(0, np.int64), *columns]) for columns in (ranks, owners))
    images = np.flatnonzero(rank >= 0)
    images = images[np.lexsort((rank[images], owner[images]))]
    kept = rank < 0
    kept[images[np.concatenate(([True], owner[images][1:] != owner[images][:-1]))[: len(images)]]] = True
    wanted, first = [], 0
    for part, own_ranks, own_owners in zip(parts, ranks, owners, strict=True):
        plan, keep = part.plan, kept[first : first + len(own_ranks)]
        first += len(own_ranks)
        sizes = plan.sizes[keep]
        left = replace(plan, owner=plan.owner[keep], member=plan.member[keep], starts=plan.starts[keep], sizes=sizes)
        lengths = np.where(own_ranks[keep] >= 0, np.minimum(sizes, HEADS[0]), sizes)
        wanted.append(_Wanted(left, lengths, own_owners[keep], part.cache.verify))
    return wanted


def _hand_out(facts_of: Sequence[Facts], wanted: _Wanted, request: Requests, buffers: list[Any]) -> Iterator[_Unsized]:
    """Give each sample its labels and the size of its image; yield the images of which more is needed."""
    plan, shard = wanted.plan, wanted.plan.shard
    holds_image = [is_image(name) for name in shard.fields]
    columns = (wanted.owner, plan.member, plan.field, request.owner, request.begins, request.begins + wanted.lengths)
    for sample, member, number, buffer, begin, end in zip(*(one.tolist() for one in columns), strict=True):
        facts, payload = facts_of[sample], buffers[buffer][begin:end]
        if not holds_image[number]:
            if wanted.verify:
                shard.check_payload(member, payload)
            facts.labels[shard.fields[number]] = payload
            continue
        facts.image_bytes = shard.sizes[member]
        if _look(facts, payload):
            yield _Unsized(facts, shard, shard.offsets[member])


def _look(facts: Facts, head: Any) -> bool:
    """Take the size of an image from its first bytes; return whether more of them are needed."""
    whole = len(head) == facts.image_bytes
    try:
        facts.size = image_size(bytes(head), whole=whole)
    except (DecodeError, MissingDependencyError):
        return False  # its columns are null
    return facts.size is None


def _parts(images: list[_Unsized], head: int | None) -> Iterator[list[_Unsized]]:
    """Yield the images in parts that are not too large to be read at once."""
    part: list[_Unsized] = []
    held = 0
    for one in images:
        length = _length(one, head)
        if part and held + length > _AT_ONCE_BYTES:
            yield part
            part, held = [], 0
        part.append(one)
        held += length
    if part:
        yield part


def _length(one: _Unsized, head: int | None) -> int:
    num_bytes = one.facts.image_bytes or 0
    return num_bytes if head is None else min(num_bytes, head)


def _read_further(images: list[_Unsized], head: int | None) -> Iterator[_Unsized]:
    by_store: dict[int, list[_Unsized]] = {}
    for one in images:
        by_store.setdefault(id(one.shard.store), []).append(one)
    for own in by_store.values():
        ranges = [Ranges(one.shard.path, [one.start], [_length(one, head)]) for one in own]
        for one, (payload,) in zip(own, own[0].shard.store.get_many(ranges), strict=True):
            if _look(one.facts, payload):
                yield one
