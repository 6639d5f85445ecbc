"""The table of the next generation: the same as one made anew, at a cost in proportion to the edit."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

import shardpack
from shardpack.edit.base import open_base
from shardpack.edit.table import table as make_table
from shardpack.format.splits import Splits
from shardpack.table import update
from shardpack.table.read_table import LabelTable, TableFiles
from shardpack.table.rows import Naming
from shardpack.table.schema import plain_values
from shardpack.table.update import Change, updated_table
from tests.table.datasets import cache_of, labelled, positions

OLD = [{"class": "ab"[n % 2], "n": n} for n in range(20)]
NEW = [{"class": "z", "n": n + 0.5, "extra": [n]} for n in range(20)]


@pytest.fixture
def base(tmp_path):
    folder = labelled(tmp_path / "ds", OLD)
    make_table(folder)
    return open_base(folder)


@pytest.fixture
def edited(tmp_path):
    """The same dataset after an edit that changed all labels."""
    return cache_of(labelled(tmp_path / "edited", NEW))


def apply(base, change):
    """Return the updated table, open, and the manifest that names it; nothing that is there is written again."""
    files = {}

    def put(name, parts):
        assert base.target.size(name) is None
        files[name] = sum(map(len, parts))
        base.store.put(name, b"".join(parts))

    result = updated_table(base, change, put=put)
    assert not result.dropped
    old = {file.name for file in base.manifest.table}
    assert {f".shardpack/{file.name}": file.num_bytes for file in result.table if file.name not in old} == files
    added = 0 if change.appended is None else change.appended.manifest.num_samples
    manifest = replace(
        base.manifest,
        table=result.table,
        generation=base.manifest.generation + 1,
        num_samples=base.manifest.num_samples + added,
    )
    return LabelTable.open(base.store, manifest), manifest


def column(table, name):
    return [value for _, _, piece in table.pieces([name]) for value in plain_values(piece[name], table.types[name])]


def own(table, name):
    return [value for _, _, piece in table.pieces([name]) for value in piece[name].to_pylist()]


def test_appended_samples_make_a_file(base, edited):
    table, manifest = apply(base, Change(Naming(), appended=edited))
    assert [file.num_samples for file in manifest.table] == [20, 20]
    assert manifest.table[0] == base.manifest.table[0]
    assert own(table, "position") == list(range(40))
    assert own(table, "class") == [*("ab"[n % 2] for n in range(20)), *"z" * 20]
    assert column(table, "n") == [*range(20), *(n + 0.5 for n in range(20))]
    assert column(table, "extra") == [*[None] * 20, *([n] for n in range(20))]


def test_few_changed_samples_make_a_patch(base, edited):
    table, manifest = apply(base, Change(Naming(), edited=edited, changed=positions(3, 7)))
    assert [file.num_samples for file in manifest.table] == [20, 2]
    assert column(table, "n") == [n + 0.5 if n in (3, 7) else n for n in range(20)]


def test_appended_samples_come_before_patches(base, edited):
    change = Change(Naming(), edited=edited, changed=positions(3), appended=edited)
    table, manifest = apply(base, change)
    assert [file.num_samples for file in manifest.table] == [20, 20, 1]
    found = TableFiles.of(manifest)
    assert (len(found.base), len(found.patches)) == (2, 1)
    assert column(table, "n")[:4] == [0, 1, 2, 3.5]


def test_many_patches_become_one(base, edited, monkeypatch):
    monkeypatch.setattr(update, "MAX_PATCHES", 2)
    monkeypatch.setattr(update, "MAX_PATCHED", 3)
    for number in (3, 5, 3):
        table, manifest = apply(base, Change(Naming(), edited=edited, changed=positions(number)))
        base = replace(base, manifest=manifest)
    assert [file.num_samples for file in manifest.table] == [20, 2]
    assert column(table, "n") == [n + 0.5 if n in (3, 5) else n for n in range(20)]


def test_large_patches_become_base_files(base, edited):
    for number in (3, 5, 7):
        table, manifest = apply(base, Change(Naming(), edited=edited, changed=positions(number)))
        base = replace(base, manifest=manifest)
    assert [file.num_samples for file in manifest.table] == [20]
    assert column(table, "n") == [n + 0.5 if n in (3, 5, 7) else n for n in range(20)]
    assert own(table, "key") == [f"{n:03d}" for n in range(20)]


def test_changes_of_most_samples_make_all_rows_anew(base, edited):
    table, manifest = apply(base, Change(Naming(), edited=edited, changed=np.arange(5)))
    assert [file.num_samples for file in manifest.table] == [20]
    assert column(table, "n") == [n + 0.5 for n in range(20)]


TRAIN, VAL = ["train"] * 15 + ["val"] * 5, ["val"] * 4 + ["train"] * 16


def in_splits(base, names, **change):
    """Return the table once all samples are in the splits of these names, and the generation after."""
    splits = Splits.of_runs((name, 1) for name in names)
    table, manifest = apply(base, Change(Naming(None, splits), new_splits=True, **change))
    return table, replace(base, manifest=manifest)


def test_new_splits_are_a_file_of_their_own(base, edited):
    _, manifest = apply(base, Change(Naming(), edited=edited, changed=positions(3)))
    base = replace(base, manifest=manifest)
    before = manifest.table
    for names in (TRAIN, VAL):
        table, base = in_splits(base, names)
        assert own(table, "split") == names
        assert base.manifest.table[:2] == before
        assert [file.has_splits_only for file in base.manifest.table] == [False, False, True]
        assert column(table, "n")[2:5] == [2, 3.5, 4]


def test_splits_of_many_samples_are_several_files(base, monkeypatch):
    monkeypatch.setattr(update, "FILE_ROWS", 8)
    table, base = in_splits(base, TRAIN)
    assert [file.num_samples for file in TableFiles.of(base.manifest).splits] == [8, 8, 4]
    assert own(table, "split") == TRAIN


def test_edits_behind_a_split_keep_it(base, edited):
    _, base = in_splits(base, TRAIN)
    splits = Splits.of_runs((name, 1) for name in TRAIN + VAL)
    change = Change(Naming(None, splits), edited=edited, changed=positions(3, 19), appended=edited)
    table, manifest = apply(base, change)
    assert [file.num_samples for file in manifest.table] == [20, 20, 2, 20]
    assert own(table, "split") == TRAIN + VAL
    assert column(table, "n")[2:5] == [2, 3.5, 4]


def test_rows_made_anew_have_their_splits_in_them(base, edited):
    _, base = in_splits(base, TRAIN)
    change = Change(Naming(None, Splits.of_runs((name, 1) for name in TRAIN)), edited=edited, changed=np.arange(5))
    table, manifest = apply(base, change)
    assert [file.num_samples for file in manifest.table] == [20]
    assert own(table, "split") == TRAIN


def test_no_change_keeps_the_files(base):
    assert updated_table(base, Change(Naming()), put=None).table == base.manifest.table


def test_datasets_without_a_table_get_none(tmp_path, edited):
    base = open_base(labelled(tmp_path / "other", OLD))
    assert updated_table(base, Change(Naming(), appended=edited), put=None) == update.TableUpdate(())


def test_without_the_library_the_table_is_dropped_and_that_is_said(base, edited, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    found = updated_table(base, Change(Naming(), appended=edited), put=None)
    assert found.table == ()
    assert found.dropped.startswith("the label table is dropped, as the label table needs pyarrow; run pip install")
    assert found.dropped.endswith(f'then "shardpack table {base.location}"')


def test_types_of_base_files_stay(base, edited):
    """A column of whole numbers gets fractions in a new file; the old one is read as if it had them."""
    table, _ = apply(base, Change(Naming(), appended=edited))
    assert table.types["n"].name == "float"
    assert shardpack.open(base.location).manifest.table == base.manifest.table


def test_many_short_base_files_become_fewer(tmp_path, base):
    one = cache_of(labelled(tmp_path / "one", [{"n": 7.5}]))
    base = replace(base, manifest=apply(base, Change(Naming(), edited=one, changed=positions(0)))[1])
    counts = []
    for _ in range(20):
        table, manifest = apply(base, Change(Naming(), appended=one))
        base = replace(base, manifest=manifest)
        counts.append([file.num_samples for file in TableFiles.of(manifest).base])
    assert max(map(len, counts)) == 8
    assert counts[6:9] == [[20, 1, 1, 1, 1, 1, 1, 1], [20, 8], [20, 8, 1]]
    assert own(table, "position") == list(range(40))
    assert column(table, "n") == [7.5, *range(1, 20), *[7.5] * 20]
    assert own(table, "key") == [f"{n:03d}" for n in range(20)] + ["000"] * 20


def test_json_text_is_the_same_whatever_the_history(tmp_path):
    labels = [{"v": 1, "o": {"b": None, "c": 2, "C": 1}}, {"v": 2.5}, {"v": 3.0}, {"v": "x", "o": [1]}]
    shardpack.pack([(f"k{n}", {"json": label}) for n, label in enumerate(labels[:3])], tmp_path / "ds")
    make_table(tmp_path / "ds")
    shardpack.append([("k3", {"json": labels[3]})], tmp_path / "ds")
    edited = shardpack.open(tmp_path / "ds")
    make_table(tmp_path / "ds", force=True)
    rebuilt = shardpack.open(tmp_path / "ds")
    assert edited.table().to_pylist() == rebuilt.table().to_pylist()
    assert [row["v"] for row in edited.table(["v"]).to_pylist()] == ["1", "2.5", "3", '"x"']
    assert list(edited.where("v = '1'").keys()) == ["k0"]
