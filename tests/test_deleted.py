"""A dataset with deleted samples reads as if they were not there: every verb, against plain lists."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.dataset import open_dataset
from shardpack.errors import DuplicateKeyError, OptionError, PositionError, UnknownKeyError
from shardpack.format.layout import MANIFEST_PATH
from shardpack.format.manifest_json import encode_manifest
from shardpack.storage.memory import MemoryStore
from tests import edits
from tests.edits import edited_files
from tests.edits import write as write_files
from tests.read.datasets import CountingStore, as_dicts, collections, numbered, packed
from tests.strategies import examples

SAMPLES = numbered(30)
ORDERS = [{"shuffle": "none"}, {"shuffle": "shards"}, {"shuffle": "blocks", "block_bytes": 2000}, {"shuffle": "global"}]


@st.composite
def histories(draw):
    """Return the files of an edited dataset, and what is visible of it: (key, fields) in order."""
    samples = draw(collections())
    files = packed(samples, max_shard_samples=draw(st.integers(1, 4)))
    stored = list(samples.items())
    gone = set()
    for edit in range(draw(st.integers(1, 3))):
        visible = [at for at in range(len(stored)) if at not in gone]
        delete = draw(st.sets(st.sampled_from(visible))) if visible else set()
        gone |= delete
        keys = [stored[at][0] for at in sorted(gone) if draw(st.booleans())]
        keys = [key for key in dict.fromkeys(keys) if key not in {stored[at][0] for at in visible if at not in gone}]
        again = {key: {"json": b'{"again": %d}' % edit} for key in keys}
        stored += again.items()
        files = edited_files(files, delete=delete, append=again)
    return files, [(key, dict(fields)) for at, (key, fields) in enumerate(stored) if at not in gone]


def model(visible, positions=None):
    """Return what `as_dicts` gives for these positions."""
    return [(visible[at][0], at, visible[at][1]) for at in (range(len(visible)) if positions is None else positions)]


@pytest.fixture(scope="module", params=["local", "memory", "remote"])
def opened(request, tmp_path_factory):
    """Return a function that opens the dataset of some files in one of three kinds of places."""

    def open_it(files):
        if request.param == "local":
            return shardpack.open(write_files(tmp_path_factory.mktemp("edited"), files))
        return open_dataset(CountingStore(files) if request.param == "remote" else MemoryStore(files))

    return open_it


@examples(25)
@given(st.data())
def test_every_verb_reads_what_is_left(opened, data):
    files, visible = data.draw(histories())
    ds, size, keys = opened(files), len(visible), [key for key, _ in visible]
    assert (len(ds), list(ds.keys())) == (size, keys)
    assert as_dicts([ds[at] for at in range(size)]) == model(visible)
    assert as_dicts([ds[at - size] for at in range(size)]) == model(visible)
    assert as_dicts(ds[::-1]) == model(visible)[::-1]
    assert as_dicts([ds[key] for key in keys]) == model(visible)
    assert [ds.position_of(key) for key in keys] == list(range(size))
    asked = data.draw(st.lists(st.integers(-size, size - 1), max_size=8)) if size else []
    wanted = [at % size for at in asked]
    mixed = [keys[at] if data.draw(st.booleans()) else at for at in wanted]
    assert as_dicts(ds.get_many(asked)) == as_dicts(ds.get_many(mixed)) == model(visible, wanted)
    assert as_dicts(ds.get_many(asked, fields=ds.fields)) == model(visible, wanted)
    assert [(at.key, at.position) for at in ds.locate(mixed)] == [(keys[at], at) for at in wanted]
    assert [(at.key, at.position, set(at.fields)) for at in ds.entries()] == [
        (key, at, set(fields)) for key, at, fields in model(visible)
    ]
    for key in {key for key, _ in visible} | {"a", "b", "nobody"}:
        assert (key in ds) == (key in keys)
    assert [at in ds for at in (-size - 1, -size, size - 1, size)] == [False, size > 0, size > 0, False]
    view = ds.select(asked)
    assert as_dicts(list(view)) == as_dicts(view[:]) == model(visible, wanted)
    assert [key in view for key in keys] == [at in wanted for at in range(size)]
    assert as_dicts(list(pickle.loads(pickle.dumps(view)))) == model(visible, wanted)
    assert as_dicts(list(ds.select(range(size))[1:4])) == model(visible)[1:4]
    assert as_dicts(list(ds.select(range(1, size))[:])) == model(visible)[1:]
    assert as_dicts(list(pickle.loads(pickle.dumps(ds)))) == model(visible)
    for options in ORDERS:
        stream = ds.stream(seed=3, tail="exact", **options)
        samples = as_dicts(list(stream))
        assert len(samples) == len(stream) == size
        assert sorted(samples, key=lambda sample: sample[1]) == model(visible)


@examples(15)
@given(st.data(), st.sampled_from(ORDERS), st.integers(1, 3))
def test_streams_of_ranks_and_resumed_ones_are_exact(data, options, world_size):
    files, visible = data.draw(histories())
    ds = open_dataset(MemoryStore(files))
    samples = []
    for rank in range(world_size):
        chosen = {"seed": 1, "rank": rank, "world_size": world_size, "tail": "exact", "batch_size": 2, **options}
        stream = ds.stream(**chosen)
        whole = as_dicts(list(stream))
        samples += whole
        taken = data.draw(st.integers(0, len(stream)))
        iterator, resumed = iter(stream), ds.stream(**chosen)
        for _ in range(taken):
            next(iterator)
        resumed.load_state_dict(stream.state_dict())
        assert as_dicts(list(resumed)) == whole[taken:]
    assert sorted(samples, key=lambda sample: sample[1]) == model(visible)


@pytest.mark.parametrize("options", ORDERS)
def test_an_epoch_does_not_depend_on_where_it_is_read(tmp_path, options):
    files = edited_files(packed(SAMPLES, max_shard_samples=7), delete=[0, 6, 7, 8, 20])
    remote, local = open_dataset(CountingStore(files)), shardpack.open(write_files(tmp_path, files))
    assert as_dicts(list(remote.stream(seed=5, **options))) == as_dicts(list(local.stream(seed=5, **options)))


def test_a_key_that_was_deleted_and_appended_again_is_the_new_one(opened):
    files = edited_files(packed(SAMPLES, max_shard_samples=7), delete=[3, 4])
    ds = opened(files)
    for ask in (lambda: ds["k/0003"], lambda: ds.get_many(["k/0003"]), lambda: ds.select(["k/0003"])):
        with pytest.raises(UnknownKeyError, match="no such key: 'k/0003'"):
            ask()
    ds = opened(edited_files(files, append={"k/0003": {"json": b"{}"}}))
    assert as_dicts([ds["k/0003"]]) == as_dicts(ds.get_many(["k/0003"])) == [("k/0003", 28, {"json": b"{}"})]
    assert "k/0003" in ds
    assert "k/0004" not in ds
    assert ds["k/0029"].position == 27


def test_everything_may_be_deleted(opened):
    ds = opened(edited_files(packed(numbered(3)), delete=[0, 1, 2]))
    assert (len(ds), list(ds), list(ds.keys()), ds[:], ds.shard_numbers()) == (0, [], [], [], [])
    with pytest.raises(PositionError, match="position 0 is out of range: the dataset has 0 samples; select some"):
        ds[0]


def test_messages_count_what_is_visible(opened):
    ds = opened(edited_files(packed(SAMPLES, max_shard_samples=7), delete=range(5, 25)))
    assert repr(ds) == f"<Dataset {ds.location!r}: 10 samples, 5 shards>"
    assert repr(ds.select([3])) == f"<Dataset {ds.location!r}: 1 of 10 samples, 5 shards>"
    assert ds.shard_numbers() == [0, 3, 4]
    with pytest.raises(PositionError, match="position 10 is out of range: the dataset has 10 samples"):
        ds[10]
    with pytest.raises(PositionError, match="position -11 is out of range"):
        ds.get_many([-11])


def test_duplicate_keys_are_told_by_position(opened):
    files = edited_files(packed(SAMPLES, max_shard_samples=7), delete=[0, 1])
    ds = opened(edited_files(files, append={"k/0005": {"json": b"{}"}}, unique_keys=False))
    with pytest.raises(DuplicateKeyError, match="2 samples have this key, at positions 3, 28; ask by position"):
        ds["k/0005"]
    ds = opened(edited_files(edited_files(files, append={"k/0005": {"json": b"{}"}}), delete=[5]))
    assert ds["k/0005"].position == 27


def test_samples_know_their_position_before_and_after_their_key(opened):
    ds = opened(edited_files(packed(SAMPLES, max_shard_samples=7), delete=[2]))
    for sample in (ds[5], ds.get_many([5, 9])[0], next(iter(ds.select([5]))), ds.get_many([5], fields=["json"])[0]):
        assert (sample.position, sample.key, sample.position) == (5, "k/0006", 5)
        assert repr(sample).startswith("<Sample 5 'k/0006': ")
        again = pickle.loads(pickle.dumps(sample))
        assert (again.position, again.key) == (5, "k/0006")
        sample.key = "mine"
        assert (sample.position, sample.key) == (5, "mine")
        sample.position = 8
        assert (sample.position, sample.key) == (8, "mine")


def test_opening_costs_one_read_and_what_is_deleted_one_more():
    files = edited_files(edited_files(packed(SAMPLES, max_shard_samples=7), delete=[2]), delete=[9, 11])
    store = CountingStore(files)
    ds = open_dataset(store)
    assert (len(ds), store.taken()) == (27, [".shardpack/manifest.json"])
    assert ds[10].key == "k/0013"
    assert sum("/deleted-" in path for path in store.taken()) == 2
    assert ds["k/0014"].position == 11
    assert not any("/deleted-" in path for path in store.taken())


def test_a_folded_dataset_is_the_one_packed_without_the_deleted(tmp_path):
    files = edited_files(packed(SAMPLES, max_shard_samples=7), delete=[0, 8, 29])
    left = {key: fields for at, (key, fields) in enumerate(SAMPLES.items()) if at not in {0, 8, 29}}
    shardpack.pack(open_dataset(MemoryStore(files)), tmp_path / "folded")
    folded = shardpack.open(tmp_path / "folded")
    assert [(sample.key, dict(sample)) for sample in folded] == [(key, dict(fields)) for key, fields in left.items()]
    assert folded.manifest.num_deleted == 0


# --- Streams, states, generations ----------------------------------------------------------------


def test_a_view_of_everything_is_the_edited_dataset(opened):
    files = edited_files(packed(SAMPLES, max_shard_samples=7), delete=[3, 14])
    ds = opened(files)
    whole, chosen = (
        ds.stream(shuffle="blocks", batch_size=2),
        ds.select(list(range(28))).stream(shuffle="blocks", batch_size=2),
    )
    assert whole.state_dict() == chosen.state_dict()
    assert whole.state_dict()["view"] == ""
    assert as_dicts(list(whole)) == as_dicts(list(chosen))


def test_the_digest_of_a_view_stays_when_other_samples_are_deleted():
    files = packed(SAMPLES, max_shard_samples=7)
    before, after = (open_dataset(MemoryStore(one)) for one in (files, edited_files(files, delete=[0, 1])))
    keys = ["k/0005", "k/0009", "k/0028"]
    states = [ds.select(keys).stream().state_dict() for ds in (before, after)]
    assert states[0]["view"] == states[1]["view"] != ""
    assert states[0]["fingerprint"] != states[1]["fingerprint"]


def test_a_state_of_another_generation_names_the_way_out():
    files = packed(SAMPLES, max_shard_samples=7)
    old, new = (open_dataset(MemoryStore(one)) for one in (files, edited_files(files, delete=[4])))
    stream = old.stream(shuffle="blocks", batch_size=2)
    next(iter(stream))
    with pytest.raises(OptionError, match=r"generation 1 of the dataset, this is generation 2; .*open\(.*generation=1"):
        new.stream(shuffle="blocks", batch_size=2).load_state_dict(stream.state_dict())
    again = open_dataset(MemoryStore(edited_files(files, delete=[4])), generation=1)
    resumed = again.stream(shuffle="blocks", batch_size=2)
    resumed.load_state_dict(stream.state_dict())
    assert len(list(resumed)) == len(SAMPLES) - 1


def test_mixes_refuse_states_of_other_generations():
    files = packed(SAMPLES, max_shard_samples=7)
    old, new = (open_dataset(MemoryStore(one)) for one in (files, edited_files(files, delete=[4])))
    one, other = (shardpack.mix([(ds, 1), (ds.select(range(5)), 1)]) for ds in (old, new))
    with pytest.raises(
        OptionError, match=r"generation 1 of dataset 0, .* generation 2; .*open\(\.\.\., generation=1\)"
    ):
        other.load_state_dict(one.state_dict())
    keys = Counter(sample.key for sample in other)
    assert "k/0004" not in keys
    assert keys["k/0005"] > 0


def test_readers_of_the_old_generation_go_on_beside_an_edit(tmp_path):
    """Open handles, streams in mid-epoch, and copies that workers open later."""
    files = packed(SAMPLES, max_shard_samples=7)
    ds = shardpack.open(write_files(tmp_path, files))
    stream = ds.stream(shuffle="blocks", block_bytes=3000)
    expected, iterator = as_dicts(list(stream)), iter(stream)
    begun, sent = [next(iterator) for _ in range(5)], pickle.dumps(ds)
    write_files(tmp_path, edited_files(files, delete=range(10)))
    assert as_dicts([*begun, *iterator]) == expected
    assert len(ds) == 30
    assert ds["k/0003"].position == ds[3].position == 3
    copy = pickle.loads(sent)
    assert (len(copy), copy[3].key, copy.manifest.generation) == (30, "k/0003", 1)
    new = shardpack.open(tmp_path)
    assert (len(new), new[0].key, new.manifest.generation) == (20, "k/0010", 2)
    assert len(shardpack.open(tmp_path, generation=1)) == 30
    assert len(pickle.loads(pickle.dumps(new.select([1, 0])))) == 2


def test_loaders_batch_what_is_visible(opened):
    ds = opened(edited_files(packed(SAMPLES, max_shard_samples=7), delete=[0, 13]))
    keys = [key for batch in ds.loader(4, fields=["json"], tail="exact") for key in batch["__key__"]]
    assert keys == [key for at, key in enumerate(SAMPLES) if at not in {0, 13}]


# --- Views are small -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "most"),
    [
        (list(range(100_000, 900_000)), 600),
        (np.flatnonzero(np.arange(1_000_000) % 10_000 < 9_000), 1_800),
        (np.flatnonzero(np.random.default_rng(0).random(1_000_000) < 0.5), 126_000),
        (np.random.default_rng(0).permutation(1_000_000)[:1000], 4_600),
    ],
)
def test_views_pickle_in_proportion_to_their_form(chosen, most):
    ds = open_dataset(MemoryStore(million()))
    base = len(pickle.dumps(ds._selection.cache.stores))
    view = ds.select(chosen)
    assert len(view) == len(chosen)
    assert len(pickle.dumps(view)) - base < most
    assert view._selection.positions.at(np.arange(5)).tolist() == list(chosen[:5])


def million():
    """Return the manifest of a dataset of a million samples, without its shards."""
    files = packed(numbered(3))
    with open_dataset(MemoryStore(files)) as ds:
        manifest = ds.manifest
    count = 1_000_000
    segments, keys = manifest.table_segments, manifest.key_segments
    return {
        MANIFEST_PATH: encode_manifest(
            replace(
                manifest,
                num_samples=count,
                table_segments=(replace(segments[0], num_samples=count),),
                key_segments=(replace(keys[0], num_keys=count),),
            )
        )
    }


def test_deleted_samples_of_a_dataset_with_a_layer(tmp_path):
    samples = {f"{i}": {"cls": b"%d" % i, "json": b'{"old": %d}' % i} for i in range(9)}
    folder = write_files(tmp_path, packed(samples, max_shard_samples=4))
    changed = {f"{i}": {"json": b'{"new": %d}' % i, "txt": b"more"} for i in (1, 2, 5, 7)}
    layer = write_files(folder / ".shardpack" / "layers" / "x", packed(changed))
    edits.layered(folder, layer, [list(changed).index(key) + 1 if key in changed else 0 for key in samples])
    edits.deleted(folder, 0, 2, 8)
    edits.appended(folder, {"8": {"cls": b"18"}, "0": {"cls": b"10"}})
    left = [(key, fields | changed.get(key, {})) for key, fields in samples.items() if key not in {"0", "2", "8"}]
    left += [("8", {"cls": b"18"}), ("0", {"cls": b"10"})]
    ds = shardpack.open(folder)
    for read in (ds, ds.select(range(len(ds))), pickle.loads(pickle.dumps(ds))):
        assert as_dicts(list(read)) == as_dicts(read[:]) == model(left)
        assert (
            as_dicts([read[at] for at in range(len(read))]) == as_dicts([read[key] for key, _ in left]) == model(left)
        )
    assert [(at.key, at.position, set(at.fields)) for at in ds.entries()] == [
        (key, at, set(fields)) for key, at, fields in model(left)
    ]
    for options in ORDERS:
        assert sorted(as_dicts(list(ds.stream(**options))), key=lambda sample: sample[1]) == model(left)
    shardpack.pack(ds, tmp_path / "folded")
    assert as_dicts(list(shardpack.open(tmp_path / "folded"))) == model(left)
