"""What the table needs of samples: their labels, and the first bytes of their images; read by plan, many at once.

positions --by shard--> members --coalesce--> requests --> JSON texts, and heads of images
an image whose head does not tell its size is read further, and at last as a whole
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shardpack.codecs.compression import split_compression
from shardpack.codecs.field_types import is_image, is_mask, kind_of
from shardpack.codecs.image_size import ImageSize, image_size
from shardpack.errors import DecodeError, MissingDependencyError
from shardpack.read.read_plan import ReadPlan, plan_read
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
class _Again:
    """An image to be read further."""

    facts: Facts
    shard: ShardReader
    start: int


def read_facts(cache: ShardCache, positions: Integers, fields: FactFields) -> Iterator[list[Facts]]:
    """Yield the facts of the samples at ascending stored positions, in that order, some at a time.

    Costs few requests a shard; payloads of labels are checked where the dataset is opened so.

    Raises:
        CorruptShardError: A label does not have its checksum.
    """
    for runs in cache.shard_list.groups(positions):
        shards = cache.load(number for number, _, _ in runs)
        pieces = [positions[begin:end] for _, begin, end in runs]
        yield from _read(cache, list(zip(shards, pieces, strict=True)), fields)


def _read(cache: ShardCache, pieces: list[tuple[ShardReader, Integers]], fields: FactFields) -> Iterator[list[Facts]]:
    wanted = (*fields.labels, *fields.images)
    plans = [plan_read(shard, positions - shard.first, wanted) for shard, positions in pieces]
    chosen = [_chosen(plan, fields) for plan in plans]
    if sum(int(lengths.sum()) for _, lengths in chosen) > _AT_ONCE_BYTES and sum(len(rows) for _, rows in pieces) > 1:
        for half in _halves(pieces):
            yield from _read(cache, half, fields)
        return
    found: list[Facts] = []
    again: list[_Again] = []
    for plan, (shard, positions), payloads in zip(plans, pieces, _fetch(plans, chosen), strict=True):
        own = [Facts(key) for key in map(shard.keys.key_at, positions.tolist())]
        again += _sort_out(own, plan, payloads, verify=cache.verify)
        found += own
    for head in (*HEADS[1:], None):
        again = [one for part in _parts(again, head) for one in _read_again(part, head)]
    yield found


def _halves(pieces: list[tuple[ShardReader, Integers]]) -> Iterator[list[tuple[ShardReader, Integers]]]:
    if len(pieces) > 1:
        yield pieces[: len(pieces) // 2]
        yield pieces[len(pieces) // 2 :]
        return
    ((shard, positions),) = pieces
    yield [(shard, positions[: len(positions) // 2])]
    yield [(shard, positions[len(positions) // 2 :])]


_Pieces = Iterator[tuple[int, int, int, Any]]  # for each payload: sample, member, field, its bytes or their beginning


def _fetch(plans: Sequence[ReadPlan], chosen: Sequence[tuple[Integers, Integers]]) -> list[_Pieces]:
    """Return the chosen payloads of each plan, read concurrently where the store can; images are cut short."""
    requests = []
    for plan, (kept, lengths) in zip(plans, chosen, strict=True):
        starts = plan.starts[kept]
        merged = coalesce(starts, lengths, limits=plan.shard.store.merge_limits)
        plan.shard.store.stats.add_used(int(lengths.sum()))
        requests.append((merged, starts - merged.starts[merged.owner]))
    buffers: list[list[Any]] = [[] for _ in plans]
    by_store: dict[int, list[int]] = {}
    for at, plan in enumerate(plans):
        by_store.setdefault(id(plan.shard.store), []).append(at)
    for numbers in by_store.values():
        ranges = [
            Ranges(plans[at].shard.path, requests[at][0].starts.tolist(), requests[at][0].lengths.tolist())
            for at in numbers
        ]
        for at, own in zip(numbers, plans[numbers[0]].shard.store.get_many(ranges), strict=True):
            buffers[at] = own
    found = []
    for plan, (kept, lengths), (merged, begins), own in zip(plans, chosen, requests, buffers, strict=True):
        columns = (plan.owner[kept], plan.member[kept], plan.field[kept], merged.owner, begins, begins + lengths)
        found.append(_cut(own, *(column.tolist() for column in columns)))
    return found


def _chosen(plan: ReadPlan, fields: FactFields) -> tuple[Integers, Integers]:
    """Return which payloads of a plan are read, one image of a sample at most, and how much of each."""
    rank_of = {name: rank for rank, name in enumerate(fields.images)}
    ranks = np.array([rank_of.get(name, -1) for name in plan.shard.fields], np.int64)[plan.field]
    images = np.flatnonzero(ranks >= 0)
    images = images[np.lexsort((ranks[images], plan.owner[images]))]
    first = np.ones(len(images), bool)
    first[1:] = plan.owner[images][1:] != plan.owner[images][:-1]
    kept = np.sort(np.concatenate([np.flatnonzero(ranks < 0), images[first]]))
    lengths = plan.sizes[kept]
    return kept, np.where(ranks[kept] >= 0, np.minimum(lengths, HEADS[0]), lengths)


def _cut(buffers: list[Any], *columns: list[int]) -> _Pieces:
    for sample, member, number, buffer, begin, end in zip(*columns, strict=True):
        yield sample, member, number, buffers[buffer][begin:end]


def _sort_out(own: list[Facts], plan: ReadPlan, pieces: _Pieces, *, verify: bool) -> Iterator[_Again]:
    """Give each sample its payloads; yield the images of which more is needed."""
    shard = plan.shard
    holds_image = [is_image(name) for name in shard.fields]
    for sample, member, number, payload in pieces:
        facts = own[sample]
        if not holds_image[number]:
            if verify:
                shard.check_payload(member, payload)
            facts.labels[shard.fields[number]] = payload
            continue
        facts.image_bytes = shard.sizes[member]
        if _look(facts, payload):
            yield _Again(facts, shard, shard.offsets[member])


def _look(facts: Facts, head: Any) -> bool:
    """Take the size of an image from its first bytes; return whether more of them are needed."""
    whole = len(head) == facts.image_bytes
    try:
        facts.size = image_size(bytes(head), whole=whole)
    except (DecodeError, MissingDependencyError):
        return False  # its columns are null
    return facts.size is None


def _parts(images: list[_Again], head: int | None) -> Iterator[list[_Again]]:
    """Yield the images in parts that are not too large to be read at once."""
    part: list[_Again] = []
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


def _length(one: _Again, head: int | None) -> int:
    num_bytes = one.facts.image_bytes or 0
    return num_bytes if head is None else min(num_bytes, head)


def _read_again(images: list[_Again], head: int | None) -> Iterator[_Again]:
    by_store: dict[int, list[_Again]] = {}
    for one in images:
        by_store.setdefault(id(one.shard.store), []).append(one)
    for own in by_store.values():
        ranges = [Ranges(one.shard.path, [one.start], [_length(one, head)]) for one in own]
        for one, (payload,) in zip(own, own[0].shard.store.get_many(ranges), strict=True):
            if _look(one.facts, payload):
                yield one
