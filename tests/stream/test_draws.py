"""Balanced and weighted streams: each class its share, the same for every world size, exactly resumable."""

from __future__ import annotations

import json
import pickle
import shutil
from collections import Counter
from functools import partial

import numpy as np
import pytest

import shardpack
from shardpack.edit.delete import delete
from shardpack.edit.table import table
from shardpack.errors import OptionError
from shardpack.order.groups import Groups
from shardpack.stream.draws import FROM_TABLE, LabelColumns
from shardpack.stream.options import LoaderOptions, StreamOptions
from shardpack.stream.stream import open_stream
from shardpack.stream.worker_shares import Worker, WorkerShares
from tests.stream.drawn import CLASS, DS, SAMPLES, WEIGHT, groups_of, numbers_of, opened, positions

KINDS = {
    "balance": {"balance": "class"},
    "weights": {"weights": {"cat": 3, "dog": 1, "owl": 0.5}},
    "column": {"weights": "weight"},
    "longer": {"balance": "kind", "num_samples": 130},
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_class_comes_as_often_as_asked(kind):
    options = KINDS[kind]
    stream = opened(seed=5, batch_size=8, **options)
    for epoch in range(3):
        stream.set_epoch(epoch)
        found = positions(stream)
        assert len(found) == len(stream) == options.get("num_samples", SAMPLES)
        if kind == "column":
            share = SAMPLES * WEIGHT / WEIGHT.sum()
            assert (np.abs(np.bincount(found, minlength=SAMPLES) - share) < 1).all()
            continue
        weights = [3, 1, 0.5] if kind == "weights" else [1, 1, 1]
        share = len(found) * np.array(weights) / sum(weights)
        assert (np.abs(np.bincount(CLASS[found], minlength=3) - share) < 1).all()


def test_samples_are_read_as_they_are_stored():
    for sample in opened(balance="class"):
        assert sample == DS[sample.position]
        assert sample.key == f"k/{sample.position:04d}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tail", ["pad", "drop", "exact"])
def test_every_sample_resumes_with_exactly_the_rest(kind, tail):
    options = {"seed": 2, "batch_size": 6, "tail": tail, **KINDS[kind]}
    stream = opened(**options)
    stream.set_epoch(1)
    whole = positions(stream)
    iterator = iter(stream)
    for taken in range(len(whole) + 1):
        state = json.loads(json.dumps(stream.state_dict()))
        other = opened(**options)
        other.load_state_dict(state)
        assert positions(other) == whole[taken:]
        next(iterator, None)


@pytest.mark.parametrize("kind", KINDS)
def test_global_batches_are_the_same_for_every_world_size_and_resume_there(kind):
    """Also when a run goes on at another world size after any step."""

    def steps(world_size, state=None):
        streams = [
            opened(rank=r, world_size=world_size, batch_size=12 // world_size, **options) for r in range(world_size)
        ]
        for stream in streams:
            if state is not None:
                stream.load_state_dict(state)
        first = streams[0].resume_step
        found = [list(stream.steps(first)) for stream in streams]
        longest = max(map(len, found))
        return streams, [
            sorted(sample.position for one in found for sample in (one[n] if n < len(one) else []))
            for n in range(longest)
        ]

    options = {"seed": 9, "partitions": 12, "tail": "exact", **KINDS[kind]}
    streams, whole = steps(1)
    for world_size in (2, 3, 4, 6, 12):
        assert steps(world_size)[1] == whole
        for step in range(len(whole)):
            assert steps(world_size, streams[0].state_at(12 * step))[1] == whole[step:]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_workers_share_the_steps(workers):
    make = partial(opened, balance="class", batch_size=4, num_samples=50)
    whole = [[sample.position for sample in step] for step in make().steps()]
    shares = [iter(WorkerShares(make, partial(Worker, number, workers, 1)).steps()) for number in range(workers)]
    found = [[sample.position for sample in next(shares[step % workers])] for step in range(len(whole))]
    assert found == whole


def test_views_draw_from_their_own_samples():
    view = DS.select([40, 3, 3, 9, 0, 1, 2, 4, 5])
    found = positions(opened(view, balance="class", num_samples=60))
    assert np.bincount(CLASS[found]).tolist() == [20, 20, 20]
    assert set(found) == {40, 3, 9, 0, 1, 2, 4, 5}
    assert found.count(3) == 20, "three is the only dog"
    found = positions(opened(DS.select(range(9, 20)), weights="weight", num_samples=100))
    assert set(found) == {n for n in range(9, 20) if WEIGHT[n]}


def test_a_class_without_samples_in_a_view_is_left_out():
    view = DS.select([n for n in range(SAMPLES) if CLASS[n] != 1])
    found = positions(opened(view, balance="class", num_samples=40))
    assert np.bincount(CLASS[found], minlength=3).tolist() == [20, 0, 20]
    weighted = positions(opened(view, weights={"cat": 1, "dog": 5, "owl": 3}, num_samples=40))
    assert np.bincount(CLASS[weighted], minlength=3).tolist() == [10, 0, 30]


def test_weight_0_leaves_a_class_out():
    found = positions(opened(weights={"cat": 1, "dog": 0, "owl": np.float32(1)}, num_samples=40))
    assert np.bincount(CLASS[found], minlength=3).tolist() == [20, 0, 20]


def test_repeats_tell_the_same_sample_apart():
    for options in ({"balance": "class", "num_samples": 200}, {"weights": "weight", "num_samples": 200}):
        found = [(sample.position, sample.repeat) for sample in opened(**options)]
        assert len(set(found)) == 200
        assert max(repeat for _, repeat in found) > 1
        assert min(repeat for _, repeat in found) == 0
    sample = pickle.loads(pickle.dumps(next(s for s in opened(balance="class", num_samples=200) if s.repeat)))
    assert sample.drawn_as == (sample.position, sample.repeat)


def test_repeats_tell_apart_what_a_view_has_several_times():
    view = DS.select([3, 3, 3, 40, 9, 0, 5])
    for options in ({"balance": "class", "num_samples": 70}, {"weights": "weight", "num_samples": 70}):
        found = Counter((sample.position, sample.repeat) for sample in opened(view, **options))
        assert set(found.values()) == {1}
        assert sum(position == 3 for position, _ in found) > 3


def test_a_loader_gives_each_repeat_random_numbers_of_its_own():
    seeds = []

    def take(fields):
        seeds.append((fields["__key__"], fields["__seed__"]))
        return {"n": 1}

    loader = opened(balance="class", num_samples=200, batch_size=10).loader_of(LoaderOptions(transform=take))
    batches = list(loader)
    assert sum(len(batch["__key__"]) for batch in batches) == 200
    assert len(set(seeds)) == 200


# What is refused


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"balance": "class", "weights": "weight"}, "give one of them"),
        ({"num_samples": 5}, "give balance or weights, too"),
        ({"balance": "class", "num_samples": 0}, "num_samples is 0"),
        ({"balance": "class", "num_samples": 2**40}, "num_samples is 1099511627776"),
        ({"balance": "class", "shuffle": "blocks"}, "shuffle is 'blocks', but .* leave shuffle out"),
        ({"balance": ["class"]}, "balance is \\['class'\\], expected the name of a column"),
        ({"weights": 3}, "weights is 3, expected"),
        ({"weights": {"cat": 1, "dog": 1, "owl": 1, "cow": 1}}, "does not have: 'cow'; it has 'cat', 'dog', 'owl'"),
        ({"weights": {"cat": 1, "dog": 1}}, "no weight for 'owl'; give one to each class, 0 to leave it out"),
        ({"weights": {"cat": 1, "dog": -1, "owl": 1}}, "weight of 'dog' is -1, expected a number from 0 on"),
        ({"weights": {"cat": 1, "dog": float("nan"), "owl": 1}}, "weight of 'dog' is nan"),
        ({"weights": {"cat": 1, "dog": True, "owl": 1}}, "weight of 'dog' is True"),
        ({"weights": {"cat": 1, "dog": "2", "owl": 1}}, "weight of 'dog' is '2'"),
        ({"weights": {"cat": 0, "dog": 0, "owl": 0}}, "all weights are 0"),
        ({"weights": "bad"}, "weight of the sample at position 3 has no value \\(column 'bad'\\)"),
        ({"weights": "negative"}, "weight of the sample at position 0 is -1.0"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(OptionError, match=text):
        opened(**options)


def test_shuffle_may_be_true():
    assert positions(opened(balance="class", shuffle=True)) == positions(opened(balance="class", shuffle="global"))


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"weights": {"cat": 1, "dog": 1, "owl": 2}}, "state is of other classes or weights: weights is"),
        ({"weights": "weight"}, "state is of other classes or weights"),
        ({"balance": "class", "num_samples": 48}, "state is of epochs of other lengths: num_samples is 48 there, 47"),
        ({"balance": "class", "seed": 1}, "another order: seed"),
        ({"balance": "class", "tail": "drop"}, "another tail"),
        ({"shuffle": "global"}, "of a stream of another kind: it lacks num_samples, weights"),
    ],
)
def test_states_of_other_draws_are_refused(changed, text):
    stream = opened(balance="class")
    stream.load_state_dict(stream.state_at(4))
    before = stream.state_dict()
    with pytest.raises(OptionError, match=text):
        stream.load_state_dict(opened(**changed).state_at(2))
    assert stream.state_dict() == before


def test_equal_weights_are_the_balance():
    weighted = opened(weights={"cat": 2, "dog": 2, "owl": 2})
    weighted.load_state_dict(opened(balance="class").state_at(7))
    assert positions(weighted) == positions(opened(balance="class"))[7:]


def test_a_plain_stream_refuses_the_state_of_a_balanced_one():
    with pytest.raises(
        OptionError, match=r"missing or unknown 'num_samples', 'weights'; .* the same options .balance, weights."
    ):
        opened(shuffle="global").load_state_dict(opened(balance="class").state_dict())


def test_a_moved_sample_is_another_grouping():
    state = opened(balance="class").state_at(3)

    def moved(ds, column):
        groups = groups_of(ds, column)
        return Groups(groups.names, groups.starts, groups.positions[::-1])

    stream = open_stream(DS, StreamOptions(balance="class"), LabelColumns(moved, numbers_of))
    with pytest.raises(OptionError, match="state is of other classes or weights"):
        stream.load_state_dict(state)


def test_weights_that_are_an_array_are_one_line():
    with pytest.raises(OptionError, match=r"^weights is array\(\[\[[^\n]*, expected \{class: weight\}"):
        opened(weights=np.ones((30, 3)))


def test_weights_of_labels_without_names_say_what_to_do():
    def unnamed(_ds, _column):
        return Groups((), np.zeros(1, np.int64), np.zeros(0, np.int64))

    with pytest.raises(OptionError, match=r"names of classes, which no sample has; .*classes=\[.*balance=\"label\""):
        open_stream(DS, StreamOptions(weights={0: 1, 1: 2}), LabelColumns(unnamed, numbers_of))


# With the label table of a dataset


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A dataset of 30 samples with a table: 3 cats, 9 dogs, 18 owls, each with a score; half of them in a split."""
    out = tmp_path_factory.mktemp("draws") / "out"
    with shardpack.ShardWriter(out, max_shard_samples=7) as writer:
        for number in range(30):
            name = "cat" if number % 10 == 0 else "dog" if number % 3 == 0 else "owl"
            label = {"class": name, "score": number % 5}
            writer.write(f"{number:02d}", {"json": json.dumps(label).encode()}, split="ab"[number >= 15])
    table(out)
    return out


def classes_of(samples):
    return Counter(sample.decode("json")["class"] for sample in samples)


def test_streams_and_loaders_of_a_dataset(labelled):
    with shardpack.open(labelled) as ds:
        assert set(classes_of(ds.stream(balance="class")).values()) == {10}
        assert classes_of(ds.stream(weights={"cat": 2, "dog": 1, "owl": 0})) == {"cat": 20, "dog": 10}
        scores = Counter(sample.decode("json")["score"] for sample in ds.stream(weights="score", num_samples=60))
        assert scores == {1: 6, 2: 12, 3: 18, 4: 24}
        loader = ds.loader(5, balance="class", num_samples=45, seed=2, decode="rgb8")
        batches = list(loader)
        assert Counter(label["class"] for batch in batches for label in batch["json"]) == {
            "cat": 15,
            "dog": 15,
            "owl": 15,
        }
        assert classes_of(ds.split("b").stream(balance="class", num_samples=12)) == {"cat": 4, "dog": 4, "owl": 4}


def test_an_open_dataset_reads_a_column_once(labelled):
    ds = shardpack.open(labelled)
    view = ds.select(range(3))
    for read, column in ((FROM_TABLE.groups, "class"), (FROM_TABLE.numbers, "score")):
        first, second = (read(one.stream_input(), column) for one in (ds, view))
        assert first is second
        ds.close()
        assert read(ds.stream_input(), column) is not first


def test_a_view_leaves_the_numbers_of_its_dataset_as_they_are(labelled):
    with shardpack.open(labelled) as ds:
        numbers = FROM_TABLE.numbers(ds.stream_input(), "score")
        assert {sample.key for sample in ds.select([7, 5, 9]).stream(weights="score", num_samples=9)} == {"07", "09"}
        assert numbers.tolist() == [number % 5 for number in range(30)]
        with pytest.raises(ValueError, match="read-only"):
            numbers[0] = 1


def test_deleted_samples_never_come(labelled, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(labelled, out)
    delete(out, ["00", "03", "10"])
    with shardpack.open(out) as ds:
        found = [sample.key for sample in ds.stream(balance="class", num_samples=90)]
        assert not {"00", "03", "10"} & set(found)
        assert found.count("20") == 30, "the only cat that is left"
        assert not {"03", "10"} & {sample.key for sample in ds.stream(weights="score", num_samples=200)}


def test_a_dataset_without_a_table_names_the_way_to_one():
    with pytest.raises(OptionError, match='no label table; make one with "shardpack table'):
        DS.stream(balance="class")


def test_a_worker_reopens_the_table(labelled):
    with shardpack.open(labelled) as ds:
        make = partial(open_stream, ds, StreamOptions(balance="class", batch_size=5))
        copy = pickle.loads(pickle.dumps(make))()
        assert [sample.key for sample in copy] == [sample.key for sample in make()]
        copy.load_state_dict(make().state_at(10))


def test_refusals_of_an_edited_dataset_name_positions_as_users_know_them(tmp_path):
    pytest.importorskip("pyarrow")
    rows = [(f"k{n}", {"json": {} if n == 4 else {"w": n}}) for n in range(6)]
    shardpack.pack(rows, tmp_path)
    table(tmp_path)
    delete(tmp_path, ["k0", "k2"])
    ds = shardpack.open(tmp_path)
    assert ds[2].key == "k4"
    for view in (ds, ds.select([1, 3, 2])):
        with pytest.raises(OptionError, match=r"sample at position 2 has no value \(column 'w'\); expected a number"):
            view.stream(weights="w")
    with pytest.raises(OptionError, match="names of classes, which no sample has"):
        ds.stream(weights={"cat": 1})
