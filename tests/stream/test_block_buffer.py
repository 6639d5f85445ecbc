"""Buffers and tables of bounds: what is cut out of many blocks at once is what each holds."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.read.read_plan import plan_read
from shardpack.stream.block_buffer import BlockBuffer, BlockTable, pack_block, slice_block
from tests.read.datasets import CountingStore, packed


class Keys:
    visible = None

    def key_at(self, position):
        return b"key %d" % position


def block(number, rows):
    """Return a block of samples with the fields a and b, all different."""
    payloads = [(b"%d.%d" % (number, row), b"x" * (row % 3)) for row in range(rows)]
    buffer, bounds = b"", []
    for a, b in payloads:
        at = len(buffer)
        buffer += a + b
        bounds.append([at, at + len(a), at + len(a), at + len(a) + len(b)])
    return BlockBuffer(buffer, np.array(bounds, np.int64).reshape(-1, 4), ("a", "b"), len(buffer), Keys()), payloads


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.data())
def test_a_table_gives_what_the_blocks_hold(counts, data):
    blocks = {number: block(number, rows) for number, rows in enumerate(counts)}
    table, kept = BlockTable(("a", "b")), set()
    for number, (made, _) in blocks.items():
        table.add(number, made.bounds)
        kept.add(number)
        for old in data.draw(st.sets(st.sampled_from(sorted(kept)), max_size=2)) - {number}:
            table.drop(old)
            kept.discard(old)
    assert {number for number in blocks if number in table} == kept
    names = sorted(kept)
    pairs = data.draw(
        st.lists(st.sampled_from([(i, row) for i, n in enumerate(names) for row in range(counts[n])]), max_size=20)
    )
    owner, row = (np.array(column, np.int64) for column in (zip(*pairs, strict=True) if pairs else ([], [])))
    rows = table.rows(names, owner, row)
    held = [blocks[name][0] for name in names]
    found = list(table.slice(held, owner, rows, np.arange(len(pairs))))
    assert [(s["a"], s["b"]) for s in found] == [blocks[names[i]][1][r] for i, r in pairs]
    assert [s.key for s in found] == [f"key {n}" for n in range(len(pairs))]


def test_one_block_by_itself():
    made, payloads = block(7, 5)
    found = list(slice_block(made, np.array([4, 0]), np.array([40, 0])))
    assert [(s["a"], s["b"], s.position, s.key) for s in found] == [
        (*payloads[4], 40, "key 40"),
        (*payloads[0], 0, "key 0"),
    ]
    assert len(made) == 5


def test_a_table_does_not_grow_with_what_is_dropped():
    table, (made, _) = BlockTable(("a", "b")), block(0, 500)
    for number in range(200):
        table.add(number, made.bounds)
        table.drop(number - 2)
    assert sum(number in table for number in range(200)) == 2
    assert table.rows([199], np.zeros(1, np.int64), np.zeros(1, np.int64))[0] < 4000


def test_samples_shorter_than_their_headers_are_read_as_a_block():
    """Bytes of headers and padding are none of unwanted samples; those of every third sample would be."""
    files = packed({f"{i:03d}": {"cls": b"7", "txt": b"%d" % i} for i in range(90)})
    shards = shardpack.open(CountingStore(files)).stream_input().cache
    shard = shards.get(0)
    for step, is_packed in ((1, True), (3, False)):
        plan = plan_read(shard, np.arange(0, 90, step), None)
        assert (pack_block(shards, plan, max_bytes=1 << 20, mapped=False) is not None) == is_packed
