"""Folders as `save_to_disk` writes them; the library itself is a judge of tests/conformance/loaders."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from shardpack.errors import SourceError
from shardpack.sources.formats import arrow, hugging_face
from shardpack.sources.formats.found_files import find_files
from tests.sources.formats.tables import images, open_source, sample, samples_of


def save(folder, *tables, selection=None, **state):
    """Write a dataset: one file a table, and perhaps the rows that are selected."""
    folder.mkdir(parents=True)
    names = [f"data-{i:05d}-of-{len(tables):05d}.arrow" for i in range(len(tables))]
    for name, table in zip(names, tables, strict=True):
        with pa.ipc.new_stream(str(folder / name), table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    if selection is not None:
        indices = pa.table({"indices": pa.array(selection, pa.uint64())})
        with pa.ipc.new_stream(str(folder / "indices.arrow"), indices.schema) as writer:
            writer.write_table(indices)
        state["_indices_files"] = [{"filename": "indices.arrow"}]
    content = {"_data_files": [{"filename": name} for name in names], "_split": None, **state}
    (folder / "state.json").write_text(json.dumps(content))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def plain(rows):
    return [(key, {name: value for name, value in fields.items() if name != "depth.npy"}) for key, fields in rows]


def test_a_dataset_becomes_samples(tmp_path):
    source = open_source(hugging_face, save(tmp_path / "saved", images(3), images(3, first=3)))
    assert plain(samples_of(source)) == [(f"{i:03d}", sample(i)) for i in range(6)]
    assert source.classes == ("cat", "dog")
    assert not arrow.detect(find_files(tmp_path / "saved"))


def test_splits_keep_their_names(tmp_path):
    save(tmp_path / "saved" / "train", images(3))
    save(tmp_path / "saved" / "my_test", images(2, first=3))
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train", "my_test"]}')
    source = open_source(hugging_face, tmp_path / "saved")
    assert [unit.split for unit in source.units] == ["train", "train", "my_test"]
    assert [key for key, _ in samples_of(source)] == [
        "train/000",
        "train/001",
        "train/002",
        "my_test/003",
        "my_test/004",
    ]


def test_a_selection_of_rows_is_honoured(tmp_path):
    wanted = [4, 0, 5, 5, 1]
    source = open_source(
        hugging_face, save(tmp_path / "saved", images(3), images(3, first=3), selection=wanted), key_column=":row"
    )
    assert plain(samples_of(source)) == [(f"{number:06d}", sample(i)) for number, i in enumerate(wanted)]
    assert plain([tuple(row) for row in source.rows(0, 1, 3)]) == [("000001", sample(0)), ("000002", sample(5))]


def test_a_selection_beyond_the_rows_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"indices\.arrow selects row 3 of 3"):
        open_source(hugging_face, save(tmp_path / "saved", images(3), selection=[0, 3]))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"_data_files": [{"filename": "../../secret.arrow"}]}, "names '../../secret.arrow', which is not there"),
        ({"_data_files": [{"filename": 3}]}, "names 3, which is not there"),
        ({"_data_files": []}, "names no data files"),
        ({"_data_files": "all"}, "names no data files"),
        ([], "expected an object"),
    ],
)
def test_a_state_that_leads_elsewhere_is_refused(tmp_path, state, said):
    folder = save(tmp_path / "saved", images(1))
    (folder / "state.json").write_text(json.dumps(state))
    with pytest.raises(SourceError, match=said):
        open_source(hugging_face, folder)


def test_a_missing_split_is_named(tmp_path):
    save(tmp_path / "saved" / "train", images(1))
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(SourceError, match=r"test/state\.json is missing"):
        open_source(hugging_face, tmp_path / "saved")
