"""Tables of img2dataset become labels where the images have none of their own."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest

import shardpack
from shardpack.errors import SourceError
from shardpack.sources.folder import FolderSource
from shardpack.sources.source import ListOptions
from tests.conftest import make_jpeg
from tests.export.indexes.test_index_source import write_tar

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def row(key, **more):
    return {"key": key, "caption": f"of {key}", "status": "success", "error_message": None, **more}


def table(folder, stem, rows):
    parquet.write_table(pa.Table.from_pylist(rows), folder / f"{stem}.parquet")
    (folder / f"{stem}_stats.json").write_text('{"count": 2}', encoding="utf-8")


def listed(folder, **how):
    listing = FolderSource(folder, **how).list(ListOptions())
    labels = {}
    for number, key in enumerate(listing.listing.keys):
        for member in range(*listing.listing.start[number : number + 2].tolist()):
            if listing.listing.fields[listing.listing.field_code[member]] == "json":
                labels[key] = listing.listing.payload[member]
    return listing, labels


def test_tars(tmp_path):
    for stem in ("00000", "00001"):
        keys = [f"{stem}{i:04d}" for i in range(2)]
        write_tar(tmp_path / f"{stem}.tar", {f"{key}.{end}": make_jpeg() for key in keys for end in ("jpg",)})
        table(tmp_path, stem, [*map(row, keys), row(f"{stem}0009", status="failed_to_download")])
    found, labels = listed(tmp_path)
    assert (found.layout, found.listing.num_samples) == ("img2dataset", 4)
    assert json.loads(labels["00001/000010001"]) == {"key": "000010001", "caption": "of 000010001", "status": "success"}
    assert not found.problems.left_out
    report = shardpack.pack(tmp_path, tmp_path / "out")
    assert dict(report.samples_per_field) == {"jpg": 4, "json": 4}
    assert shardpack.open(tmp_path / "out")["00000/000000001"].decode("json")["caption"] == "of 000000001"


def test_folders_and_labels_of_their_own(tmp_path):
    (tmp_path / "00000").mkdir()
    for key in ("a", "b"):
        (tmp_path / "00000" / f"{key}.jpg").write_bytes(make_jpeg())
    (tmp_path / "00000" / "a.json").write_text('{"own": 1}', encoding="utf-8")
    table(
        tmp_path,
        "00000",
        [
            row("a", day=None, price=None, nan=None),
            row("b", day=date(2026, 1, 2), price=Decimal("1.50"), nan=float("nan")),
        ],
    )
    _, labels = listed(tmp_path)
    assert labels["00000/a"] == "00000/a.json"
    assert json.loads(labels["00000/b"]) == {
        "key": "b", "caption": "of b", "status": "success", "day": "2026-01-02", "price": "1.50",
    }  # fmt: skip


def test_rows_without_an_image_are_counted(tmp_path):
    write_tar(tmp_path / "00000.tar", {"a.jpg": make_jpeg()})
    table(tmp_path, "00000", [row("a"), row("gone")])
    found, _ = listed(tmp_path)
    assert found.problems.left_out_examples == {"row without an image": "00000.parquet:2"}


@pytest.mark.parametrize(
    ("content", "what"), [(b"PAR1 not", "is not a table that can be read"), (None, "has no column 'key'; found x")]
)
def test_tables_that_are_none_are_named(tmp_path, content, what):
    write_tar(tmp_path / "00000.tar", {"a.jpg": make_jpeg()})
    table(tmp_path, "00000", [{"x": 1}])
    if content is not None:
        (tmp_path / "00000.parquet").write_bytes(content)
    with pytest.raises(SourceError, match=f"00000.parquet {what}"):
        listed(tmp_path)


def test_asked_for_where_there_is_none(tmp_path):
    (tmp_path / "a.jpg").write_bytes(make_jpeg())
    with pytest.raises(SourceError, match="no table in"):
        listed(tmp_path, layout="img2dataset")
