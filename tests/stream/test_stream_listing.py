"""A stream is listed as it is read: the same samples, in the same order, with nothing read but indexes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import OptionError, SourceError
from shardpack.sources.payloads import read_payload
from tests.fakes import contents
from tests.read.datasets import numbered, write
from tests.strategies import examples


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Three datasets of different keys, the second without its 12th sample."""
    folder = tmp_path_factory.mktemp("datasets")
    for number, size in enumerate((40, 25, 11)):
        samples = {f"{number}/{key}": fields for key, fields in numbered(size).items()}
        write(folder / str(number), samples, max_shard_samples=6)
    shardpack.delete(folder / "1", [shardpack.open(folder / "1")[12].key])
    return [shardpack.open(folder / str(number)) for number in range(3)]


def listed(stream):
    listing = stream.listing()
    return [
        (key, {listing.fields[listing.field_code[m]]: read_payload(listing, m) for m in range(first, stop)})
        for key, (first, stop) in zip(listing.keys, pairwise(listing.start.tolist()), strict=True)
    ]


def read(stream):
    return [(sample.key, dict(sample)) for sample in stream]


orders = st.fixed_dictionaries({
    "shuffle": st.sampled_from(["none", "shards", "blocks", "global"]),
    "seed": st.integers(0, 3),
    "block_bytes": st.sampled_from([512, 8192]),
    "batch_size": st.sampled_from([None, 4]),
    "tail": st.sampled_from(["pad", "drop"]),
    "fields": st.sampled_from([None, ["json"]]),
})  # fmt: skip


@given(order=orders, mixed=st.booleans(), stop=st.sampled_from(["first", "all", 30]), epoch=st.integers(0, 2))
@examples(30)
def test_what_is_listed_is_what_is_read(datasets, order, mixed, stop, epoch):
    fields = {"fields": order["fields"]}
    order |= fields
    make = {
        True: lambda **rank: shardpack.mix(list(zip(datasets, (3, 2, 1), strict=True)), stop=stop, **order, **rank),
        False: lambda **rank: datasets[1].stream(**order, **rank),
    }[mixed]
    for rank in range(2):
        stream = make(rank=rank, world_size=2)
        stream.set_epoch(epoch)
        assert listed(stream) == read(stream)


def test_a_stream_that_resumes_is_listed_from_there(datasets):
    stream = datasets[0].stream(seed=3, batch_size=4)
    samples = read(stream)
    stream.load_state_dict(stream.state_at(8))
    assert listed(stream) == samples[8:]


def test_a_mix_is_packed_in_its_order_in_parallel_and_continued(datasets, tmp_path):
    mix = shardpack.mix({datasets[0]: 2, datasets[1]: 1}, seed=5)
    one, two = tmp_path / "one", tmp_path / "two"
    shardpack.pack(mix, one, jobs=1, max_shard_samples=7)
    shardpack.pack(mix, two, jobs=2, max_shard_samples=7)
    assert contents(one) == contents(two)
    assert read(shardpack.open(one)) == read(mix)
    report = shardpack.pack(mix, tmp_path / "dry", dry_run=True, max_shard_samples=7)
    assert report.num_shards == len(shardpack.open(one).shards) > 2


def test_classes_and_splits_are_kept(tmp_path):
    for name, classes, split in (("a", ["x", "y"], "val"), ("b", ["x", "y", "z"], "train"), ("c", ["y"], None)):
        with shardpack.ShardWriter(tmp_path / name, classes=classes) as writer:
            for number in range(4):
                writer.write(f"{name}/{number}", {"json": {"label": 0}}, split=split)
    a, b, c = (shardpack.open(tmp_path / name) for name in "abc")
    shardpack.pack(shardpack.mix({a: 1, b: 1}, stop="first", partitions=1), tmp_path / "out")
    packed = shardpack.open(tmp_path / "out")
    assert packed.classes == ("x", "y", "z")
    assert packed.splits == {"train": 4, "val": 4}
    assert [sample.key[0] for sample in packed] == [*"bbbb", *"aaaa"]
    report = shardpack.pack(shardpack.mix({a: 1, b: 1}, partitions=1), tmp_path / "val", split="val")
    assert report.num_samples == 4
    with pytest.raises(
        OptionError, match=r"c' numbers its classes \(y\) differently from another dataset of the mix \(x, y\)"
    ):
        shardpack.pack(shardpack.mix({a: 1, c: 1}), tmp_path / "no")


def test_samples_that_come_twice_are_told(datasets, tmp_path):
    with pytest.raises(SourceError, match="is also that of '0/"):
        shardpack.pack(shardpack.mix([(datasets[0], 1), (datasets[0], 1)]), tmp_path / "out")
