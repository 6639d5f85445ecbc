"""TFRecord files as rows: one, a folder, TFDS, compressed, remote and damaged."""

from __future__ import annotations

import gzip
import pickle
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError, SourceError
from shardpack.sources.formats import tfrecord
from shardpack.sources.formats.example import encode_example
from shardpack.sources.formats.found_files import find_files
from shardpack.sources.formats.importer import FormatOptions, find_format, open_format
from shardpack.sources.formats.tfrecord_file import encode_record
from shardpack.sources.row_source import BadRow
from shardpack.storage.open import open_store

JPEG = b"\xff\xd8\xff\xe0"


def record(number, **more):
    return encode_record(encode_example({"image/encoded": JPEG + bytes([number]), "image/class/label": number, **more}))


def opened(path, **options):
    found = find_files(path)
    assert find_format(found) == "tfrecord"
    return open_format("tfrecord", found, FormatOptions(**options))


def all_rows(source):
    return [row for unit in range(len(source.units)) for row in source.rows(unit, 0, source.units[unit].num_rows)]


def test_a_folder_of_splits(tmp_path):
    (tmp_path / "train-00000-of-00002").write_bytes(record(0) + record(1))
    (tmp_path / "train-00001-of-00002").write_bytes(record(2))
    (tmp_path / "val-00000-of-00001").write_bytes(record(3))
    (tmp_path / "notes.log").write_bytes(b"nothing")
    source = opened(tmp_path)
    assert [(unit.name, unit.num_rows, unit.split) for unit in source.units] == [
        ("train-00000-of-00002", 2, "train"),
        ("train-00001-of-00002", 1, "train"),
        ("val-00000-of-00001", 1, "val"),
    ]
    assert source.sentence == (
        "TFRecord: 4 records in 3 files; a sample is jpg (image/encoded) + json (image/class/label; label: "
        "image/class/label); key: row number; 1 other file is not read: notes.log"
    )
    assert all_rows(pickle.loads(pickle.dumps(source))) == [
        ("train/000000", {"jpg": JPEG + b"\0", "json": {"label": 0}}),
        ("train/000001", {"jpg": JPEG + b"\1", "json": {"label": 1}}),
        ("train/000002", {"jpg": JPEG + b"\2", "json": {"label": 2}}),
        ("val/000000", {"jpg": JPEG + b"\3", "json": {"label": 3}}),
    ]


def test_class_names_and_splits_of_tfds(tmp_path):
    (tmp_path / "dogs-extra.tfrecord-00000-of-00001").write_bytes(
        encode_record(encode_example({"image": JPEG, "label": 1, "image/filename": "a.jpg"}))
    )
    (tmp_path / "features.json").write_text("{}")
    (tmp_path / "label.labels.txt").write_text("pug\nhusky\n")
    source = opened(tmp_path)
    assert source.units[0].split == "extra"
    assert source.classes == ("pug", "husky")
    assert all_rows(source) == [("a", {"jpg": JPEG, "json": {"label": 1, "class": "husky"}})]


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_a_compressed_file_is_one_unit_of_unknown_length(tmp_path, compress):
    (tmp_path / "a.tfrecord").write_bytes(compress(record(0) + record(1)))
    source = opened(tmp_path / "a.tfrecord")
    assert source.units[0].num_rows is None
    assert [row.key for row in source.rows(0, 0, None)] == ["00000-00000000", "00000-00000001"]
    assert [row.key for row in source.rows(0, 1, 2)] == ["00000-00000001"]


def test_a_bucket_is_read_by_ranges():
    store = open_store("memory://tfrecord/x")
    store.put("a.tfrecord", record(0) + record(1))
    source = opened("memory://tfrecord/x/a.tfrecord")
    assert [row.fields["jpg"] for row in source.rows(0, 0, None)] == [JPEG + b"\0", JPEG + b"\1"]


@given(st.integers(1, 200), st.integers(0, 12), st.integers(0, 12))
def test_any_rows_of_any_run(run_bytes, first, stop):
    store = open_store("memory://tfrecord/runs")
    store.put("a.tfrecord", b"".join(map(record, range(12))))
    found = find_files("memory://tfrecord/runs/a.tfrecord")
    source = tfrecord.open(found, FormatOptions(), run_bytes=run_bytes)
    keys = [row.key for row in all_rows(source)]
    assert keys == [f"{number:06d}" for number in range(12)]
    first, stop = sorted(min(bound, source.units[0].num_rows) for bound in (first, stop))
    assert [row.key for row in source.rows(0, first, stop)] == keys[first:stop]


def test_a_damaged_record_is_a_bad_row(tmp_path):
    damaged = bytearray(record(0) + record(1) + record(2))
    damaged[len(record(0)) + 20] ^= 1
    (tmp_path / "a.tfrecord").write_bytes(bytes(damaged))
    rows = all_rows(opened(tmp_path))
    assert rows[1] == BadRow(
        f"a.tfrecord, record 1 at byte {len(record(0))}", "its data does not have its checksum; copy the file again"
    )
    assert [row.key for row in (rows[0], rows[2])] == ["000000", "000002"]


def test_what_is_no_example_is_refused(tmp_path):
    (tmp_path / "a.tfrecord").write_bytes(encode_record(b"\xff raw"))
    with pytest.raises(SourceError, match=r"something else than tf\.train\.Example"):
        opened(tmp_path)
    (tmp_path / "a.tfrecord").write_bytes(b"nothing of the kind")
    with pytest.raises(SourceError, match="not a TFRecord file"):
        tfrecord.open(find_files(tmp_path / "a.tfrecord"), FormatOptions())


def test_options_of_other_formats_are_refused(tmp_path):
    (tmp_path / "a.tfrecord").write_bytes(record(0))
    with pytest.raises(OptionError, match="raw"):
        opened(tmp_path, raw="png")


def test_the_version_follows_files_and_options(tmp_path):
    (tmp_path / "a.tfrecord").write_bytes(record(0))
    before = opened(tmp_path).version
    assert opened(tmp_path).version == before
    assert opened(tmp_path, label_column="image/class/label").version != before
    (tmp_path / "a.tfrecord").write_bytes(record(0) + record(1))
    assert opened(tmp_path).version != before


GOLDEN = Path(__file__).parent / "golden"
ROWS = [
    (
        str(number),
        {
            "jpg": JPEG + bytes(range(256)) + bytes([number]),
            "json": {
                "box": [0.5, 0.25 * number],
                "empty": "",
                "ids": [-1, 1 << 62, number],
                "label": number,
                "text": "größer",
            },
        },
    )
    for number in range(4)
]


@pytest.mark.parametrize("name", ["plain", "gzip", "zlib"])
def test_files_that_tensorflow_wrote(name):
    assert [(row.key, row.fields) for row in all_rows(opened(GOLDEN / f"{name}.tfrecord"))] == ROWS


def test_sequences_that_tensorflow_wrote():
    rows = all_rows(opened(GOLDEN / "sequence.tfrecord"))
    assert [row.fields["json"] for row in rows] == [{"label": number} for number in range(4)]
    assert [row.fields["1.jpg"][-2:] for row in rows] == [bytes([number, 1]) for number in range(4)]


def test_the_writer_makes_the_bytes_of_tensorflow():
    written = b"".join(
        encode_record(
            encode_example(
                {
                    "image/encoded": fields["jpg"],
                    "image/class/label": fields["json"]["label"],
                    "image/filename": f"{key}.jpg",
                    **{name: fields["json"][name] for name in ("box", "empty", "ids", "text")},
                }
            )
        )
        for key, fields in ROWS
    )
    assert written == (GOLDEN / "plain.tfrecord").read_bytes()


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_texts_in_the_label_column_are_classes(tmp_path, compress):
    names = ("wolf", "ant", "ant", "ant", "ant", "bee")
    records = [encode_record(encode_example({"image": JPEG, "label": name})) for name in names]
    damaged = bytearray(encode_record(encode_example({"image": JPEG, "label": "cow"})))
    damaged[-5] ^= 1
    other = encode_record(b"no example")
    (tmp_path / "a.tfrecord").write_bytes(compress(b"".join([*records, bytes(damaged), other])))
    source = opened(tmp_path)
    assert source.classes == ("ant", "bee", "wolf")
    *rows, bad, worse = source.rows(0, 0, None)
    assert rows[0].fields == {"jpg": JPEG, "json": {"label": 2, "class": "wolf"}}
    assert rows[5].fields["json"] == {"label": 1, "class": "bee"}
    assert isinstance(bad, BadRow)
    assert isinstance(worse, BadRow)


def test_texts_are_classes_of_all_runs_and_files(tmp_path):
    for name, texts in (("train.tfrecord", "cba"), ("val.tfrecord", "da")):
        records = (encode_record(encode_example({"image": JPEG, "label": text})) for text in texts)
        (tmp_path / name).write_bytes(b"".join(records))
    source = tfrecord.open(find_files(tmp_path), FormatOptions(), run_bytes=1)
    assert len(source.units) == 5
    assert [row.fields["json"]["label"] for row in all_rows(source)] == [2, 1, 0, 3, 0]
    given = tfrecord.open(find_files(tmp_path), FormatOptions(classes=("d", "c", "b", "a")))
    assert [row.fields["json"]["label"] for row in all_rows(given)] == [1, 2, 3, 0, 3]
