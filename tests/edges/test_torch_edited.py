"""The torch datasets over one that was edited: samples deleted, labels changed, a field attached; in workers, too."""

from __future__ import annotations

import multiprocessing

import pytest

import shardpack
from tests.edges.needs import many_workers, needs

torch = needs("torch")
from torch.utils.data import DataLoader  # noqa: E402 - behind the check

from shardpack.torch import MapDataset, StreamDataset  # noqa: E402

pytestmark = many_workers
METHODS = sorted(multiprocessing.get_all_start_methods())
METHODS = ["fork", *(pytest.param(method, marks=pytest.mark.slow) for method in METHODS if method != "fork")]
OPTIONS = {"shuffle": "blocks", "seed": 3, "batch_size": 4, "block_bytes": 512}
GONE, MENDED, CAPTIONED = ("k03", "k04", "k17"), ("k00", "k05", "k19"), ("k05", "k06")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("edited")
    with shardpack.ShardWriter(place / "ds", max_shard_samples=6) as writer:
        for number in range(20):
            writer.write(f"k{number:02d}", {"json": {"label": number}, "cls": number, "bin": b"%d" % number * 40})
    with shardpack.ShardWriter(place / "captions") as writer:
        for key in CAPTIONED:
            writer.write(key, {"txt": f"caption of {key}"})
    shardpack.delete(place / "ds", GONE)
    shardpack.relabel(place / "ds", {key: {"label": 100 + int(key[1:])} for key in MENDED})
    shardpack.attach(place / "ds", place / "captions")
    return place / "ds"


@pytest.fixture(scope="module")
def expected():
    """Key -> label, class number, caption and payload of each sample that is left."""
    found = {}
    for number in range(20):
        key = f"k{number:02d}"
        label = number + 100 * (key in MENDED)
        if key not in GONE:
            caption = f"caption of {key}" if key in CAPTIONED else None
            found[key] = (label, label, caption, b"%d" % number * 40)
    return found


def facts(items):
    """Collate items to what is expected of each."""
    return [(item["__key__"], (item["json"]["label"], item["cls"], item.get("txt"), item["bin"])) for item in items]


@pytest.mark.parametrize("method", METHODS)
def test_a_stream_in_workers_shows_what_is_left_and_changed(folder, expected, method):
    dataset = StreamDataset(folder, decode="rgb8", **OPTIONS)
    loader = DataLoader(dataset, batch_size=4, num_workers=2, collate_fn=facts, multiprocessing_context=method)
    with shardpack.open(folder) as ds:
        steps = [[sample.key for sample in step] for step in ds.stream(**OPTIONS).steps()]
    batches = list(loader)
    assert [[key for key, _ in batch] for batch in batches] == steps
    assert dict(fact for batch in batches for fact in batch) == expected


@pytest.mark.parametrize("method", METHODS)
def test_random_access_in_workers_shows_the_same(folder, expected, method):
    dataset = MapDataset(folder, decode="rgb8")
    loader = DataLoader(dataset, batch_size=4, num_workers=2, collate_fn=facts, multiprocessing_context=method)
    found = [fact for batch in loader for fact in batch]
    assert found == list(expected.items())
    assert facts([dataset["k05"]]) == [("k05", expected["k05"])]


def test_an_epoch_that_is_stopped_resumes_in_its_generation(folder, expected):
    dataset = StreamDataset(folder, decode="rgb8", **OPTIONS)
    whole = [facts(batch) for batch in DataLoader(dataset, batch_size=4, collate_fn=list)]
    again = StreamDataset(folder, decode="rgb8", **OPTIONS)
    again.load_state_dict(dataset.state_after(2))
    rest = [facts(batch) for batch in DataLoader(again, batch_size=4, collate_fn=list)]
    assert rest == whole[2:]
    assert {key for batch in whole for key, _ in batch} == expected.keys()
