"""The vectors of SPEC 7, read out of its text, hold for the plain reference and for the arrays."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from shardpack.order import permutation as numbers
from shardpack.order.balanced import ClassOrders, places, slot_numbers
from shardpack.order.blocks import Segments, cut_blocks
from shardpack.order.epoch import EpochOrder
from shardpack.order.groups import Groups
from shardpack.order.mixture import Schedule, shares
from shardpack.order.options import Shuffle
from shardpack.order.partitions import Partitioning, RankSlice
from shardpack.order.quotas import integer_weights
from shardpack.order.shuffled import shuffled
from shardpack.order.split_draw import draw_splits
from shardpack.order.view import SampleView
from shardpack.order.weighted import SampleOrders
from tests.conftest import ROOT
from tests.order import reference

TEXT = (ROOT / "shardpack" / "format" / "SPEC.md").read_text(encoding="utf-8")
SECTION = TEXT[TEXT.index("## 7. ") : TEXT.index("## 8. ")]
VECTORS = [
    line.split(" = ")
    for block in re.findall(r"```text\n(.*?)```", SECTION, re.DOTALL)
    for line in block.strip().splitlines()
]
SEGMENTS = [(6, 600), (4, 400)]
PARTS = Partitioning(10, 3, 3)
OPTIONS = {"block_bytes": 120, "window_blocks": 6}


def grouped(text):
    return [[int(number) for number in group.split()] for group in text.split("|")]


def arrays():
    """Return the example of 7.3 as segments and the order of its epoch."""
    segments = Segments(*(np.array(column) for column in zip(*SEGMENTS, strict=True)))
    return segments, EpochOrder(segments, Shuffle("blocks", 0, **OPTIONS), PARTS, 0)


def blocks():
    found = cut_blocks(arrays()[0], OPTIONS["block_bytes"])
    return [list(range(a, a + n)) for a, n in zip(found.first.tolist(), found.count.tolist(), strict=True)]


def arranged():
    return [blocks()[i] for i in reference.permutation(8, reference.derive_key(3, 0, 0))]


def items(of=reference):
    if of is reference:
        found = reference.epoch_order(SEGMENTS, "blocks", reference.Plain(10, 3, 3, "pad"), seed=0, epoch=0, **OPTIONS)
        return [found[slot] for slot in range(10)]
    where = zip(*(PARTS.locate(slot) for slot in range(10)), strict=True)
    return arrays()[1].items(*(np.array(column) for column in where)).tolist()


NAMES = {
    "mix64": reference.mix64, "derive_key": reference.derive_key, "permutation": reference.permutation,
    "shuffled": reference.shuffled, "drawn": reference.drawn, "__builtins__": {},
}  # fmt: skip


def drawn_splits(strata, fractions, seed):
    return draw_splits(np.array(strata), list(map(Fraction, fractions.split())), seed=seed).tolist()


@pytest.mark.parametrize(("expression", "value"), [v for v in VECTORS if "(" in v[0]])
def test_vectors_of_functions(expression, value):
    found = eval(expression, NAMES)
    assert found == ([int(x, 0) for x in value.split()] if isinstance(found, list) else int(value, 0))
    arrays = {
        "mix64": lambda v: int(numbers.mix64(np.array([v], np.uint64))[0]),
        "derive_key": numbers.derive_key,
        "permutation": lambda count, key: numbers.permutation(count, key).tolist(),
        "shuffled": lambda x, count, key: int(shuffled(np.array([x]), count, key)[0]),
        "drawn": drawn_splits,
        "__builtins__": {},
    }
    assert eval(expression, arrays) == found


def test_the_example_of_blocks():
    found = dict(VECTORS)
    assert grouped(found["blocks"]) == blocks()
    assert grouped(found["arranged"]) == arranged()
    flat = [item for block in arranged() for item in block]
    starts = [PARTS.start(p) for p in range(4)]
    assert grouped(found["partitions"]) == [flat[a:b] for a, b in pairwise(starts)]
    assert [item for window in grouped(found["windows"]) for item in window] == flat
    assert grouped(found["items"]) == [items()] == [items(of=arrays)]
    for window in grouped(found["windows"]):  # items stay within their window
        at = flat.index(window[0])
        assert sorted(items()[at : at + len(window)]) == sorted(window)


@pytest.mark.parametrize(("name", "value"), [v for v in VECTORS if v[0].startswith("rank ")])
def test_the_example_of_ranks(name, value):
    rank, world_size = map(int, re.findall(r"\d+", name))
    plain = reference.Plain(10, 3, 3, "pad").steps(rank, world_size)
    assert grouped(value) == [[items()[slot] for _, slot in step] for step in plain]
    ours = RankSlice(PARTS, rank, world_size)
    found = arrays()[1].items(*ours.locate(np.arange(len(ours)))).tolist()
    assert found == [item for step in grouped(value) for item in step]


@pytest.mark.parametrize(("name", "value"), [v for v in VECTORS if " of 4 2 1" in v[0]])
def test_the_example_of_a_mix(name, value):
    expected, weights = [int(x) for x in value.split()], [4, 2, 1]
    if name.startswith("weights"):
        assert list(shares(weights)) == expected
        return
    partition, column = int(re.findall(r"partition (\d)", name)[0]), name.startswith("numbers")
    plain = reference.mixture([Fraction(weight) for weight in weights], 0, 2, len(expected))[partition]
    assert [pair[column] for pair in plain] == expected
    schedule = Schedule(shares(weights), seed=0, partitions=2)
    found = schedule.items(np.full(len(expected), partition), np.arange(len(expected)))
    assert found[column].tolist() == expected


DRAWN = [v for v in VECTORS if re.match(r"(classes|samples|quotas|items|numbers) of .*(epoch|global)", v[0])]


@pytest.mark.parametrize(("name", "value"), DRAWN)
def test_the_examples_of_balanced_and_weighted_orders(name, value):
    kind, own = re.findall(r"(\w+) of ([\d. ]+)", name)[0]
    if kind == "numbers":
        plain, parts = reference.Plain(14, 4, 8, "pad"), Partitioning(14, 4, 8)
        for p, expected in enumerate(grouped(value)):
            offset = np.arange(parts.length(p))
            assert [reference.slot_number(p, o, plain, 8) for o in offset.tolist()] == expected
            assert slot_numbers(parts, places(4), np.full_like(offset, p), offset).tolist() == expected
        return
    expected, epoch = [int(x) for x in value.split()], int(name.split()[-1])
    weights = [float(x) for x in own.split()]
    if kind == "items":
        assert expected == [reference.weighted_item(weights, 7, slot, 0, epoch) for slot in range(7)]
        view = SampleView(4, lambda: (np.array([0, 4]), np.array([1])))
        order = SampleOrders(view, np.array(weights), num_slots=7, seed=0).order(Partitioning(7, 1, 1), epoch)
        assert order.samples(np.zeros(7, np.int64), np.arange(7))[0].tolist() == expected
        return
    whole, counts = integer_weights([Fraction(weight) for weight in weights]), [2, 3, 7]
    plain = reference.class_draws(whole, 12, 0, epoch)
    samples = [reference.class_sample(c, item, counts[c], 0) for c, item in plain]
    columns = {"classes": [c for c, _ in plain], "samples": samples, "quotas": reference.quotas(whole, 12, epoch)}
    assert columns[kind] == expected
    groups = Groups(("a", "b", "c"), np.array([0, 2, 5, 12]), np.arange(12))
    orders = ClassOrders(groups.without(()), whole, num_slots=12, seed=0)
    order, slots = orders.order(Partitioning(12, 1, 1), epoch), (np.zeros(12, np.int64), np.arange(12))
    classes = order.draws(*slots)[0]
    found = {"classes": classes, "samples": order.samples(*slots)[0] - groups.starts[classes]}
    assert {**found, "quotas": orders.quotas.of(epoch)}[kind].tolist() == expected


def test_every_vector_is_checked():
    kinds = {"blocks", "arranged", "partitions", "windows", "items"}
    drawn = {name for name, _ in DRAWN}
    others = [name for name, _ in VECTORS if "(" not in name and name not in drawn]
    assert {name for name in others if not name.startswith("rank ") and " of 4 2 1" not in name} == kinds
    assert len(VECTORS) == 43
