"""Columns of several files: base files one behind the other, and patches whose rows replace theirs."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import CorruptIndexError, OptionError
from shardpack.format.layout import table_name
from shardpack.format.manifest import Manifest, TableFile
from shardpack.storage.local import LocalStore
from shardpack.table.build import write_rows
from shardpack.table.parquet import TablePart, write_file
from shardpack.table.read_table import LabelTable, TableFiles, latest_rows
from shardpack.table.rows import Rows
from shardpack.table.schema import plain_values
from shardpack.table.update import named
from tests.strategies import examples
from tests.table.test_rows import rows_of_labels
from tests.table.test_schema import VALUES, without_nulls


def part_of(folder, number, pairs):
    """Return a file with rows of (position, label), open."""
    rows = rows_of_labels([label for _, label in pairs])
    table = rows.table.set_column(1, "position", [[position for position, _ in pairs]])
    scratch = folder / f"scratch{number}"
    scratch.mkdir()
    ((file, path),) = named(write_rows([Rows(table, rows.types)], str(scratch)), generation=number + 1)
    final = folder / ".shardpack" / file.name
    final.parent.mkdir(parents=True, exist_ok=True)
    Path(path).replace(final)
    return TablePart(LocalStore(str(folder)), file)


def all_values(table, column):
    return [
        value for _, _, found in table.pieces([column]) for value in plain_values(found[column], table.types[column])
    ]


def files(*counts):
    return tuple(TableFile(f"table/{n:06d}-00000000.parquet", 1, 0, count) for n, count in enumerate(counts))


def test_which_files_are_patches():
    manifest = Manifest(
        generation=1, fingerprint="0" * 16, num_samples=5, num_bytes=0, num_shards=0, samples_per_field={},
        table_segments=(), key_segments=(), table=files(2, 3, 1, 5),
    )  # fmt: skip
    splits = (TableFile("table/splits-000002-00000000.parquet", 1, 0, 4),)
    for more in ((), splits):
        found = TableFiles.of(replace(manifest, table=(*manifest.table, *more)))
        assert [file.num_samples for file in found.base] == [2, 3]
        assert [file.num_samples for file in found.patches] == [1, 5]
        assert found.splits == more
        assert found.all == (*manifest.table, *more)
    assert TableFiles.of(replace(manifest, table=())) == TableFiles(())


def splits_part(folder, first, names):
    """Return a file of splits from a position on, open."""
    rows = pa.table({"position": np.arange(first, first + len(names)), "split": pa.array(names, pa.string())})
    written = write_file(str(folder / "splits"), rows, {})
    file = TableFile(table_name(9, written.crc32c, of_splits=True), written.num_bytes, written.crc32c, len(names))
    final = folder / ".shardpack" / file.name
    final.parent.mkdir(parents=True, exist_ok=True)
    Path(written.path).replace(final)
    return TablePart(LocalStore(str(folder)), file)


@pytest.mark.parametrize("cuts", [[0, 4], [0, 1, 4], [0, 2, 3, 4], [0, 5], []])
def test_splits_of_the_first_rows_replace_theirs(tmp_path, cuts):
    base = [part_of(tmp_path, n, [(n * 2, {}), (n * 2 + 1, {})]) for n in range(3)]
    names = ["train", None, "val", "train", "test", "test"]
    parts = [splits_part(tmp_path, a, names[a:b]) for a, b in pairwise(cuts)]
    table = LabelTable(base, [part_of(tmp_path, 7, [(1, {}), (4, {})])], parts)
    found = [value for _, _, piece in table.pieces(["key", "split"]) for value in piece["split"].to_pylist()]
    known = max(cuts, default=0)
    assert found == names[:known] + [None] * (6 - known)


def test_splits_of_other_positions_are_refused(tmp_path):
    base = [part_of(tmp_path, 0, [(0, {}), (1, {})])]
    table = LabelTable(base, [], [splits_part(tmp_path, 1, ["a", "b"])])
    with pytest.raises(CorruptIndexError, match="its positions are not those that follow one another"):
        list(table.pieces(["split"]))
    assert len(list(table.pieces(["key"]))) == 1, "what is not asked for is not read"


def test_rows_of_patches_replace_others(tmp_path):
    base = [part_of(tmp_path, 0, [(0, {"a": 1}), (1, {"a": 2})]), part_of(tmp_path, 1, [(2, {"a": 3})])]
    patches = [part_of(tmp_path, 2, [(1, {"a": "x"}), (2, {})]), part_of(tmp_path, 3, [(1, {"b": True, "a": 7})])]
    table = LabelTable(base, patches)
    assert all_values(table, "a") == [1, 7, None]
    assert all_values(table, "b") == [None, True, None]
    assert [(first, count) for first, count, _ in table.pieces([])] == [(0, 2), (2, 1)]
    assert [found["position"].to_pylist() for _, _, found in table.pieces(["position"])] == [[0, 1], [2]]


@examples(60)
@given(st.data())
def test_tables_are_like_dicts(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("table")
    labels = data.draw(st.lists(VALUES.map(lambda value: {"v": value}), min_size=1, max_size=6))
    cut = data.draw(st.integers(0, len(labels) - 1))
    pairs = list(enumerate(labels))
    base = [part_of(folder, n, some) for n, some in enumerate((pairs[:cut], pairs[cut:])) if some]
    model = dict(pairs)
    patches = []
    for number in range(data.draw(st.integers(0, 3))):
        patch = data.draw(
            st.dictionaries(st.sampled_from(range(len(labels))), VALUES.map(lambda value: {"v": value}), min_size=1)
        )
        patches.append(part_of(folder, 10 + number, sorted(patch.items())))
        model |= patch
    expected = [without_nulls(model[position]["v"]) for position in range(len(labels))]
    assert list(map(without_nulls, all_values(LabelTable(base, patches), "v"))) == expected
    if patches:
        last = latest_rows(patches)
        at = last.table["position"].to_pylist()
        assert at == sorted(set(at))
        found = plain_values(last.table["v"], last.types["v"])
        assert list(map(without_nulls, found)) == [expected[position] for position in at]


@pytest.mark.parametrize("positions", [(1, 0), (1, 1), (-1, 0), (1, 2)])
def test_patches_with_other_positions_are_refused(tmp_path, positions):
    base = [part_of(tmp_path, 0, [(0, {"a": 1}), (1, {"a": 2})])]
    with pytest.raises(CorruptIndexError, match="positions do not ascend, or are not in the dataset"):
        LabelTable(base, [part_of(tmp_path, 1, [(position, {"a": 0}) for position in positions])])


@pytest.mark.parametrize(("samples", "advice"), [({}, "no samples, so no label table"), ({"a": {}}, "make one with")])
def test_datasets_without_a_table(tmp_path, samples, advice):
    with shardpack.ShardWriter(tmp_path) as writer:
        for key, label in samples.items():
            writer.write(key, {"json": label})
    with pytest.raises(OptionError, match=advice):
        shardpack.open(tmp_path).where("true")


def test_an_earlier_generation_without_a_table_names_the_one_that_has_it(tmp_path):
    shardpack.pack([("a", {"json": {"n": 1}})], tmp_path)
    shardpack.table(tmp_path)
    with pytest.raises(OptionError, match=r"generation 1 of .* has no label table; generation 2, the newest, has one"):
        shardpack.open(tmp_path, generation=1).where("true")
    (tmp_path / ".shardpack/manifest.json").write_text("damaged")
    with pytest.raises(OptionError, match="make one with"):
        shardpack.open(tmp_path, generation=1).where("true")


def test_columns_that_are_not_there(tmp_path):
    table = LabelTable([part_of(tmp_path, 0, [(0, {"a": 1})])], [])
    table.check_columns(["a", "key"])
    with pytest.raises(OptionError, match=r"no column 'b'; the table has: key, position, .*, a"):
        table.check_columns(["b"])
