""".beton files as rows: JPEG as it is, raw pixels as asked."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from shardpack.errors import OptionError
from shardpack.sources.formats import beton as module
from shardpack.sources.formats.beton_file import ARRAY, IMAGE, INT, JSON
from shardpack.sources.formats.found_files import find_files
from shardpack.sources.formats.importer import FormatOptions, find_format
from tests.sources.formats.betons import beton
from tests.sources.formats.damage import all_rows, opened, survives

JPEG = b"\xff\xd8\xff\xe0"
ROWS = [{"image": JPEG + bytes([number]), "label": number} for number in range(5)]


def test_jpegs_are_kept(tmp_path):
    (tmp_path / "val.beton").write_bytes(beton(ROWS))
    assert find_format(find_files(tmp_path)) == "beton"
    source = pickle.loads(pickle.dumps(opened(tmp_path, "beton", classes=tuple("abcde"))))
    assert (
        source.sentence
        == "FFCV: 5 samples in 1 file; a sample is jpg (image) + json (label; label: label); key: row number"
    )
    assert (source.units[0].split, source.classes) == ("val", tuple("abcde"))
    assert all_rows(source) == [
        (f"{n:06d}", {"jpg": JPEG + bytes([n]), "json": {"label": n, "class": "abcde"[n]}}) for n in range(5)
    ]


@pytest.mark.parametrize("run_bytes", [1, 3000, 1 << 20])
def test_runs_hold_each_row_once(tmp_path, run_bytes):
    (tmp_path / "a.beton").write_bytes(beton(ROWS))
    source = module.open(find_files(tmp_path), FormatOptions(), run_bytes=run_bytes)
    assert [row.key for row in all_rows(source)] == [f"{n:06d}" for n in range(5)]
    unit = len(source.units) - 1
    count = source.units[unit].num_rows
    assert [row.key for row in source.rows(unit, count - 1, count)] == ["000004"]


def test_raw_pixels_are_a_question(tmp_path):
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    (tmp_path / "a.beton").write_bytes(beton([{"image": pixels, "label": 1}]))
    with pytest.raises(OptionError, match="its images are raw pixels; choose"):
        opened(tmp_path, "beton")
    for raw in ("png", "npy"):
        (row,) = all_rows(opened(tmp_path, "beton", raw=raw))
        np.testing.assert_array_equal(row.fields[raw], pixels)


def test_other_fields(tmp_path):
    rows = [{"image": JPEG, "n": 1, "v": np.zeros((2, 3), "<f4"), "info": {"label": 3}}]
    (tmp_path / "a.beton").write_bytes(beton(rows, [("image", IMAGE), ("n", INT), ("v", ARRAY), ("info", JSON)]))
    (row,) = all_rows(opened(tmp_path, "beton"))
    assert row.fields["json"] == {"n": 1, "info": {"label": 3}}
    assert row.fields["v.npy"].shape == (2, 3)


def test_damage():
    data = beton(ROWS[:2])
    survives("beton", {"a.beton": data}, "a.beton", raw="npy", stride=3)
