"""`StreamDataset` behind the real DataLoader: exactly the stream's steps, resumed exactly; StatefulDataLoader too."""

from __future__ import annotations

import gc
import inspect
import json
import multiprocessing
from itertools import chain, islice

import pytest

import shardpack
from shardpack.errors import CorruptShardError, OptionError
from tests.edges.needs import many_workers, needs, numbers
from tests.read.datasets import descriptors, numbered, write

torch = needs("torch")
needs("torchdata")
from torch.utils.data import DataLoader, default_collate  # noqa: E402 - behind the check
from torchdata.stateful_dataloader import StatefulDataLoader  # noqa: E402

from shardpack.torch import StreamDataset  # noqa: E402

pytestmark = many_workers
METHODS = sorted(multiprocessing.get_all_start_methods())
METHODS = ["fork", *(pytest.param(method, marks=pytest.mark.slow) for method in METHODS if method != "fork")]
OPTIONS = {"shuffle": "blocks", "seed": 3, "batch_size": 4, "block_bytes": 4096, "window_blocks": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("dataset"), numbered(46), max_shard_samples=5)


@pytest.fixture(scope="module")
def ds(folder):
    return shardpack.open(folder)


def steps(ds, epoch=0, **options):
    stream = ds.stream(**{**OPTIONS, **options})
    stream.set_epoch(epoch)
    return [[sample.position for sample in step] for step in stream.steps()]


def loader_of(dataset, num_workers=2, kind=DataLoader, **options):
    return kind(dataset, batch_size=4, num_workers=num_workers, collate_fn=numbers, **options)


@pytest.mark.parametrize("method", METHODS)
def test_every_start_method_and_persistent_workers(folder, ds, method):
    dataset = StreamDataset(folder, **OPTIONS)
    loader = loader_of(dataset, multiprocessing_context=method, persistent_workers=True)
    assert len(dataset) == 46
    assert len(loader) == 12
    for epoch in (0, 1, 2):
        dataset.set_epoch(epoch)
        assert list(loader) == steps(ds, epoch)
    assert list(loader) == steps(ds, 2), "the same again, until set_epoch"
    state = json.loads(json.dumps(dataset.state_after(5)))
    dataset.load_state_dict(state)
    dataset.set_epoch(2)
    iterator = iter(loader)
    assert list(islice(iterator, 3)) == steps(ds, 2)[5:8]
    assert dataset.state_after(3)["rank_samples"] == 32
    dataset.set_epoch(0)
    assert list(loader) == steps(ds)


@pytest.mark.parametrize("num_workers", [0, 1, 2, 3, 5])
def test_any_number_of_workers(folder, ds, num_workers):
    dataset = StreamDataset(folder, **OPTIONS)
    assert list(loader_of(dataset, num_workers)) == steps(ds)
    dataset.load_state_dict(dataset.state_after(7))
    assert list(loader_of(dataset, num_workers)) == steps(ds)[7:]
    assert list(loader_of(dataset, num_workers)) == steps(ds), "a state is used once"


@pytest.mark.parametrize("num_workers", [0, 2])
def test_ready_batches(folder, ds, num_workers):
    dataset = StreamDataset(folder, **OPTIONS, batched=True)
    assert len(dataset) == len(DataLoader(dataset, batch_size=None)) == 12
    loader = DataLoader(dataset, batch_size=None, collate_fn=numbers, num_workers=num_workers)
    assert list(loader) == steps(ds)
    dataset.load_state_dict(dataset.state_after(7))
    assert list(loader) == steps(ds)[7:]
    batch = next(iter(DataLoader(dataset, batch_size=None, collate_fn=default_collate)))
    assert batch["__key__"] == [f"k/{i:04d}" for i in steps(ds)[0]]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_ready_batches_from_within_a_step(folder, ds, num_workers):
    """The first batch is what is left of a step, and counts as that."""
    stream = ds.stream(**OPTIONS)
    iterator = iter(stream)
    for _ in range(6):
        next(iterator)
    dataset = StreamDataset(folder, **OPTIONS, batched=True)
    dataset.load_state_dict(stream.state_dict())
    found = list(DataLoader(dataset, batch_size=None, collate_fn=numbers, num_workers=num_workers))
    assert found == [steps(ds)[1][2:], *steps(ds)[2:]]
    assert dataset.state_after(1)["rank_samples"] == 8
    dataset.load_state_dict(dataset.state_after(3))
    assert list(DataLoader(dataset, batch_size=None, collate_fn=numbers)) == steps(ds)[4:]


def test_without_workers_the_dataset_knows_its_state(folder, ds):
    for taken in (0, 1, 11, 12):
        dataset = StreamDataset(folder, **OPTIONS)
        iterator = iter(loader_of(dataset, 0))
        assert list(islice(iterator, taken)) == steps(ds)[:taken]
        state = dataset.state_dict()
        assert state == dataset.state_after(taken)
        other = StreamDataset(folder, **OPTIONS)
        other.load_state_dict(state)
        assert list(loader_of(other, 2)) == steps(ds)[taken:]


def test_prefetched_batches_are_not_seen_ones(folder, ds):
    dataset = StreamDataset(folder, **OPTIONS)
    iterator = iter(loader_of(dataset, prefetch_factor=4))
    seen = list(islice(iterator, 3))
    with pytest.raises(OptionError, match="state_after"):
        dataset.state_dict()
    stream = ds.stream(**OPTIONS)
    stream.load_state_dict(dataset.state_after(3))
    assert seen == steps(ds)[:3]
    assert [sample.position for sample in stream] == list(chain(*steps(ds)[3:]))


@pytest.mark.parametrize("num_workers", [0, 1, 2, 3])
def test_stateful_data_loader(folder, ds, num_workers):
    reference = steps(ds, 1)
    for taken in (0, 1, 2, 3, 7, 12) if num_workers else range(13):
        dataset = StreamDataset(folder, **OPTIONS)
        dataset.set_epoch(1)
        loader = loader_of(dataset, num_workers, StatefulDataLoader)
        assert list(islice(loader, taken)) == reference[:taken]
        state = json.loads(json.dumps(loader.state_dict()))
        for _ in range(2):
            dataset = StreamDataset(folder, **OPTIONS)
            loader = loader_of(dataset, num_workers, StatefulDataLoader)
            loader.load_state_dict(state)
            dataset.set_epoch(1)
            assert list(loader) == reference[taken:]
            dataset.set_epoch(2)
            assert list(loader) == steps(ds, 2)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("persistent", [False, True])
def test_stateful_data_loader_at_the_end_of_an_epoch(folder, ds, num_workers, persistent):
    options = {"persistent_workers": persistent and num_workers > 0}
    dataset = StreamDataset(folder, **OPTIONS)
    loader = loader_of(dataset, num_workers, StatefulDataLoader, **options)
    assert list(loader) == steps(ds)
    state = loader.state_dict()
    dataset = StreamDataset(folder, **OPTIONS)
    loader = loader_of(dataset, num_workers, StatefulDataLoader, **options)
    loader.load_state_dict(state)
    dataset.set_epoch(1)
    assert list(loader) == steps(ds, 1), "the epoch that was over is not begun again"
    dataset.set_epoch(2)
    assert list(loader) == steps(ds, 2)


def test_a_mix_is_a_stream_too(folder, tmp_path):
    other = shardpack.open(write(tmp_path, numbered(20)))
    options = {"batch_size": 4, "seed": 1, "shuffle": "blocks"}
    weights = {shardpack.open(folder): 3, other: 1}
    reference = [[sample.position for sample in step] for step in shardpack.mix(weights, **options).steps()]
    for pairs in (list(weights.items()), tuple(weights.items())):
        assert list(loader_of(StreamDataset(pairs, **options), 0)) == reference
    with pytest.raises(OptionError, match="not a dataset with its weight"):
        StreamDataset([(str(folder), 3), (other, 1)], **options)
    dataset = StreamDataset(weights, **options)
    assert list(loader_of(dataset)) == reference
    dataset.load_state_dict(json.loads(json.dumps(dataset.state_after(3))))
    assert list(loader_of(dataset)) == reference[3:]


def test_rank_and_world_size(folder, ds, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert list(loader_of(StreamDataset(folder, **OPTIONS))) == steps(ds, rank=1, world_size=2)
    assert list(loader_of(StreamDataset(folder, **OPTIONS, rank=0, world_size=1))) == steps(ds)
    with pytest.raises(OptionError, match="give both or none"):
        StreamDataset(folder, **OPTIONS, rank=0)
    monkeypatch.setenv("RANK", "one")
    with pytest.raises(OptionError, match="RANK is 'one' and WORLD_SIZE is '2'; expected numbers"):
        StreamDataset(folder, **OPTIONS)
    monkeypatch.delenv("RANK")
    assert list(loader_of(StreamDataset(folder, **OPTIONS))) == steps(ds)


def test_half_a_rank_is_refused(folder, monkeypatch):
    """Or every rank would read everything."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(OptionError, match="RANK is set but WORLD_SIZE is not"):
        StreamDataset(folder)


def test_equal_seeds_do_not_resume_twice(folder, ds):
    """Seeding before each loop makes a DataLoader's workers look alike."""
    dataset = StreamDataset(folder, **OPTIONS)
    dataset.load_state_dict(dataset.state_after(3))
    loader = loader_of(dataset)
    for expected in (steps(ds)[3:], steps(ds), steps(ds)):
        torch.manual_seed(0)
        assert list(loader) == expected


def test_options_are_those_of_streams():
    taken = inspect.signature(StreamDataset).parameters
    offered = inspect.signature(shardpack.Dataset.stream).parameters
    assert offered.keys() - {"self"} <= taken.keys()
    for name in offered.keys() - {"self", "rank", "world_size"}:
        assert taken[name].default == offered[name].default
    with pytest.raises(TypeError, match="shufle"):
        StreamDataset("out/", shufle=True)


def test_errors_come_through_workers_as_they_are(tmp_path):
    write(tmp_path, numbered(10))
    dataset = StreamDataset(shardpack.open(tmp_path, verify=True), batch_size=2)
    tar = tmp_path / "shard-000000.tar"
    tar.write_bytes(tar.read_bytes().replace(b"000003", b"xxxxxx"))
    iterator = iter(DataLoader(dataset, batch_size=2, num_workers=2, collate_fn=numbers))
    with pytest.raises(CorruptShardError, match="k/0003"):
        list(iterator)
    iterator._shutdown_workers()  # the traceback keeps it alive; left to the garbage collector it takes 5 s a worker


def test_early_breaks_leave_nothing_behind(tmp_path):
    folder = write(tmp_path, numbered(46), max_shard_samples=5)
    dataset = StreamDataset(folder, **OPTIONS)
    for epoch in range(12):
        dataset.set_epoch(epoch)
        for _ in loader_of(dataset, 0):
            break
        if epoch < 3:
            for _ in loader_of(dataset, 2):
                break
    del dataset
    gc.collect()
    assert descriptors(folder) == 0
    for process in multiprocessing.active_children():  # a DataLoader gives a worker 5 s, then ends it and does not wait
        process.join(60)
    assert not multiprocessing.active_children()
