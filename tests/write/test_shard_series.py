"""A series of samples is cut where the first limit is reached; a sample that is refused changes nothing."""

from __future__ import annotations

import weakref

import pytest

from shardpack.errors import InvalidKeyError, SourceError
from shardpack.write.shard_series import ShardSeries
from shardpack.write.sharding import ShardLimits

KIB = 1024


class Shard:
    """Stands in for `ShardInProgress`: keeps keys and lengths."""

    def __init__(self):
        self.keys, self.num_bytes, self.waiting_bytes, self.state = [], 0, 0, "open"

    def add(self, key, _shape, _payloads, num_bytes):
        self.keys.append(key)
        self.num_bytes += num_bytes
        self.waiting_bytes += num_bytes

    def flush(self):
        self.waiting_bytes = 0

    def discard(self):
        self.state = "discarded"


class Made(list):
    """The series, and its shards in order."""

    def __init__(self, buffer_bytes=1 << 20, **limits):
        self.finished, self.flushes = [], 0
        self.series = ShardSeries(
            ShardLimits(**limits),
            buffer_bytes=buffer_bytes,
            start=self.start,
            flush=self.flush,
            finish=self.finished.append,
        )

    def start(self):
        self.append(Shard())
        return self[-1]

    def flush(self, shard):
        self.flushes += 1
        shard.flush()

    def write(self, key, size=100):
        self.series.add(self.series.prepare(key, {"bin": bytes(size)}))


def test_shards_are_cut_by_bytes_exactly():
    made = Made(max_bytes=3 * KIB)  # two members of a header and a block each, and the end of the archive
    for i in range(5):
        made.write(str(i))
    assert [shard.keys for shard in made] == [["0", "1"], ["2", "3"], ["4"]]
    assert made.finished == made[:2]
    made.series.finish()
    made.series.finish()
    assert made.finished == list(made)


def test_shards_are_cut_by_samples():
    made = Made(max_samples=2)
    for i in range(4):
        made.write(str(i))
    assert [shard.keys for shard in made] == [["0", "1"], ["2", "3"]]
    assert made.series.open is made[1]


def test_a_sample_that_is_refused_changes_nothing():
    made = Made(max_bytes=3 * KIB)
    made.write("a")
    with pytest.raises(SourceError, match="sample takes 4608 bytes of a shard of 3072"):
        made.write("b", 4 * KIB)
    with pytest.raises(InvalidKeyError):
        made.write("c.d")
    made.write("e")
    assert [shard.keys for shard in made] == [["a", "e"]]


def test_an_oversized_sample_has_a_shard_of_its_own():
    made = Made(max_bytes=3 * KIB, allow_oversized=True)
    for key, size in [("a", 100), ("b", 4 * KIB), ("c", 100)]:
        made.write(key, size)
    assert [shard.keys for shard in made] == [["a"], ["b"], ["c"]]


def test_what_waits_is_flushed_when_it_fills_a_buffer():
    made = Made(buffer_bytes=2 * KIB)
    for i in range(5):
        made.write(str(i))
    assert made.flushes == 2


def test_an_open_shard_is_discarded():
    made = Made()
    made.series.discard()
    made.write("a")
    made.series.discard()
    assert (made[0].state, made.series.open, made.finished) == ("discarded", None, [])


def test_an_owner_that_is_dropped_ends_at_once():
    made = Made()
    made.write("a")
    dropped = weakref.ref(made.series)
    owner = weakref.ref(made)
    del made
    assert owner() is None
    assert dropped() is None
