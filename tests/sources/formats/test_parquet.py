"""Parquet files, with pyarrow as the writer."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet as writer

from shardpack.errors import OptionError, ShardpackError, SourceError
from shardpack.sources.formats import parquet
from shardpack.sources.formats.found_files import FoundFiles, find_files
from shardpack.sources.formats.importer import FormatOptions
from shardpack.sources.row_source import BadRow
from shardpack.storage.memory import MemoryStore
from tests.sources.formats.tables import FILE, expected, images, open_source, sample, samples_of, tables
from tests.strategies import damaged, examples


def write(path, table, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    writer.write_table(table, path, **options)
    return path


def test_images_of_hugging_face_become_samples(tmp_path):
    source = open_source(parquet, write(tmp_path / "t.parquet", images(7), row_group_size=3))
    assert [(unit.name, unit.num_rows) for unit in source.units] == [
        ("t.parquet, row group 0", 3),
        ("t.parquet, row group 1", 3),
        ("t.parquet, row group 2", 1),
    ]
    assert source.classes == ("cat", "dog")
    for i, (key, fields) in enumerate(samples_of(source)):
        depth = fields.pop("depth.npy")
        assert (key, fields) == (f"{i:03d}", sample(i))
        assert (depth.dtype, depth.tolist()) == (np.float32, [[i, 1, 2], [3, 4, 0.5]])
    assert source.sentence == (
        "Parquet: 7 rows in 1 file; a sample is depth.npy (depth) + jpg (image) + json (2 columns; label: label); "
        "key: image"
    )


@given(tables(), st.integers(1, 4), st.booleans())
@examples(60)
def test_values_come_back(tmp_path_factory, table, group, dictionary):
    path = write(tmp_path_factory.mktemp("p") / "t.parquet", table, row_group_size=group, use_dictionary=dictionary)
    source = open_source(parquet, path)
    assert [fields for _, fields in samples_of(source)] == expected(table)
    last = len(source.units) - 1
    rows = source.units[last].num_rows
    parts = [row for i in range(rows) for row in source.rows(last, i, i + 1)]
    assert parts == list(source.rows(last, 0, rows))


def test_folders_of_the_hub_have_splits(tmp_path):
    for name, first in (("test-00000-of-00001", 4), ("train-00000-of-00002", 0), ("train-00001-of-00002", 2)):
        write(tmp_path / "hub" / "data" / f"{name}.parquet", images(2, first=first))
    source = open_source(parquet, tmp_path / "hub")
    assert [unit.split for unit in source.units] == ["test", "train", "train"]
    assert [key for key, _ in samples_of(source)] == [
        *("test/004", "test/005"),
        *("train/000", "train/001", "train/002", "train/003"),
    ]
    assert "6 rows in 3 files (train, test)" in source.sentence


def test_a_column_of_splits_is_a_question(tmp_path):
    table = pa.table({"image": [b"\xff\xd8\xff"] * 3, "label": [0, 1, 0], "split": ["train", None, "val"]})
    path = write(tmp_path / "t.parquet", table)
    with pytest.raises(SourceError, match=r"column 'split' says such as 'train', 'val', .*\(--label-column split\)"):
        open_source(parquet, path)
    assert open_source(parquet, path, label_column="split").classes == ("train", "val")
    for name, column in (("train", table["split"]), ("t", pa.array([0, 1, 2])), ("u", pa.array(["a", "b", "c"]))):
        other = write(tmp_path / name / f"{name}.parquet", table.set_column(2, "split", column))
        assert "split" in samples_of(open_source(parquet, other))[0][1]["json"]


def test_configurations_are_a_question(tmp_path):
    for name in ("en/train/0000.parquet", "fr/train/0000.parquet"):
        write(tmp_path / name, images(1))
    with pytest.raises(SourceError, match="'en', 'fr'; pack one of them"):
        open_source(parquet, tmp_path)


def test_folders_named_by_values_are_columns(tmp_path):
    for name in ("label=cat", "label=dog"):
        write(tmp_path / name / "part-0.parquet", pa.table({"image": [b"\xff\xd8\xff" + name.encode()]}))
    source = open_source(parquet, tmp_path)
    assert source.classes == ("cat", "dog")
    assert [fields["json"] for _, fields in samples_of(source)] == [
        {"label": 0, "class": "cat"},
        {"label": 1, "class": "dog"},
    ]


def test_names_of_folders_are_decoded(tmp_path):
    for name in ("label=great%20cat%2Fdog", "label=__HIVE_DEFAULT_PARTITION__"):
        write(tmp_path / name / "part-0.parquet", pa.table({"image": [b"\xff\xd8\xff" + name.encode()]}))
    source = open_source(parquet, tmp_path)
    assert source.classes == ("great cat/dog",)
    assert [fields.get("json") for _, fields in samples_of(source)] == [None, {"label": 0, "class": "great cat/dog"}]


def test_texts_in_the_label_column_are_classes(tmp_path):
    table = pa.table({"image": [b"\xff\xd8\xff"] * 3, "species": ["wolf", "ant", "wolf"], "id": ["a", "b", "a"]})
    source = open_source(parquet, write(tmp_path / "t.parquet", table), label_column="species")
    assert source.classes == ("ant", "wolf")
    keys, fields = zip(*samples_of(source), strict=True)
    assert keys == ("000000", "000001", "000002")  # ids are not unique
    assert [part["json"] for part in fields] == [
        {"label": 1, "class": "wolf", "id": "a"},
        {"label": 0, "class": "ant", "id": "b"},
        {"label": 1, "class": "wolf", "id": "a"},
    ]


def test_files_that_rows_only_name_lie_below_the_root(tmp_path):
    root = tmp_path / "root"
    paths = ["in/a.bin", "../secret", "/etc/passwd", "https://example.org/a.jpg", "in/link", "gone"]
    table = pa.table({"image": pa.array([{"bytes": None, "path": path} for path in paths], FILE), "n": range(6)})
    path = write(root / "t.parquet", table)
    (root / "in").mkdir()
    (root / "in" / "a.bin").write_bytes(b"\xff\xd8\xffinside")
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "in" / "link").symlink_to(tmp_path / "secret")
    rows = samples_of(open_source(parquet, path))
    assert rows[0] == ("000000", {"jpg": b"\xff\xd8\xffinside", "json": {"n": 0}})
    assert all(isinstance(row, BadRow) for row in rows[1:])
    assert all("is not a path below" in row.reason for row in rows[1:5])
    assert "put it back" in rows[5].reason
    assert rows[5].name == "t.parquet, row group 0, row 5"


def test_images_of_which_all_rows_have_only_paths_or_only_bytes(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"\xff\xd8\xffinside")
    path = write(tmp_path / "t.parquet", pa.table({"image": [{"bytes": None, "path": "in/a.jpg"}], "n": [3]}))
    assert samples_of(open_source(parquet, path)) == [("in/a", {"jpg": b"\xff\xd8\xffinside", "json": {"n": 3}})]
    path = write(tmp_path / "t.parquet", pa.table({"image": [{"bytes": b"\xff\xd8\xffhere", "path": None}]}))
    assert samples_of(open_source(parquet, path)) == [("000000", {"jpg": b"\xff\xd8\xffhere"})]


def test_a_large_row_group_is_not_held_whole(tmp_path):
    blob = bytes(100_000)
    table = pa.table({"blob": pa.array([blob] * 1000), "n": range(1000)})
    path = write(tmp_path / "t.parquet", table, use_dictionary=False, compression="none", write_batch_size=16)
    source = open_source(parquet, path)
    before = pa.total_allocated_bytes()
    most = max(pa.total_allocated_bytes() - before for _ in source.rows(0, 0, None))
    assert most < 50 << 20, "a page and a batch, not 100 MB"


def test_a_remote_file_is_read_by_ranges(tmp_path):
    path = write(tmp_path / "t.parquet", images(3))
    store = MemoryStore({"t.parquet": path.read_bytes()})
    source = parquet.open(FoundFiles("memory://", store, ("t.parquet",), is_file=True), FormatOptions())
    assert [key for key, _ in samples_of(source)] == ["000", "001", "002"]


def test_bytes_within_other_values_are_refused_by_name(tmp_path):
    odd = pa.array([[{"mask": b"\0"}]], pa.list_(pa.struct([("mask", pa.binary())])))
    path = write(tmp_path / "t.parquet", pa.table({"odd": odd}))
    with pytest.raises(SourceError, match="column 'odd' holds bytes within other values"):
        open_source(parquet, path)


def test_files_with_other_columns_are_refused(tmp_path):
    write(tmp_path / "a.parquet", pa.table({"x": [1], "y": [1]}))
    write(tmp_path / "b.parquet", pa.table({"x": [1], "y": ["text"]}))
    with pytest.raises(SourceError, match=r"column 'y' is string in b\.parquet, expected int64 as in a\.parquet"):
        open_source(parquet, tmp_path)


@pytest.mark.parametrize("name", ["key_column", "label_column"])
def test_columns_that_are_missing_are_named(tmp_path, name):
    path = write(tmp_path / "t.parquet", images(1))
    with pytest.raises(OptionError, match=f"{name} is 'nope'; the columns are image, label"):
        open_source(parquet, path, **{name: "nope"})


def test_an_empty_table_is_refused(tmp_path):
    with pytest.raises(SourceError, match="no rows"):
        open_source(parquet, write(tmp_path / "t.parquet", images(1).slice(0, 0)))


def test_a_table_with_a_log_is_refused(tmp_path):
    write(tmp_path / "part-0.parquet", images(1))
    (tmp_path / "_delta_log").mkdir()
    (tmp_path / "_delta_log" / "0.json").write_text("{}")
    with pytest.raises(SourceError, match=r"_delta_log/0\.json says which"):
        open_source(parquet, tmp_path)


def test_a_folder_of_images_or_tars_is_not_claimed(tmp_path):
    write(tmp_path / "tars" / "0.parquet", images(1))
    (tmp_path / "tars" / "0.tar").write_bytes(b"")
    assert not parquet.detect(find_files(tmp_path / "tars"))
    write(tmp_path / "images" / "metadata.parquet", images(1))
    (tmp_path / "images" / "a.jpg").write_bytes(b"")
    assert not parquet.detect(find_files(tmp_path / "images"))


@given(st.data())
@examples(100)
def test_damage_is_one_error_of_ours_or_none(tmp_path_factory, data):
    whole = tmp_path_factory.mktemp("p") / "t.parquet"
    write(whole, images(4), row_group_size=2)
    content = data.draw(damaged(whole.read_bytes()))
    whole.write_bytes(content)
    try:
        source = parquet.open(find_files(whole), FormatOptions())
        samples_of(source)
    except ShardpackError as error:
        assert "\n" not in str(error)  # noqa: PT017 - damage may leave a table that is whole


def test_files_that_rows_only_name_are_part_of_the_version(tmp_path):
    image = tmp_path / "data" / "1.jpg"
    rows = [{"bytes": None, "path": "1.jpg"}, {"bytes": b"\xff\xd8\xff", "path": "2.jpg"}]
    path = write(tmp_path / "data" / "t.parquet", pa.table({"image": pa.array(rows, FILE)}))
    versions = set()
    for content in (None, b"\xff\xd8\xff", b"\xff\xd8\xff longer"):
        if content is not None:
            image.write_bytes(content)
        versions.add(open_source(parquet, path).version)
    assert open_source(parquet, path).version in versions
    (tmp_path / "data" / "2.jpg").write_bytes(b"in no row: its bytes are in the table")
    assert open_source(parquet, path).version in versions
    assert len(versions) == 3


def test_files_in_lists_are_part_of_the_version(tmp_path):
    (tmp_path / "1.jpg").write_bytes(b"\xff\xd8\xff")
    rows = [[{"bytes": None, "path": "1.jpg"}]]
    path = write(tmp_path / "t.parquet", pa.table({"images": pa.array(rows, pa.list_(FILE))}))
    before = open_source(parquet, path).version
    (tmp_path / "1.jpg").write_bytes(b"\xff\xd8\xff longer")
    assert open_source(parquet, path).version != before


def test_units_are_whole(tmp_path):
    source = open_source(parquet, write(tmp_path / "t.parquet", images(3), row_group_size=2))
    assert all(unit.is_whole for unit in source.units)
