"""Batches are the stream's steps, decoded: in order, for any number of threads, resumable after each."""

from __future__ import annotations

import gc
import itertools
import json
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.codecs.image_options import ImageOptions
from shardpack.errors import CorruptShardError, DecodeError, FieldNotFoundError, OptionError
from shardpack.stream.loader import KEPT_REASONS, Skipped
from tests.conftest import ROOT, make_jpeg
from tests.read.datasets import CountingStore, packed, write
from tests.strategies import examples

COUNT = 23
THERE_BEFORE = []  # threads that other tests have left hanging


def sample(i, **fields):
    return {"jpg": make_jpeg(24, 16, seed=i), "json": b'{"number":%d}' % i, "cls": b"%d" % (i % 3), **fields}


@pytest.fixture(scope="module")
def files():
    return packed({f"k/{i:04d}": sample(i) for i in range(COUNT)}, max_shard_samples=9)


@pytest.fixture(scope="module")
def ds(files):
    return shardpack.open(CountingStore(files))


def with_bad(*bad, payload=b"no image"):
    return shardpack.open(
        CountingStore(packed({f"{i}": sample(i, jpg=payload) if i in bad else sample(i) for i in range(8)}))
    )


def same(left, right):
    """Return whether two batches, or lists of them, are equal in kind and value."""
    if isinstance(left, dict):
        return isinstance(right, dict) and list(left) == list(right) and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, np.ndarray):
        return isinstance(right, np.ndarray) and left.dtype == right.dtype and np.array_equal(left, right)
    return type(left) is type(right) and left == right


def ours():
    """Return our threads that this test has started."""
    return [t for t in threading.enumerate() if t.name.startswith("shardpack-") and t not in THERE_BEFORE]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    THERE_BEFORE[:] = threading.enumerate()
    yield
    gc.collect()
    assert not ours()


def test_what_a_batch_is(ds):
    loader = ds.loader(5, decode="rgb8", size=(8, 12))
    batches = list(loader)
    assert len(batches) == len(loader) == 5
    first, last = batches[0], batches[-1]
    assert list(first) == ["__key__", "cls", "jpg", "json"]
    assert first["__key__"] == [f"k/{i:04d}" for i in range(5)]
    assert first["cls"].dtype == np.int64
    assert first["cls"].tolist() == [0, 1, 2, 0, 1]
    assert first["json"] == [{"number": i} for i in range(5)]
    assert first["jpg"].shape == (5, 8, 12, 3)
    assert first["jpg"].dtype == np.uint8
    assert first["jpg"].flags.c_contiguous
    assert first["jpg"].flags.writeable
    assert last["jpg"].shape == (3, 8, 12, 3)


def test_bytes_by_default(ds):
    batch = next(iter(ds.loader(4)))
    assert batch["jpg"] == [ds[i]["jpg"] for i in range(4)]
    assert batch["cls"] == [b"0", b"1", b"2", b"0"]
    assert list(next(iter(ds.loader(4, fields=["json"], decode="rgb8")))) == ["__key__", "json"]


def test_without_a_size_like_shapes_are_stacked():
    ds = shardpack.open(CountingStore(packed({"a": sample(0), "b": sample(1), "c": sample(2, jpg=make_jpeg(20, 16))})))
    batches = list(ds.loader(2, decode="rgb"))
    assert batches[0]["jpg"].shape == (2, 16, 24, 3)
    assert batches[0]["jpg"].dtype == np.float32
    uneven = next(iter(ds.loader(3, decode="rgb")))["jpg"]
    assert [image.shape for image in uneven] == [(16, 24, 3), (16, 24, 3), (16, 20, 3)]


def test_missing_fields_are_none():
    images = {"a": {"jpg": make_jpeg(), "cls": b"1"}, "b": {"cls": b"2"}, "c": {"jpg": make_jpeg()}}
    batch = next(iter(shardpack.open(CountingStore(packed(images))).loader(3, decode="l8", size=4)))
    assert [None if image is None else image.shape for image in batch["jpg"]] == [(4, 4), None, (4, 4)]
    assert batch["cls"] == [1, 2, None]


def test_each_field_its_own_way(ds):
    batch = next(iter(ds.loader(4, decode={"jpg": len, "json": None})))
    assert batch["jpg"].tolist() == [len(ds[i]["jpg"]) for i in range(4)]
    assert batch["json"] == [ds[i]["json"] for i in range(4)]
    assert batch["cls"].tolist() == [0, 1, 2, 0]


def test_tensors(ds):
    torch = pytest.importorskip("torch")
    batch = next(iter(ds.loader(4, decode="torchrgb", size=6)))["jpg"]
    assert isinstance(batch, torch.Tensor)
    assert batch.shape == (4, 3, 6, 6)
    assert batch.is_contiguous()
    assert np.array_equal(batch.numpy().transpose(0, 2, 3, 1), next(iter(ds.loader(4, decode="rgb", size=6)))["jpg"])


@examples(25)
@given(
    st.integers(1, 9),
    st.sampled_from([{"size": 6}, {"min_size": 6}, {}]),
    st.sampled_from(["none", "blocks", "global"]),
    st.booleans(),
)
def test_threads_change_nothing(files, batch_size, sizes, shuffle, transformed):
    ds = shardpack.open(CountingStore(files))

    def noisy(fields):
        noise = np.random.default_rng(fields["__seed__"]).integers(0, 9, fields["jpg"].shape)
        return {"jpg": fields["jpg"] + noise, "label": fields["json"]["number"], "key": fields["__key__"]}

    how = {"decode": "rgb8", "shuffle": shuffle, "seed": 3, "transform": noisy if transformed else None, **sizes}
    one = list(ds.loader(batch_size, threads=1, prefetch=1, **how))
    many = list(ds.loader(batch_size, threads=8, **how))
    assert same(one, many)
    stream = ds.stream(shuffle=shuffle, seed=3, batch_size=batch_size)
    assert [key for batch in many for key in batch["__key__"]] == [sample.key for sample in stream]


@examples(20)
@given(
    st.sampled_from(["none", "blocks", "global"]),
    st.sampled_from(["pad", "drop", "exact"]),
    st.sampled_from([(1, 12), (2, 6), (3, 4), (6, 2)]),
    st.booleans(),
)
def test_resumes_after_each_batch_at_any_world_size(files, shuffle, tail, ranks, drop_last):
    ds = shardpack.open(CountingStore(files))

    def loaders(world_size, batch_size):
        how = {"shuffle": shuffle, "tail": tail, "partitions": 12, "fields": ["cls"], "drop_last": drop_last}
        return [ds.loader(batch_size, rank=rank, world_size=world_size, **how) for rank in range(world_size)]

    def steps(some):
        per_rank = [[batch["__key__"] for batch in loader] for loader in some]
        return [sorted(key for keys in step for key in keys) for step in itertools.zip_longest(*per_rank, fillvalue=[])]

    before = loaders(2, 6)
    for loader in before:
        loader.set_epoch(2)
    whole = steps(before)
    assert len({len(loader) for loader in before}) == 1 or tail == "exact"
    for taken in range(len(before[0]) + 1):
        iterator = iter(before[0])
        for _ in range(taken):
            next(iterator)
        state = json.loads(json.dumps(before[0].state_dict()))
        del iterator
        after = loaders(*ranks)
        for loader in after:
            loader.load_state_dict(state)
            assert loader.state_dict()["rank_samples"] * ranks[0] >= min(state["rank_samples"] * 2, 1)
            assert loader.epoch == 2
        found = steps(after)
        if tail == "exact" or drop_last:
            assert found == whole[taken:]
        elif tail == "pad":
            assert [set(step) for step in found] == [set(step) for step in whole[taken:]]
        elif taken < len(before[0]):  # and ranks may leave one out of the last step
            assert found[: len(whole) - taken - 1] == whole[taken:-1]


def test_only_batches_handed_out_count(ds):
    loader = ds.loader(4, prefetch=4)
    iterator = iter(loader)
    assert loader.state_dict()["rank_samples"] == 0
    for taken in range(1, 4):
        next(iterator)
        assert loader.state_dict()["rank_samples"] == 4 * taken
    iterator.close()
    again = ds.loader(4)
    again.load_state_dict(loader.state_dict())
    assert again.state_dict() == loader.state_dict()
    assert same(list(again), list(ds.loader(4))[3:])
    assert same(list(again), list(ds.loader(4))), "the next iteration is a whole epoch"


def test_set_epoch(ds):
    loader = ds.loader(4, shuffle=True)
    first = list(loader)
    loader.set_epoch(1)
    assert loader.state_dict()["rank_samples"] == 0
    second = list(loader)
    assert not same(first, second)
    state = loader.state_dict()
    loader.set_epoch(0)
    assert same(list(loader), first)
    loader.load_state_dict(state)
    assert list(loader) == [], "that epoch was over"


def test_a_state_of_a_stream_may_lie_within_a_batch(ds):
    stream = ds.stream(batch_size=5)
    iterator = iter(stream)
    keys = [next(iterator).key for _ in range(7)]
    loader = ds.loader(5)
    loader.load_state_dict(stream.state_dict())
    rest = [batch["__key__"] for batch in loader]
    assert [len(keys) for keys in rest] == [3, 5, 5, 3]
    assert [*keys, *itertools.chain(*rest)] == list(ds.keys())


def test_states_of_other_options_are_refused(ds):
    with pytest.raises(OptionError, match="another order"):
        ds.loader(4, shuffle=True).load_state_dict(ds.loader(4).state_dict())
    with pytest.raises(OptionError, match="global batch"):
        ds.loader(4).load_state_dict(ds.loader(5).state_dict())


def test_drop_last(ds):
    loader = ds.loader(5, drop_last=True)
    assert [len(batch["__key__"]) for batch in loader] == [5] * 4 == [5] * len(loader)


def test_a_bad_sample_is_an_error_that_names_it():
    loader = with_bad(5, 6).loader(4, decode="rgb8", size=4)
    iterator = iter(loader)
    assert len(next(iterator)["jpg"]) == 4
    with pytest.raises(DecodeError, match=r"field 'jpg' does not decode as rgb8: .*key='5'") as got:
        next(iterator)
    assert got.value.key == "5"
    assert type(got.value.__cause__).__name__ == "UnidentifiedImageError"
    assert loader.state_dict()["rank_samples"] == 4, "a resumed run meets it again"


@pytest.mark.parametrize("sizes", [{"size": 4}, {}])
@pytest.mark.parametrize(("bad", "expected"), [((1, 2), [0, 3, 3, 3]), ((3,), [0, 1, 2, 0]), ((0, 2, 3), [1, 1, 1, 1])])
def test_skipped_samples_are_replaced_and_counted(bad, expected, sizes):
    ds = with_bad(*bad)
    loader = ds.loader(4, decode="rgb8", on_error="skip", **sizes)
    batches = list(loader)
    assert batches[0]["__key__"] == list(map(str, expected))
    assert [label["number"] for label in batches[0]["json"]] == expected
    good = ds.select(expected).loader(4, decode="rgb8", **sizes)
    assert same(batches[0], next(iter(good)))
    assert batches[1]["__key__"] == ["4", "5", "6", "7"]
    assert loader.skipped.num_samples == len(bad)
    assert [key for key, _ in loader.skipped.first] == list(map(str, bad))
    assert all("does not decode as rgb8" in reason for _, reason in loader.skipped.first)
    list(loader)
    assert loader.skipped.num_samples == 2 * len(bad)


@pytest.mark.parametrize("sizes", [{"size": 4}, {}])
def test_evaluation_repeats_nothing(sizes):
    loader = with_bad(1, 5, 6).loader(4, decode="rgb8", on_error="skip", tail="exact", **sizes)
    batches = list(loader)
    assert [batch["__key__"] for batch in batches] == [["0", "2", "3"], ["4", "7"]]
    assert [len(batch["jpg"]) for batch in batches] == [3, 2]
    assert loader.skipped.num_samples == 3


def test_a_batch_of_nothing_but_bad_samples_is_an_error():
    iterator = iter(with_bad(4, 5, 6, 7).loader(4, decode="rgb8", on_error="skip"))
    next(iterator)
    with pytest.raises(DecodeError, match="none of the 4 samples of a batch is good; the first: field 'jpg'"):
        next(iterator)


def test_prefetched_skips_do_not_count():
    loader = with_bad(5).loader(4, decode="rgb8", on_error="skip", prefetch=4)
    iterator = iter(loader)
    next(iterator)
    assert loader.skipped == Skipped()
    next(iterator)
    assert loader.skipped.num_samples == 1


def test_only_the_first_reasons_are_kept():
    many = Skipped().plus([("a", "bad")] * 15).plus([("b", "bad")] * 15)
    assert many.num_samples == 30
    assert len(many.first) == KEPT_REASONS


def test_damaged_shards_are_never_skipped(files):
    broken = dict(files)
    name = "shard-000001.tar"
    at = broken[name].index(b"\xff\xd8\xff") + 200
    broken[name] = broken[name][:at] + bytes([broken[name][at] ^ 1]) + broken[name][at + 1 :]
    iterator = iter(shardpack.open(CountingStore(broken)).loader(3, on_error="skip"))
    assert [len(next(iterator)["jpg"]) for _ in range(3)] == [3] * 3
    with pytest.raises(CorruptShardError):
        list(iterator)


def test_errors_of_a_transform_come_as_they_are(ds):
    def picky(fields):
        if fields["json"]["number"] in (6, 7):
            raise ZeroDivisionError(fields["__key__"])
        return fields

    for on_error in ("raise", "skip"):
        iterator = iter(ds.loader(4, decode="rgb8", transform=picky, on_error=on_error))
        next(iterator)
        with pytest.raises(ZeroDivisionError, match="0006"):
            next(iterator)
        assert not ours(), "an error ends the threads"


def test_a_transform_may_reject_samples(ds):
    def picky(fields):
        if fields["json"]["number"] % 2:
            raise DecodeError("odd")
        return {"number": fields["json"]["number"]}

    loader = ds.loader(4, decode="rgb8", transform=picky, on_error="skip")
    assert next(iter(loader))["number"].tolist() == [0, 2, 2, 0]
    assert loader.skipped.first[0] == ("k/0001", "odd")


def test_what_a_transform_gives_is_stacked(ds):
    def transform(fields):
        return {"x": fields["jpg"].transpose(2, 0, 1) / 2, "y": fields["cls"], **({"odd": 1} if fields["cls"] else {})}

    batch = next(iter(ds.loader(3, decode="rgb8", transform=transform)))
    assert list(batch) == ["__key__", "x", "y", "odd"]
    assert batch["x"].shape == (3, 3, 16, 24)
    assert batch["odd"] == [None, 1, 1]
    with pytest.raises(OptionError, match=r"transform gave a NoneType, expected a dict of fields \(key='k/0000'\)"):
        next(iter(ds.loader(3, transform=lambda _: None)))


def test_seeds_of_transforms_differ_by_epoch_and_sample_only(ds):
    def seeds(epoch, **options):
        loader = ds.loader(4, transform=lambda fields: {"s": str(fields["__seed__"])}, **options)
        loader.set_epoch(epoch)
        return {key: seed for batch in loader for key, seed in zip(batch["__key__"], batch["s"], strict=True)}

    assert seeds(0) == seeds(0, threads=3, shuffle="global")
    everything = [*seeds(0).values(), *seeds(1).values(), *seeds(0, seed=1).values()]
    assert len(set(everything)) == 3 * COUNT


def test_dropping_an_iterator_ends_its_threads(ds):
    for batch in ds.loader(2, decode="rgb8", threads=4):
        assert batch["__key__"]
        break
    assert not ours()
    iterator = iter(ds.loader(2, threads=4))
    assert not ours(), "nothing starts before it is asked for"
    next(iterator)
    assert ours()
    del iterator
    assert not ours()


def test_errors_of_the_consumer_end_the_threads(ds):
    def interrupted():
        for _ in ds.loader(2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    gc.collect()
    assert not ours()


def test_batches_in_the_making_are_bounded(ds):
    begun, lock = set(), threading.Lock()

    def note(fields):
        with lock:
            begun.add(fields["json"]["number"])
        return fields

    iterator = iter(ds.loader(2, decode="rgb8", transform=note, threads=4, prefetch=3))
    for taken in range(1, 4):
        next(iterator)
        assert len(begun) <= 2 * (taken + 3)


def test_two_iterators_do_not_disturb_each_other(ds):
    loader = ds.loader(3, decode="rgb8", shuffle=True)
    assert all(same(left, right) for left, right in zip(loader, loader, strict=True))


def test_a_program_may_end_in_the_middle(tmp_path):
    write(tmp_path / "ds", {f"{i}": sample(i) for i in range(8)})
    code = f"import shardpack; it = iter(shardpack.open({str(tmp_path / 'ds')!r}).loader(1, threads=3)); next(it)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60, capture_output=True)
    assert not done.stderr


def test_views_load_too(ds):
    view = ds.select([7, 3, 11])
    assert [batch["__key__"] for batch in view.loader(2)] == [["k/0007", "k/0003"], ["k/0011"]]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"batch_size": 0}, "batch_size is 0, expected an integer of at least 1"),
        ({"threads": 0}, "threads is 0"),
        ({"prefetch": 0}, "prefetch is 0"),
        ({"threads": 1.5}, "threads is 1.5, expected an integer"),
        ({"on_error": "ignore"}, "on_error is 'ignore'; choose"),
        ({"transform": 3}, "transform is 3"),
        ({"decode": "rgb9"}, "unknown decoding name 'rgb9'"),
        ({"size": -1}, "size is -1"),
    ],
)
def test_options_are_checked_at_once(ds, options, text):
    with pytest.raises(OptionError, match=text):
        ds.loader(**{"batch_size": 4, **options})


def test_fields_are_checked_at_once(ds):
    with pytest.raises(FieldNotFoundError):
        ds.loader(4, fields=["png"])
    with pytest.raises(FieldNotFoundError, match="decode names field 'jpg'"):
        ds.loader(4, fields=["json"], decode={"jpg": "rgb8"})


def test_image_options_have_the_defaults_of_the_loader():
    assert ImageOptions() == ImageOptions(None, None, True, False, True)


@pytest.mark.parametrize("shuffle", ["none", "blocks", "global"])
@pytest.mark.parametrize("size", [4, 200])  # 200: samples of 160 KB, each cut by itself
def test_arrays_come_from_the_map(tmp_path, shuffle, size):
    with shardpack.ShardWriter(tmp_path / "out", max_shard_samples=5) as writer:
        for i in range(12):
            writer.write(f"{i}", {"npy": np.full((size, size), i, np.int32), "json": {"number": i}, "bin": b"%d" % i})
    ds = shardpack.open(tmp_path / "out")
    stream = ds.stream(batch_size=4, shuffle=shuffle)
    if size == 200:
        assert {type(payload) for step in stream.steps(views=True) for s in step for payload in s.values()} == {
            memoryview
        }
    assert {type(payload) for step in stream.steps() for s in step for payload in s.values()} == {bytes}
    loader = stream.loader(decode="rgb8")
    assert loader.undecoded == ("bin",)
    wanted = [[int(s["bin"]) for s in step] for step in stream.steps()]
    batches = list(loader)
    ds.close()
    for batch, numbers in zip(batches, wanted, strict=True):
        assert batch["npy"].shape == (len(numbers), size, size)
        assert batch["npy"][:, 0, 0].tolist() == batch["npy"][:, -1, -1].tolist() == numbers
        assert [label["number"] for label in batch["json"]] == numbers
        assert batch["bin"] == [b"%d" % number for number in numbers], "bytes, not views"


def test_arrays_of_a_mix(tmp_path):
    for name in "ab":
        with shardpack.ShardWriter(tmp_path / name) as writer:
            for i in range(8):
                writer.write(f"{i}", {"npy": np.full(3, i), "txt": name})
    members = [(shardpack.open(tmp_path / name), 1) for name in "ab"]
    batches = list(shardpack.mix(members, batch_size=4).loader(decode="rgb8"))
    assert sorted(value for batch in batches for value in batch["npy"][:, 2].tolist()) == sorted(2 * [*range(8)])


def test_fields_that_stay_bytes_are_named(ds):
    assert ds.loader(4, decode="rgb8").undecoded == ()
    assert ds.loader(4).undecoded == ("cls", "jpg", "json")
    assert ds.loader(4, decode={"cls": None}).undecoded == ("cls", "jpg")
