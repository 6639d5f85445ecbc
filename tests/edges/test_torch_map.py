"""`MapDataset`: a batch is one `get_many`; with and without workers."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

import shardpack
from shardpack.errors import DecodeError, FieldNotFoundError, OptionError, PositionError
from tests.conftest import make_jpeg
from tests.edges.needs import many_workers, needs, numbers
from tests.read.datasets import CountingStore, numbered, packed, write

torch = needs("torch")
from torch.utils.data import DataLoader, random_split  # noqa: E402 - behind the check

from shardpack.torch import MapDataset  # noqa: E402

pytestmark = many_workers
SAMPLES = numbered(40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("dataset"), SAMPLES, max_shard_samples=7)


OPEN_AT_EXIT = """
import sys, torch, shardpack
ds = shardpack.open(sys.argv[1])
ds[0]
loader, stream = iter(ds.loader(2)), iter(ds.stream())
next(loader), next(stream)
writer = shardpack.ShardWriter(sys.argv[2])
writer.write("a", {"txt": "b"})
"""


def test_a_script_that_leaves_all_open_ends_quietly(folder, tmp_path):
    """Once torch is imported, objects of the script are dropped when modules are gone already."""
    command = [sys.executable, "-c", OPEN_AT_EXIT, folder, tmp_path]
    assert b"Exception ignored" not in subprocess.run(command, capture_output=True, check=True).stderr


def test_samples_are_plain_dicts(folder):
    dataset = MapDataset(folder)
    assert len(dataset) == 40
    assert type(dataset[3]) is dict
    assert dataset[3] == {"__key__": "k/0003", **SAMPLES["k/0003"]}
    assert dataset["k/0004"] == dataset.__getitems__([4])[0]
    assert MapDataset(folder, fields=["json"])[-1] == {"__key__": "k/0039", "json": b'{"number":39}'}
    with pytest.raises(PositionError):
        dataset[40]
    with pytest.raises(FieldNotFoundError):
        MapDataset(folder, fields=["wav"])


def test_a_transform_gets_the_decoded_item(folder):
    def prepare(item):
        return item["__key__"], item["json"]["number"], len(item["bin"])

    dataset = MapDataset(shardpack.open(folder), decode={}, transform=prepare)
    assert dataset[5] == ("k/0005", 5, len(SAMPLES["k/0005"]["bin"]))
    keys, found, _ = next(iter(DataLoader(dataset, batch_size=8)))
    assert list(keys) == [f"k/{i:04d}" for i in range(8)]
    assert found.tolist() == list(range(8))


def test_pictures_become_tensors(tmp_path):
    write(tmp_path, {f"p/{i}": {"jpg": make_jpeg(seed=i), "cls": b"%d" % i} for i in range(6)} | {"q": {"jpg": b"no"}})
    dataset = MapDataset(tmp_path, decode="torchrgb", size=(16, 20))
    batch = next(iter(DataLoader(pickle.loads(pickle.dumps(dataset)), batch_size=6)))
    assert batch["jpg"].shape == (6, 3, 16, 20)
    assert batch["jpg"].dtype is torch.float32
    assert batch["cls"].tolist() == list(range(6))
    with pytest.raises(DecodeError, match=r"does not decode as torchrgb.*\(key='q'\)"):
        dataset[6]
    with pytest.raises(OptionError, match="unknown decoding name 'rgb9'"):
        MapDataset(tmp_path, decode="rgb9")


@pytest.mark.parametrize("method", [None, "fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_a_shuffling_loader_gets_all(folder, method):
    workers = 2 if method else 0
    loader = DataLoader(
        MapDataset(folder), 8, shuffle=True, collate_fn=numbers, num_workers=workers, multiprocessing_context=method
    )
    found = [number for batch in loader for number in batch]
    assert sorted(found) == list(range(40)) != found


def test_a_batch_is_one_get_many():
    """In a bucket: a shard's index once, then one merged request for neighbours."""
    store = CountingStore(packed(SAMPLES), gap=4096)
    batches = list(DataLoader(MapDataset(shardpack.open(store)), 10, collate_fn=numbers))
    assert batches == [list(range(i, i + 10)) for i in range(0, 40, 10)]
    assert store.taken().count("shard-000000.tar") == 4


def test_views_and_subsets_and_copies(folder):
    view = MapDataset(shardpack.open(folder).select(range(39, -1, -3)))
    assert [sample["__key__"] for sample in pickle.loads(pickle.dumps(view)).__getitems__([0, 1])] == [
        "k/0039",
        "k/0036",
    ]
    first, second = random_split(MapDataset(folder), [30, 10], generator=torch.Generator().manual_seed(0))
    found = [
        number for part in (first, second) for batch in DataLoader(part, 8, collate_fn=numbers) for number in batch
    ]
    assert sorted(found) == list(range(40))
