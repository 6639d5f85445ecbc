"""One planned shard: its buffers, its member names, and the digest of its input."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shardpack.write import pack_shard
from shardpack.write.pack_shard import assemble, buffers, input_digest, member_names
from shardpack.write.shard_assembler import BUFFER_BYTES, Buffer, ShardAssembler
from tests.fakes import inline_listing

SMALL = 20_000
rng = random.Random(0)
SAMPLES = {
    f"{'abc'[i % 3]}/{i:04d}": {
        "jpg": rng.randbytes(rng.choice([0, 1, 511, 512, 513, rng.randrange(4000)])),
        "json": b'{"label": %d}' % (i % 3),
        **({"seg.png": rng.randbytes(100)} if i % 5 == 0 else {}),
    }
    for i in range(60)
}

rng = random.Random(0)


def test_members_larger_than_a_buffer():
    """A member may exceed a buffer, and the bytes do not depend on where buffers end."""
    samples = {f"{i:02d}": {"bin": rng.randbytes(size)} for i, size in enumerate([10, 40_000, 0, 5000, 70_000, 512])}
    listing = inline_listing(samples)

    def assembled(size):
        written = bytearray()
        assemble(ShardAssembler(written.extend, Buffer(size)), listing, buffer_bytes=size)
        return written

    assert all(assembled(size) == assembled(4 << 20) for size in (1, 2000, 50_000))


@given(st.lists(st.integers(0, 6 << 20), max_size=40))
def test_buffers_take_every_member_once_and_stay_small(sizes):
    runs = list(buffers(np.array(sizes, np.int64)))
    assert [i for first, stop in runs for i in range(first, stop)] == list(range(len(sizes)))
    for first, stop in runs:
        assert first < stop
        assert stop - first == 1 or sum(sizes[first:stop]) + 1024 * (stop - first) <= BUFFER_BYTES


@given(st.dictionaries(st.text("ab", min_size=1), st.sets(st.sampled_from(["jpg", "json", "x.y"]), min_size=1)))
def test_member_names(samples):
    listing = inline_listing({key: dict.fromkeys(fields, b"") for key, fields in samples.items()})
    expected = [f"{key}.{field}".encode() for key in sorted(samples) for field in sorted(samples[key])]
    assert member_names(listing) == expected


@given(st.data())
def test_the_digest_depends_on_everything(data):
    samples = {"a": {"jpg": b"12", "json": b"1"}, "b": {"jpg": b"3"}}
    listing = inline_listing(samples)
    changed = inline_listing(samples)
    name = "shard-000000.tar"
    match data.draw(st.sampled_from(["name", "size", "time", "payload", "key", "field", "shift"])):
        case "name":
            name = "shard-000001.tar"
        case "size":
            changed.size[data.draw(st.integers(0, 2))] += 1
        case "time":
            changed.mtime_ns[data.draw(st.integers(0, 2))] += 1
        case "payload":
            changed = inline_listing({**samples, "b": {"jpg": b"4"}})
        case "key":
            changed = inline_listing({"a": samples["a"], "c": samples["b"]})
        case "field":
            changed = inline_listing({"a": samples["a"], "b": {"json": b"3"}})
        case "shift":
            changed = inline_listing({"a": {"jpg": b"12"}, "b": {"jpg": b"3", "json": b"1"}})
    assert input_digest("shard-000000.tar", listing) == input_digest("shard-000000.tar", inline_listing(samples))
    assert input_digest(name, changed) != input_digest("shard-000000.tar", listing)


def test_another_version_does_not_finish_a_dataset(monkeypatch):
    before = input_digest("a", inline_listing({}))
    monkeypatch.setattr(pack_shard, "__version__", "99.0.0")
    assert input_digest("a", inline_listing({})) != before
