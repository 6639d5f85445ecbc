"""Rows made of shards on their way are those of the dataset that is published."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from shardpack.format.layout import index_path
from shardpack.format.splits import Splits
from shardpack.runtime.engine import IN_PROCESS
from shardpack.table.packed_rows import PackedRows, rows_before_upload
from shardpack.table.rows import Naming
from shardpack.table.tasks import rows_of_dataset
from tests.table.datasets import cache_of, labelled, one_table, positions

LABELS = [
    {"label": n % 2, "n": n if n != 7 else "x", "boxes": [[n, 1]], **({"late": 1.5} if n == 8 else {})}
    for n in range(10)
]


def packed(folder, scratch, *, but=(), classes=("a", "b"), **limits):
    """Return the rows of the shards of a dataset but for some, as if they were uploaded."""
    scratch.mkdir()
    rows = PackedRows(str(scratch), **limits)
    for info in cache_of(folder).shard_list:
        if info.name not in but:
            add(rows, folder, info, classes)
    return rows


def add(rows, folder, info, classes=None):
    rows.add(info.index_path, Path(folder, info.index_path), classes=classes)
    rows.add(info.name, Path(folder, info.name), classes=classes)


def has_all(rows, cache):
    return rows.has_all(cache.shard_list, cache.manifest.classes)


def rows_of(rows, cache):
    naming = Naming(cache.manifest.classes, cache.splits)
    return rows.rows(cache.shard_list, naming, partial(rows_of_dataset, cache, IN_PROCESS))


def table_of(rows):
    table, types = one_table(list(rows))
    return table.to_pylist(), list(types.items())


@pytest.mark.parametrize("compress", [None, {"shards": "zstd:1"}])
@pytest.mark.parametrize("missing", [(), (0,), (1, 2), (0, 1, 2)])
def test_rows_are_those_of_the_dataset(tmp_path, compress, missing):
    folder = labelled(tmp_path / "ds", LABELS, max_shard_samples=4, classes=["a", "b"], compress=compress)
    cache = cache_of(folder)
    rows = packed(folder, tmp_path / "rows", but=[cache.shard_list[number].name for number in missing])
    assert has_all(rows, cache) == (not missing)
    assert table_of(rows_of(rows, cache)) == table_of(rows_of_dataset(cache, IN_PROCESS))


def test_no_shard_is_opened_whose_rows_are_kept(tmp_path):
    folder = labelled(tmp_path / "ds", LABELS, max_shard_samples=4, classes=["a", "b"])
    rows = packed(folder, tmp_path / "rows")
    expected = table_of(rows_of_dataset(cache_of(folder), IN_PROCESS))
    for tar in Path(folder).glob("*.tar"):
        tar.unlink()
    assert table_of(rows_of(rows, cache_of(folder))) == expected


def test_splits_are_those_of_the_published_dataset(tmp_path):
    folder = labelled(tmp_path / "ds", LABELS, max_shard_samples=4)
    cache = cache_of(folder)
    numbers = [0, 0, 0, 1, 1, 0, 0, 0, 1, 1]
    cache.splits = Splits.of_numbers(["train", "val"], positions(*numbers))
    found = one_table(list(rows_of(packed(folder, tmp_path / "rows", classes=None), cache)))[0]
    assert found["split"].to_pylist() == [("train", "val")[n] for n in numbers]
    assert found["position"].to_pylist() == list(range(10))


def test_other_classes_or_other_shards_are_read(tmp_path):
    folder = labelled(tmp_path / "ds", LABELS, max_shard_samples=4, classes=["a", "b"])
    assert not has_all(packed(folder, tmp_path / "rows", classes=("b", "a")), cache_of(folder))
    other = labelled(tmp_path / "other", [{"m": 1}] * 10, max_shard_samples=4, classes=["a", "b"])
    assert not has_all(packed(folder, tmp_path / "more"), cache_of(other))


@pytest.mark.parametrize("labels", [[b"{"], [{f"n{n}": 1 for n in range(600)}]], ids=["damaged", "many"])
def test_rows_that_would_not_be_the_same_are_not_kept(tmp_path, labels):
    folder = labelled(tmp_path / "ds", labels)
    assert not has_all(packed(folder, tmp_path / "rows", classes=None), cache_of(folder))


@pytest.mark.parametrize(
    ("max_bytes", "max_row_bytes", "kept"), [(0, 0, False), (0, 1 << 20, True), (1 << 20, 0, True)]
)
def test_many_long_rows_are_read(tmp_path, max_bytes, max_row_bytes, kept):
    folder = labelled(tmp_path / "ds", LABELS, max_shard_samples=4)
    rows = packed(folder, tmp_path / "rows", classes=None, max_bytes=max_bytes, max_row_bytes=max_row_bytes)
    assert has_all(rows, cache_of(folder)) == kept


def test_a_tar_without_its_index_is_let_by(tmp_path):
    folder = labelled(tmp_path / "ds", LABELS)
    rows = PackedRows(str(tmp_path / "rows"))
    rows.add("shard-000000.tar", Path(folder, "shard-000000.tar"), classes=None)
    rows.add("rejected.jsonl", Path(folder, "missing"), classes=None)
    assert not has_all(rows, cache_of(folder))


def test_rows_of_samples_behind_others(tmp_path):
    folder = labelled(tmp_path / "ds", LABELS, max_shard_samples=4)
    naming = Naming(None, Splits.of_numbers(["train", "val"], positions(*[0] * 103, *[1] * 7)))
    shards = cache_of(folder).shard_list
    found = one_table(list(packed(folder, tmp_path / "rows", classes=None).rows(shards, naming, no_rows, first=100)))[0]
    assert found["position"].to_pylist() == list(range(100, 110))
    assert found["split"].to_pylist() == [*["train"] * 3, *["val"] * 7]


def no_rows(begin, end):
    assert begin == end
    return iter(())


def test_an_index_of_another_location_is_that_of_the_shard(tmp_path):
    folder = labelled(tmp_path / "ds", LABELS, classes=["a", "b"])
    (info,) = cache_of(folder).shard_list
    rows = packed(folder, tmp_path / "rows", but=[info.name])
    rows.add(index_path(info.name, 3), Path(folder, info.index_path), classes=("a", "b"))
    rows.add(info.name, Path(folder, info.name), classes=("a", "b"))
    assert has_all(rows, cache_of(folder))


def test_the_folder_of_rows_is_deleted(tmp_path):
    folder = labelled(tmp_path / "ds", LABELS)
    with rows_before_upload(tmp_path / "new" / "work") as rows:
        for info in cache_of(folder).shard_list:
            add(rows, folder, info)
        assert has_all(rows, cache_of(folder))
        assert list((tmp_path / "new" / "work").iterdir())
    assert not list((tmp_path / "new" / "work").iterdir())
