"""The webdataset edge, judged by the real library: same samples, our order, our shards from its samples."""

from __future__ import annotations

import copy
import inspect
import json
import os
import pickle
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from PIL import Image

import shardpack
from shardpack.edit.table import table
from shardpack.errors import InvalidKeyError, OptionError, OutputExistsError
from tests.conftest import ROOT, judge, make_jpeg
from tests.edges.needs import needs
from tests.format.builders import judge_module
from tests.read.datasets import numbered, write

wds = needs("webdataset")
from shardpack.webdataset import ShardWriter, samples, urls  # noqa: E402 - behind the check

# webdataset leaves the files that it has read to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
OPTIONS = {"shuffle": "blocks", "seed": 3, "batch_size": 4, "block_bytes": 4096, "window_blocks": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(write(tmp_path_factory.mktemp("dataset"), numbered(46), max_shard_samples=5))


def judged(paths):
    """Return what webdataset reads, but for notes of its own on where it has cached a shard."""
    found = wds.WebDataset(paths, shardshuffle=False, empty_check=False)
    return [{name: value for name, value in sample.items() if name != "__local_path__"} for sample in found]


def test_samples_are_those_of_webdataset(folder):
    ds = shardpack.open(folder)
    truth = judged(urls(folder))
    assert len(truth) == 46
    found = list(wds.DataPipeline(samples(ds)))
    assert found == truth
    assert [list(sample) for sample in found] == [list(sample) for sample in truth], "in the same order"
    shuffled = list(wds.DataPipeline(samples(ds, **OPTIONS)))
    assert shuffled == [truth[sample.position] for sample in ds.stream(**OPTIONS)] != truth
    assert list(wds.DataPipeline(samples(folder, fields=["json"])))[3] == {
        name: value for name, value in truth[3].items() if name != "bin"
    }


def test_samples_of_tars_that_others_wrote(tmp_path):
    with wds.ShardWriter(str(tmp_path / "x-%02d.tar"), maxcount=3, verbose=0) as writer:
        for i in range(10):
            writer.write({"__key__": f"a/b{i}", "B.jpg": make_jpeg(seed=i), "cls": i, "A.Json": {"i": i}})
    paths = sorted(map(str, tmp_path.glob("*.tar")))
    ds = shardpack.open(paths, index="memory")
    assert urls(ds) == paths
    assert list(samples(ds)()) == judged(paths)


def test_a_split_is_a_pattern_of_names(tmp_path):
    with shardpack.ShardWriter(tmp_path, max_shard_samples=5) as writer:
        for number, (key, fields) in enumerate(numbered(20).items()):
            writer.write(key, fields, split="train" if number < 13 else "val")
    ds = shardpack.open(tmp_path)
    for split, pattern in {"train": "train-{000000..000002}.tar", "val": "val-{000000..000001}.tar"}.items():
        truth = judged(str(tmp_path / pattern))
        assert [sample["__key__"] for sample in truth] == list(ds.split(split).keys())
        assert list(samples(ds.split(split))()) == truth == judged(urls(ds.split(split)))


def test_urls_of_tars_that_are_not_what_the_dataset_shows_are_refused(tmp_path):
    write(tmp_path, numbered(12), max_shard_samples=5)
    key, *rest = shardpack.open(tmp_path).keys()
    with shardpack.ShardWriter(tmp_path / "more") as writer:
        writer.write(rest[0], {"more": "x"})
    shardpack.attach(tmp_path, tmp_path / "more")
    with pytest.raises(
        OptionError, match=r'whole tars, and these have none of the fields of layers; .*"shardpack pack'
    ):
        urls(tmp_path)
    shardpack.delete(tmp_path, [key])
    with pytest.raises(OptionError, match="whole tars, and 1 deleted sample is still in these, and these have none"):
        urls(shardpack.open(tmp_path).select([3, 4]))
    assert [sample["__key__"] for sample in samples(tmp_path)()] == rest


def test_urls_are_those_of_the_tars_where_indexes_lie_elsewhere(tmp_path):
    """Indexes of tars in another folder: what is named must be there."""
    tars = tmp_path / "tars"
    write(tars, numbered(12), max_shard_samples=5)
    shardpack.index(str(tars), out=str(tmp_path / "indexes"))
    ds = shardpack.open(tmp_path / "indexes")
    assert [os.path.realpath(url) for url in urls(ds)] == sorted(os.path.realpath(path) for path in tars.glob("*.tar"))
    assert list(wds.DataPipeline(samples(ds))) == judged(urls(ds))
    assert all(os.path.isfile(sample["__url__"]) for sample in samples(ds))


def test_options_are_those_of_streams():
    taken = inspect.signature(samples).parameters
    offered = inspect.signature(shardpack.Dataset.stream).parameters
    assert taken.keys() - {"dataset"} == offered.keys() - {"self"}
    assert all(
        taken[name].default == offered[name].default for name in taken.keys() - {"dataset", "rank", "world_size"}
    )


def test_balanced_and_weighted_epochs(tmp_path):
    out = write(tmp_path / "out", {f"{n}": {"json": b'{"class": "%s"}' % (b"a" if n else b"b")} for n in range(9)})
    table(out)
    for options in ({"balance": "class"}, {"weights": {"a": 1, "b": 3}, "num_samples": 12}):
        found = [sample["__key__"] for sample in samples(out, rank=0, world_size=1, seed=3, **options)]
        assert found == [sample.key for sample in shardpack.open(out).stream(seed=3, **options)]
        assert found.count("0") == {9: 5, 12: 9}[len(found)]


def test_half_a_rank_is_refused(folder, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(OptionError, match="RANK is set but WORLD_SIZE is not"):
        samples(folder)


def test_stages_after_it(folder):
    ds = shardpack.open(folder)
    stage = samples(ds, **OPTIONS)
    pipeline = wds.DataPipeline(stage, wds.decode(), wds.to_tuple("json", "__key__"), wds.batched(4, collation_fn=None))
    steps = [[sample.position for sample in step] for step in ds.stream(**OPTIONS).steps()]
    assert [[label["number"] for label, _ in batch] for batch in pipeline] == steps
    assert len(stage) == 46
    stage.set_epoch(1)
    second = [[label["number"] for label, _ in batch] for batch in pipeline]
    assert second != steps
    state = json.loads(json.dumps(stage.state_after(7)))
    stage.load_state_dict(state)
    assert [[label["number"] for label, _ in batch] for batch in pipeline] == second[7:]
    with pytest.raises(OptionError, match="iteration has 5 batches of 4"):
        stage.state_after(6)


def test_ranks(folder, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    found = [sample["__key__"] for sample in samples(folder, **OPTIONS)]
    ds = shardpack.open(folder)
    assert found == [sample.key for sample in ds.stream(**OPTIONS, rank=1, world_size=2)]
    assert len(list(samples(folder, **OPTIONS, rank=0, world_size=1))) == 46
    with pytest.raises(OptionError, match="give both or none"):
        samples(folder, rank=0)


def test_urls_are_made_of_shards_that_are_read(folder, monkeypatch):
    asked = []

    def counted(ds, number):
        asked.append(number)
        return shard_url(ds, number)

    shard_url = shardpack.Dataset.shard_url
    monkeypatch.setattr(shardpack.Dataset, "shard_url", counted)
    stage = samples(folder)
    found = iter(stage)
    assert asked == []
    for _ in range(12):
        next(found)
    assert asked == [0, 1, 2], "5 samples a shard"
    found.close()


def test_copies_keep_their_urls(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    stage = samples(".")
    monkeypatch.chdir(tmp_path)
    truth = list(stage)
    assert truth[0]["__url__"] == "./shard-000000.tar"
    assert list(pickle.loads(pickle.dumps(stage))) == list(copy.deepcopy(stage)) == truth


LOADERS = """
import itertools, sys
import webdataset as wds
from shardpack.webdataset import samples

def number(sample):
    return int(sample["json"][10:-1])

def same(batch):
    return batch

if __name__ == "__main__":
    folder, method = sys.argv[1:]
    stage = samples(folder, shuffle="blocks", seed=3, batch_size=4, block_bytes=4096, window_blocks=3)
    pipeline = wds.DataPipeline(stage, wds.map(number), wds.batched(4, collation_fn=same))
    reference = list(pipeline)
    loader = wds.WebLoader(
        pipeline, batch_size=None, num_workers=2, multiprocessing_context=method, persistent_workers=True
    )
    assert list(loader) == reference
    stage.set_epoch(1)
    second = list(loader)
    assert second != reference and sorted(itertools.chain(*second)) == list(range(46))
    stage.load_state_dict(stage.state_after(5))
    assert list(loader) == second[5:]
    assert list(loader) == second
"""


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_of_a_web_loader(folder, tmp_path, method):
    needs("torch")
    script = tmp_path / "script.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{LOADERS}")
    subprocess.run([sys.executable, str(script), folder, method], check=True)


# Writing


def test_what_webdatasets_writer_takes(tmp_path):
    """Every kind of value that both encode; the library reads both datasets, and sees the same."""
    rows = [
        {
            "__key__": f"a/{i:03d}",
            "jpg": make_jpeg(seed=i),
            "png": np.full((4, 5, 3), i, np.uint8),
            "mask.png": Image.new("L", (3, 2), i),
            "json": {"i": i, "ä": [1.5, None]},
            "cls": i,
            "txt": "größe",
            "npy": np.arange(i),
            "raw": b"x" * i,
            "_note": "left out",
        }
        for i in range(12)
    ]
    for writer in (
        wds.ShardWriter(str(tmp_path / "theirs-%06d.tar"), maxcount=5, verbose=0),
        ShardWriter(tmp_path / "ours" / "train-%06d.tar", maxcount=5, verbose=0),
    ):
        with writer:
            for row in rows:
                writer.write(row)
    ds = shardpack.open(tmp_path / "ours")
    assert [shard.num_samples for shard in ds.shards] == [5, 5, 2]

    def without_url(found):
        return [{name: value for name, value in sample.items() if name != "__url__"} for sample in found]

    truth = without_url(judged(sorted(map(str, tmp_path.glob("*.tar")))))
    assert without_url(judged(urls(ds))) == without_url(samples(ds)) == truth
    assert ds["a/003"].decode("png").getpixel((0, 0)) == (3, 3, 3)
    shardpack.verify(tmp_path / "ours")


def test_where_it_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for pattern, folder in [("plain", "plain"), ("a/b-%04d.tar", "a"), ("c/d.tar", "c"), ("e-%d.tar", ".")]:
        with ShardWriter(pattern, maxsize=1e6, verbose=1) as writer:
            writer.write({"__key__": "k", "txt": "x"})
        assert len(shardpack.open(tmp_path / folder)) == 1
    with pytest.raises(OutputExistsError):
        ShardWriter("plain")
    with ShardWriter("plain", force=True, rename_keys=True) as writer:
        writer.write({"__key__": "a b", "txt": "x"})


def test_caps_are_hard(tmp_path):
    with ShardWriter(tmp_path, maxsize=20_000) as writer:
        for i in range(20):
            writer.write({"__key__": f"{i}", "bin": bytes(5000)})
        writer.write({"__key__": "large", "bin": bytes(50_000)})
    sizes = [shard.num_bytes for shard in shardpack.open(tmp_path).shards]
    assert max(sizes[:-1]) <= 20_000 < sizes[-1]


def test_encoders(tmp_path):
    with ShardWriter(tmp_path / "a", encoder=False) as writer:
        writer.write({"__key__": "k", "jpg": b"bytes"})
        with pytest.raises(OptionError):
            writer.write({"__key__": "l", "cls": object()})
    with ShardWriter(
        tmp_path / "b", encoder={"txt": lambda value: b"%d" % value, "num": partial(str.encode, encoding="ascii")}
    ) as writer:
        writer.write({"__key__": "k", "txt": 3, "num": "7"})
    assert dict(shardpack.open(tmp_path / "b")["k"]) == {"num": b"7", "txt": b"3"}


def test_errors(tmp_path):
    with pytest.raises(InvalidKeyError), ShardWriter(tmp_path / "none") as writer:
        writer.write({"__key__": "k"})
    with pytest.raises(shardpack.ShardpackError):
        shardpack.open(tmp_path / "none")
    with ShardWriter(tmp_path / "some") as writer:
        with pytest.raises(InvalidKeyError, match="lacks __key__"):
            writer.write({"txt": "x"})
        with pytest.raises(InvalidKeyError):
            writer.write({"__key__": "a.b", "txt": "x"})
        with pytest.raises(OptionError, match=r"no handler found for wav \(key='k'\)"):
            writer.write({"__key__": "k", "wav": 3})
        with pytest.raises(OptionError, match="cannot be encoded: AssertionError"):
            writer.write({"__key__": "k", "png": 3})
        writer.write({"__key__": "k", "txt": "x"})
    assert len(shardpack.open(tmp_path / "some")) == 1


def test_compressed_shards(tmp_path, folder):
    judge_module("zstandard")
    program = judge("zstd")
    shardpack.pack(shardpack.open(folder), tmp_path / "out", compress={"shards": "zstd:3"}, max_shard_samples=20)
    plain = [{name: value for name, value in sample.items() if name != "__url__"} for sample in samples(folder)]
    ours = list(samples(tmp_path / "out"))
    assert [{name: value for name, value in sample.items() if name != "__url__"} for sample in ours] == plain
    assert {sample["__url__"] for sample in ours} == set(urls(tmp_path / "out"))
    found = judged([f"pipe:{program} -dc {url}" for url in urls(tmp_path / "out")])
    assert [{name: value for name, value in sample.items() if name != "__url__"} for sample in found] == plain
