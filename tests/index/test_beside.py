"""What other tools have left beside the tars."""

from __future__ import annotations

import json

import pytest

import shardpack
from shardpack.errors import SourceError
from shardpack.index.beside import Beside, look_beside
from shardpack.index.find import find_tars
from shardpack.sources.class_list import CLASS_LIST, class_list_text
from shardpack.sources.stated_splits import StatedSplits
from shardpack.storage.memory import MemoryStore
from tests.export.indexes.test_index_source import write_tar

SPLITS = "split_parts:\n  train:\n  - t-{0..1}.tar\n  val:\n  - t-2.tar\n"


@pytest.fixture
def tars(tmp_path):
    (tmp_path / "set").mkdir()
    for number in range(3):
        write_tar(tmp_path / "set" / f"t-{number}.tar", {f"{number}/a.jpg": b"1", f"{number}/b.jpg": b"2"})
    return tmp_path / "set"


def state(folder, text=SPLITS):
    (folder / ".nv-meta").mkdir(exist_ok=True)
    (folder / ".nv-meta" / "split.yaml").write_text(text, encoding="utf-8")


def test_splits_of_energon_are_kept(tars):
    state(tars)
    report = shardpack.index(tars)
    assert report.splits == {"train": 4, "val": 2}
    assert report.splits_from == ".nv-meta/split.yaml"
    ds = shardpack.open(tars)
    assert [sample.key for sample in ds.split("val")] == ["2/a", "2/b"]
    assert shardpack.open(tars / "t-{1..2}.tar", index="memory").splits == {"train": 2, "val": 2}


def test_splits_that_change_make_a_generation(tars):
    assert shardpack.index(tars).splits == {}
    state(tars)
    shardpack.index(tars, force=True)
    ds = shardpack.open(tars)
    assert (ds.manifest.generation, ds.splits) == (2, {"train": 4, "val": 2})
    shardpack.index(tars, force=True)
    assert shardpack.open(tars).manifest.generation == 2
    (tars / ".nv-meta" / "split.yaml").unlink()
    shardpack.index(tars, force=True)
    assert shardpack.open(tars).splits == {"train": 4, "val": 2}  # as the generation before has them


def test_splits_one_folder_above(tmp_path, tars):
    state(tmp_path, "split_parts: {train: ['set/t-0.tar']}")
    assert look_beside(find_tars(tars)).splits == StatedSplits("../.nv-meta/split.yaml", {"t-0.tar": "train"})


def test_impossible_splits_stop_before_anything_is_written(tars):
    state(tars, "split_parts: {train: [t-0.tar], val: [t-0.tar]}")
    with pytest.raises(SourceError, match="correct it"):
        shardpack.index(tars)
    assert not (tars / ".shardpack").exists()


def test_in_a_store(tars):
    files = {path.name: path.read_bytes() for path in tars.iterdir()}
    store = MemoryStore({**files, ".nv-meta/split.yaml": SPLITS.encode()})
    assert shardpack.index(store).splits == {"train": 4, "val": 2}
    assert look_beside(find_tars(MemoryStore(files))) == Beside(StatedSplits())


def test_lists_of_files_beside_tars_are_no_samples(tars):
    shardpack.index(tars)
    shardpack.export(shardpack.open(tars), to="hfutils")
    listed = {"wids_version": 1, "shardlist": [{"url": f"t-{i}.tar"} for i in range(3)]}
    (tars / "shardindex.json").write_text(json.dumps(listed), encoding="utf-8")
    (tars / "t-0.parquet").write_bytes(b"no table")
    report = shardpack.index(tars, force=True)
    assert report.tables == ("t-0.parquet",)
    assert report.num_samples == 6


def test_class_names_of_an_export_are_kept(tars):
    (tars / CLASS_LIST).write_text(class_list_text(["zebra", "no sample", "ant"]), encoding="utf-8")
    shardpack.index(tars)
    assert shardpack.open(tars).classes == ("zebra", "no sample", "ant")
    assert shardpack.open(tars / "t-*.tar", index="memory").classes == ("zebra", "no sample", "ant")
    store = MemoryStore({path.name: path.read_bytes() for path in tars.iterdir() if path.is_file()})
    assert look_beside(find_tars(store)).classes == ("zebra", "no sample", "ant")


def test_class_names_that_come_later_make_a_generation_and_others_do_not(tars):
    shardpack.index(tars)
    for names in (["a", "b"], ["b"]):
        (tars / CLASS_LIST).write_text(class_list_text(names), encoding="utf-8")
        shardpack.index(tars, force=True)
        ds = shardpack.open(tars)
        assert (ds.manifest.generation, ds.classes) == (2, ("a", "b"))


def test_a_damaged_class_list_stops_before_anything_is_written(tars):
    (tars / CLASS_LIST).write_text("names:\n  7: x\n", encoding="utf-8")
    with pytest.raises(SourceError, match="expected a name for each"):
        shardpack.index(tars)
    assert not (tars / ".shardpack").exists()
