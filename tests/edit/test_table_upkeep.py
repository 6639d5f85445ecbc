"""Edits that change labels or splits bring the table with them, or drop it: it never says what was."""

from __future__ import annotations

import io
import sys
from functools import partial

import pytest
from PIL import Image

import shardpack
from shardpack.edit.base import open_base
from shardpack.edit.table_upkeep import next_with_table
from shardpack.format.next_generation import next_generation
from shardpack.format.splits import Splits
from tests.table.datasets import labelled, positions

LABELS = [{"class": "ab"[n % 2], "n": n} for n in range(9)]


def make_png(width):
    file = io.BytesIO()
    Image.new("RGB", (width, 9)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    folder = labelled(tmp_path / "ds", LABELS)
    shardpack.table(folder)
    return folder


def committed(folder, changed=None, **edit):
    base = open_base(folder)
    with base.begin("split", run_digest=str(edit)) as transaction:
        make = partial(next_generation, base.manifest, base.text, **edit)
        transaction.commit(*next_with_table(base, transaction, make, changed=changed))
    return shardpack.open(folder)


def test_new_splits_are_in_the_table(folder):
    ds = committed(folder, splits=Splits.of_runs([("train", 6), ("val", 3)]))
    assert ds.manifest.generation == 3
    assert ds.table(["split"])["split"].to_pylist() == ["train"] * 6 + ["val"] * 3
    assert len(ds.where("split = 'val'")) == ds.splits["val"] == 3


def test_split_keeps_the_table_up_to_date(folder):
    shardpack.split(folder, fraction={"train": 0.67, "val": 0.33})
    ds = shardpack.open(folder)
    for name in ("train", "val"):
        chosen = ds.where(f"split = '{name}'")
        assert list(chosen.keys()) == list(ds.split(name).keys())
        assert len(chosen)


def test_changed_samples_are_read_again(folder):
    ds = committed(folder, changed=positions(3, 1, 3))
    assert [file.num_samples for file in ds.manifest.table] == [9]
    assert ds.table(["n"])["n"].to_pylist() == list(range(9))


def test_without_a_table_it_is_the_plain_next_generation(tmp_path):
    folder = labelled(tmp_path / "ds", LABELS)
    assert committed(folder, changed=positions(3)).manifest.table == ()


def test_without_the_library_the_table_is_dropped_and_that_is_said(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    said = []
    base = open_base(folder)
    with base.begin("split", run_digest="x") as transaction:
        make = partial(next_generation, base.manifest, base.text)
        manifest, _ = next_with_table(base, transaction, make, changed=positions(1), announce=said.append)
    assert manifest.table == ()
    assert len(said) == 1
    assert "the label table is dropped" in said[0]


def test_an_edit_that_does_not_care_has_no_table(folder):
    base = open_base(folder)
    for edit in ({"splits": None}, {"layers": []}):
        manifest, _ = next_generation(base.manifest, base.text, **edit)
        assert manifest.table == ()
    kept, _ = next_generation(base.manifest, base.text, deleted=positions(1), base_chain=base.chain())
    assert kept.table == base.manifest.table


def test_relabel_attach_and_detach_are_in_the_table(folder, tmp_path):
    shardpack.relabel(folder, {"003": {"class": "z", "n": 33}, "004": {"n": 44}}, update=True)
    assert shardpack.open(folder).table(["n"])["n"].to_pylist() == [0, 1, 2, 33, 44, 5, 6, 7, 8]
    assert list(shardpack.open(folder).where("class = 'z'").keys()) == ["003"]
    with shardpack.ShardWriter(tmp_path / "more") as writer:
        for key in ("001", "008"):
            writer.write(key, {"caption.json": {"text": f"a {key}"}, "png": make_png(70)})
    shardpack.attach(folder, tmp_path / "more")
    ds = shardpack.open(folder)
    assert list(ds.where("\"caption.json.text\" = 'a 008'").keys()) == ["008"]
    assert len(ds.where("width is null")) == 0
    shardpack.detach(folder, str(ds.manifest.layers[-1].location))
    ds = shardpack.open(folder)
    assert ds.table(["n"])["n"].to_pylist() == [0, 1, 2, 33, 44, 5, 6, 7, 8]
    assert set(ds.table(["caption.json.text"])["caption.json.text"].to_pylist()) == {None}
    shardpack.delete(folder, ["003"])
    assert shardpack.open(folder).table(["n"])["n"].to_pylist() == [0, 1, 2, 44, 5, 6, 7, 8]


def test_layers_of_other_fields_leave_the_table_as_it_is(folder, tmp_path):
    with shardpack.ShardWriter(tmp_path / "more") as writer:
        writer.write("001", {"npy": b"x"})
    before = shardpack.open(folder).manifest.table
    shardpack.attach(folder, tmp_path / "more")
    assert shardpack.open(folder).manifest.table == before
    shardpack.detach(folder)
    assert shardpack.open(folder).manifest.table == before


def test_splits_are_drawn_where_mended_labels_are_patches_of_the_table(folder):
    keys = list(shardpack.open(folder).keys())
    shardpack.relabel(folder, {keys[1]: {"class": "bird"}}, new_classes=True)
    shardpack.split(folder, fraction={"train": 0.67, "val": 0.33})
    ds = shardpack.open(folder)
    assert len(ds.where("split = 'val'")) == ds.splits["val"]
    assert list(ds.where("class = 'bird'").keys()) == [keys[1]]
