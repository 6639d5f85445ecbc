"""Folders of MDS as rows, judged by files that mosaicml-streaming wrote."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from shardpack.errors import OptionError, SourceError
from shardpack.sources.formats.found_files import find_files
from shardpack.sources.formats.importer import find_format
from tests.sources.formats.damage import all_rows, opened, survives
from tests.sources.formats.test_mds_shard import CONFIG, shard_of

GOLDEN = Path(__file__).parent / "golden" / "mds"
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(64))


def index_of(*shards):
    return json.dumps({"version": 2, "shards": list(shards)}).encode()


def entry(name="shard.00000.mds", samples=2, num_bytes=1000, **more):
    return {"format": "mds", "samples": samples, "raw_data": {"basename": name, "bytes": num_bytes}, **more}


def test_files_that_streaming_wrote():
    pytest.importorskip("zstandard", reason="zstandard is not installed")
    assert find_format(find_files(GOLDEN)) == "mds"
    source = pickle.loads(pickle.dumps(opened(GOLDEN, "mds", raw="png")))
    assert [(unit.name, unit.num_rows, unit.split) for unit in source.units] == [
        ("train/shard.00000.mds", 6, "train"),
        ("val/shard.00000.mds.zstd", 6, "val"),
    ]
    assert source.sentence.startswith("MDS: 12 samples in 2 shards; a sample is dtyped.npy (dtyped) + ")
    rows = all_rows(source)
    assert [row.key for row in rows] == [f"{split}/{n:06d}" for split in ("train", "val") for n in range(6)]
    for number, row in enumerate([*rows[:6]]):
        assert row.fields["jpg"] == JPEG + bytes([number])
        assert row.fields["json"] == {
            "label": number, "score": 0.5 * number, "name": f"n{number}", "info": {"boxes": [[1, 2, 3, number]]},
            "vector": [0.0, 1.0, 2.0], "n": 10**20 + number,
        }  # fmt: skip
        np.testing.assert_array_equal(row.fields["raw.png"], np.full((2, 3, 3), number, np.uint8))
        assert row.fields["views.1.png"].startswith(b"\x89PNG")
    assert [row.fields["jpg"] for row in rows[6:]] == [row.fields["jpg"] for row in rows[:6]]


def test_raw_pixels_are_a_question():
    with pytest.raises(OptionError, match="its images are raw pixels; choose"):
        opened(GOLDEN, "mds")


def test_names_in_an_index_stay_beside_it(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "shard.00000.mds").write_bytes(shard_of([(b"a", 1), (b"b", 2)]))
    (tmp_path / "in" / "index.json").write_bytes(index_of(entry("../shard.00000.mds")))
    with pytest.raises(SourceError, match="is not beside the index"):
        opened(tmp_path / "in", "mds")


@pytest.mark.parametrize(
    ("index", "says"),
    [
        (b"{", "not an index of MDS"),
        (b"[]", "not an index of MDS"),
        (index_of({"format": "csv"}), "its shards are 'csv'"),
        (index_of(entry(samples=-1)), "-1 samples"),
        (index_of(entry(samples="2")), "'2' samples"),
        (index_of(entry("other.mds")), "is not beside the index"),
        (index_of(), "no shard is listed"),
        (index_of(entry(samples=3)), "2 samples, expected 3"),
    ],
)
def test_a_damaged_index_is_named(tmp_path, index, says):
    (tmp_path / "shard.00000.mds").write_bytes(shard_of([(b"a", 1), (b"b", 2)]))
    (tmp_path / "index.json").write_bytes(index)
    with pytest.raises(SourceError, match=says):
        opened(tmp_path, "mds")


def test_damage():
    files = {"shard.00000.mds": shard_of([(b"a", 1), (b"bb", 2)], CONFIG), "index.json": index_of(entry())}
    survives("mds", files, "shard.00000.mds")
    survives("mds", files, "index.json")


def test_texts_in_the_label_column_are_classes(tmp_path):
    config = {**CONFIG, "column_names": ["label", "n"]}
    texts = (b"wolf", b"ant", b"ant", b"ant", b"ant", b"bee", b"\xff")
    shard = shard_of([(text, number) for number, text in enumerate(texts)], config)
    (tmp_path / "shard.00000.mds").write_bytes(shard)
    (tmp_path / "index.json").write_bytes(index_of(entry(samples=len(texts))))
    source = opened(tmp_path, "mds")
    assert source.classes == ("ant", "bee", "wolf")
    *rows, bad = all_rows(source)
    assert rows[0].fields["json"] == {"label": 2, "class": "wolf", "n": 0}
    assert rows[5].fields["json"] == {"label": 1, "class": "bee", "n": 5}
    assert "not UTF-8" in bad.reason
    survives("mds", {"shard.00000.mds": shard, "index.json": index_of(entry(samples=len(texts)))}, "shard.00000.mds")
