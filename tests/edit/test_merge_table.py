"""Label tables of merged datasets: joined where all have one, and the next step said where not."""

from __future__ import annotations

import pytest

import shardpack

pytest.importorskip("pyarrow")


@pytest.fixture
def labelled(tmp_path):
    """Two datasets with label tables, of which the second has other labels, a deleted sample and splits."""
    for name, more in (("a", {}), ("b", {"score": 0.5})):
        rows = [(f"{name}/{n}", {"json": {"class": "cat", "n": n, **more}}) for n in range(3)]
        shardpack.pack(rows, tmp_path / name, classes=["cat"])
        shardpack.split(tmp_path / name, {"train": 1})
        shardpack.table(tmp_path / name)
    shardpack.delete(tmp_path / "b", ["b/1"])
    return [tmp_path / "a", tmp_path / "b"]


def rows_of(place):
    with shardpack.open(place) as ds:
        return ds.table().to_pylist()


@pytest.mark.parametrize("copy", [False, True])
def test_tables_are_joined(labelled, tmp_path, copy):
    said = []
    out = tmp_path / "out"
    shardpack.relabel(labelled[0], {"a/1": {"class": "cat", "n": 10}})  # a patch
    shardpack.merge(labelled, out, copy=copy, announce=said.append)
    assert said == []
    joined = rows_of(out)
    assert [(row["key"], row["split"], row["n"], row["score"]) for row in joined] == [
        ("a/0", "train", 0, None), ("a/1", "train", 10, None), ("a/2", "train", 2, None),
        ("b/0", "train", 0, 0.5), ("b/2", "train", 2, 0.5),
    ]  # fmt: skip
    assert shardpack.verify(out, full=True).problems == ()
    shardpack.table(out, force=True)
    assert rows_of(out) == joined


def test_where_one_has_none_the_next_step_is_said(labelled, tmp_path):
    shardpack.pack([("c", {"json": {"class": "cat"}})], tmp_path / "c", classes=["cat"])
    shardpack.split(tmp_path / "c", {"train": 1})
    said = []
    out = tmp_path / "out"
    shardpack.merge([*labelled, tmp_path / "c"], out, announce=said.append)
    assert said == [f'{out} has no label table; "shardpack table {out}" makes it']
    assert shardpack.open(out).manifest.table == ()


def test_where_classes_get_other_numbers_the_table_is_made_anew(labelled, tmp_path):
    shardpack.pack([("c", {"json": {"label": 0}})], tmp_path / "c", classes=["dog"])
    shardpack.split(tmp_path / "c", {"train": 1})
    shardpack.table(tmp_path / "c")
    said = []
    shardpack.merge([*labelled, tmp_path / "c"], tmp_path / "out", reconcile=True, announce=said.append)
    assert len(said) == 1
