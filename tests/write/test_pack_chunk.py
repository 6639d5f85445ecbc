"""The task that makes the shards of a chunk."""

from __future__ import annotations

import json
import pickle
import tarfile
import tracemalloc

import pytest

from shardpack.commit.scratch import ScratchDir
from shardpack.errors import DuplicateKeyError, SourceError
from shardpack.write.chunk_input import BATCH_SAMPLES
from shardpack.write.chunk_plan import Growth
from shardpack.write.listed_input import ListedPart
from shardpack.write.pack_chunk import (
    ChunkTask,
    Tally,
    close_applier,
    measure_growth,
    pack_chunk,
)
from shardpack.write.sharding import UnitName, sample_bytes
from tests.fakes import file_listing, inline_listing, write_files
from tests.write.chunk_steps import SMALL, Grow, listing, recipe, samples


@pytest.fixture(autouse=True)
def no_process_is_kept():
    yield
    close_applier()


def pack(tmp_path, found, made, chunk=12, advance=lambda _: None):
    task = ChunkTask(ScratchDir(str(tmp_path)), chunk, UnitName(chunk), ListedPart(found))
    return pack_chunk(*pickle.loads(pickle.dumps((made, task))), advance)


def members(tmp_path, name):
    with tarfile.open(tmp_path / name) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def test_a_chunk_makes_a_shard_named_after_it(tmp_path):
    made = pack(tmp_path, listing(4), recipe(Grow(0.5)))
    assert [info.name for info in made.shards] == ["shard-000012-00.tar"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".shardpack%2Findex%2Fshard-000012-00.index",
        "shard-000012-00.tar",
    ]
    expected = {
        f"{key}.{name}": data[: len(data) // 2] for key, fields in samples(4).items() for name, data in fields.items()
    }
    assert members(tmp_path, "shard-000012-00.tar") == expected


def test_what_grows_beyond_the_cap_makes_more_shards(tmp_path):
    made = pack(tmp_path, listing(20), recipe(Grow(3), allow_oversized=True))
    assert [info.name for info in made.shards] == [f"shard-000012-{i:02d}.tar" for i in range(len(made.shards))]
    assert len(made.shards) > 4
    assert all(info.num_bytes <= SMALL or info.num_samples == 1 for info in made.shards)
    assert sum(info.num_samples for info in made.shards) == 20


def test_a_chunk_of_which_nothing_is_left_makes_no_shard(tmp_path):
    made = pack(tmp_path, listing(4), recipe(Grow(drop="/")))
    assert (made.shards, made.tally.dropped, [*tmp_path.iterdir()]) == ((), 4, [])


def test_the_tally_adds_up(tmp_path):
    found = listing(9)
    made = pack(tmp_path, found, recipe(Grow(2, drop="a/", twice="b/", fail="c/"), on_error="skip"))
    kept = [fields for key, fields in samples(9).items() if key.startswith("b/")]
    assert made.tally == Tally(
        samples=9,
        source_bytes=int(found.size.sum()),
        dropped=3,
        payload_bytes=4 * sum(len(data) for fields in kept for data in fields.values()),
        tar_bytes=sum(info.num_bytes for info in made.shards),
        counts={"grow.kept": 3, "grow.seen": 6},
        rejected=tuple((key, "made to fail") for key in samples(9) if key.startswith("c/")),
    )
    assert made.tally.rejected[0][0] == "c/0002"
    assert Tally.of_record(json.loads(json.dumps(made.tally.record()))) == made.tally
    both = made.tally + made.tally
    assert (both.samples, both.counts["grow.seen"], len(both.rejected)) == (18, 12, 6)
    assert Tally() + made.tally == made.tally


def test_a_failure_names_the_sample_and_leaves_nothing(tmp_path):
    with pytest.raises(SourceError, match=r"made to fail; correct .*--on-error skip.*key='b/0001'"):
        pack(tmp_path, listing(20), recipe(Grow(3, fail="b/0001"), allow_oversized=True))
    assert not [*tmp_path.iterdir()]


def test_a_sample_that_does_not_fit_follows_on_error(tmp_path):
    found = inline_listing({"a": {"bin": bytes(10_000)}, "b": {"bin": b"x"}})
    with pytest.raises(SourceError, match=r"sample takes 30720 bytes of a shard of 20000.*key='a'"):
        pack(tmp_path, found, recipe(Grow(3)))
    made = pack(tmp_path, found, recipe(Grow(3), on_error="skip"))
    assert [name for name, _ in made.tally.rejected] == ["a"]
    assert made.shards[0].num_samples == 1


def test_two_samples_with_one_key_are_an_error(tmp_path):
    with pytest.raises(DuplicateKeyError, match="key='a-0'"):
        pack(tmp_path, inline_listing({"a": {"bin": b"1"}, "a-0": {"bin": b"2"}}), recipe(OneName()))
    assert not [*tmp_path.iterdir()]


class OneName(Grow):
    def __call__(self, _key, fields, _counts):
        return [("a-0", fields)]


def test_progress_is_that_of_the_source(tmp_path):
    found, amounts = listing(200), []
    pack(tmp_path, found, recipe(Grow(0.1)), advance=amounts.append)
    assert sum(amounts) == int(found.size.sum())
    assert len(amounts) == -(-200 // BATCH_SAMPLES)


def test_growth_is_measured_as_it_would_be_written(tmp_path):
    found, made = listing(10), recipe(Grow(0.5, drop="a/", twice="b/"))
    growth = measure_growth(*pickle.loads(pickle.dumps((made, ListedPart(found)))))
    written = pack(tmp_path, found, made)
    assert growth == Growth(
        10,
        int(sample_bytes(found).sum()),
        sum(info.num_samples for info in written.shards),
        sum(info.num_bytes - 1024 for info in written.shards),
    )


def test_a_drawn_sample_that_fails_follows_on_error():
    with pytest.raises(SourceError, match="key='b/0001'"):
        measure_growth(recipe(Grow(fail="b/")), ListedPart(listing(4)))
    growth = measure_growth(recipe(Grow(fail="b/"), on_error="skip"), ListedPart(listing(3)))
    assert (growth.samples, growth.new_samples) == (3, 2)


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_memory_does_not_grow_with_the_chunk(tmp_path, timeout):
    """Nor with how much a sample grows, beyond what is at work."""
    source = write_files(tmp_path / "source", {f"{i:03d}": {"bin": bytes(300_000)} for i in range(100)})
    (tmp_path / "scratch").mkdir()
    made = recipe(Grow(4), max_bytes=1 << 30, timeout=timeout)
    task = ChunkTask(ScratchDir(str(tmp_path / "scratch")), 0, UnitName(0), ListedPart(file_listing(source)))
    tracemalloc.start()
    try:
        chunk = pack_chunk(made, task)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert chunk.tally.payload_bytes == 120_000_000
    assert most < 50_000_000
