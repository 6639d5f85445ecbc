"""RecordIO files as rows, some of them written by MXNet: ids, lists, label vectors, insightface, damage."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from shardpack.errors import OptionError, SourceError
from shardpack.sources.formats import recordio
from shardpack.sources.formats.found_files import find_files
from shardpack.sources.formats.importer import FormatOptions, find_format
from shardpack.sources.row_source import BadRow, Unit
from tests.sources.formats.damage import all_rows, opened, survives
from tests.sources.formats.test_recordio_file import chain, labelled

JPEG = b"\xff\xd8\xff\xe0"
RECORDS = [chain(labelled(JPEG + bytes([number]), number + 5)) for number in range(3)]


def test_files_that_mxnet_wrote():
    """Its writer splits records where their bytes look like the beginning of one."""
    rows = all_rows(opened(Path(__file__).parent / "golden" / "recordio", "recordio"))
    assert rows == [
        (
            f"class/{number}",
            {
                "jpg": JPEG + bytes(range(64)) + b"\x0a\x23\xd7\xce" * (number % 3) + bytes([number]),
                "json": {"label": number if number < 4 else [number, 0.5]},
            },
        )
        for number in range(6)
    ]


def test_ids_are_keys_if_they_differ(tmp_path):
    (tmp_path / "train.rec").write_bytes(b"".join(RECORDS))
    (tmp_path / "train.idx").write_text("0\t0\n")
    assert find_format(find_files(tmp_path)) == "recordio"
    source = pickle.loads(pickle.dumps(opened(tmp_path, "recordio")))
    assert source.units == (Unit("train.rec", 3, sum(map(len, RECORDS)), "train"),)
    assert source.sentence == (
        "RecordIO: 3 records in 1 file; a sample is jpg (image) + json (label; label: label); key: id"
    )
    assert all_rows(source) == [
        (str(number + 5), {"jpg": JPEG + bytes([number]), "json": {"label": 5}}) for number in range(3)
    ]
    (tmp_path / "train.rec").write_bytes(RECORDS[0] * 2)
    assert [row.key for row in all_rows(opened(tmp_path, "recordio"))] == ["000000", "000001"]


def test_paths_of_a_list_are_keys(tmp_path):
    (tmp_path / "a.rec").write_bytes(b"".join(RECORDS))
    (tmp_path / "a.lst").write_text("5\t0\tcat/x.jpg\n6\t0\tdog/x.jpg\n")
    rows = all_rows(opened(tmp_path, "recordio"))
    assert [row.key for row in rows[:2]] == ["cat/x", "dog/x"]
    assert rows[2].reason.startswith("id 7 is not in the list 'a.lst'")
    assert [row.key for row in all_rows(opened(tmp_path, "recordio", key_column="id"))] == ["5", "6", "7"]
    assert all_rows(opened(tmp_path, "recordio", key_column=":row"))[0].key == "000000"


def test_records_about_others_are_left_out(tmp_path):
    header = chain(labelled(b"", 0, [3.0, 4.0]))
    images = [chain(labelled(JPEG, number, [7.0, 0.5])) for number in (1, 2)]
    (tmp_path / "train.rec").write_bytes(header + b"".join(images) + chain(labelled(b"", 3, [1.0, 3.0])))
    source = opened(tmp_path, "recordio")
    assert source.sentence.endswith("key: id; 2 records without a payload are left out")
    assert [row.fields["json"] for row in all_rows(source)] == [{"label": [7, 0.5]}] * 2


@pytest.mark.parametrize("run_bytes", [1, 80, 1 << 20])
def test_runs_hold_each_record_once(tmp_path, run_bytes):
    (tmp_path / "a.rec").write_bytes(b"".join(RECORDS))
    source = recordio.open(find_files(tmp_path), FormatOptions(), run_bytes=run_bytes)
    assert [row.key for row in all_rows(source)] == ["5", "6", "7"]
    assert [row.key for row in source.rows(0, 1, 2)] == (["6"] if len(source.units) < 3 else [])


def test_a_short_record_is_a_bad_row(tmp_path):
    (tmp_path / "a.rec").write_bytes(RECORDS[0] + chain(b"short") + RECORDS[1])
    rows = all_rows(opened(tmp_path, "recordio"))
    assert rows[1] == BadRow(
        f"a.rec, record 1 at byte {len(RECORDS[0])}", "5 bytes, expected at least the 24 of a header"
    )
    assert rows[2].fields["jpg"] == JPEG + b"\1"


def test_options_are_checked(tmp_path):
    (tmp_path / "a.rec").write_bytes(RECORDS[0])
    with pytest.raises(OptionError, match="key_column is 'path'; records have an id"):
        opened(tmp_path, "recordio", key_column="path")
    with pytest.raises(OptionError, match="label_column is 'y'; the columns are image, label, id"):
        opened(tmp_path, "recordio", label_column="y")
    (tmp_path / "b").mkdir()
    with pytest.raises(SourceError, match="no RecordIO file is in"):
        opened(tmp_path / "b", "recordio")


def test_damage():
    data = b"".join(RECORDS) + chain(labelled(JPEG + b"\x0a\x23\xd7\xce" * 3, 9, [1.0, 2.0]))
    assert survives("recordio", {"a.rec": data}, "a.rec") > 0  # it has no checksums
    survives("recordio", {"a.rec": data, "a.lst": b"5\t0\ta.jpg\n6\t0\tb.jpg\n7\t0\tc.jpg"}, "a.lst")
