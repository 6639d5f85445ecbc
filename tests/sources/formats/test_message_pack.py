"""MessagePack files as rows: maps one behind the other, or in an array."""

from __future__ import annotations

import pickle

import pytest

from shardpack.errors import SourceError
from shardpack.sources.formats.found_files import find_files
from shardpack.sources.formats.importer import find_format
from shardpack.sources.row_source import BadRow
from tests.sources.formats.damage import all_rows, opened, survives

msgpack = pytest.importorskip("msgpack", reason="msgpack is not installed")
JPEG = b"\xff\xd8\xff\xe0"
MAPS = [{"image": JPEG + bytes([n]), "label": n, "boxes": [[1.5, n]], "id": f"n{n}"} for n in range(3)]
MANY = [*MAPS, *({**MAPS[0], "id": f"m{n}"} for n in range(20))]
ROWS = [(f"n{n}", {"jpg": JPEG + bytes([n]), "json": {"label": n, "boxes": [[1.5, n]]}}) for n in range(3)]


@pytest.mark.parametrize("data", [b"".join(map(msgpack.packb, MAPS)), msgpack.packb(MAPS), msgpack.packb(MANY)])
def test_maps_become_samples(tmp_path, data):
    (tmp_path / "val.msgpack").write_bytes(data)
    assert find_format(find_files(tmp_path)) == "msgpack"
    source = pickle.loads(pickle.dumps(opened(tmp_path, "msgpack")))
    assert source.units[0].split == "val"
    assert source.sentence.startswith(
        "MessagePack: maps in 1 file; a sample is jpg (image) + json (2 columns; label: label)"
    )
    assert [row.fields for row in all_rows(source)[:3]] == [fields for _, fields in ROWS]
    assert [row.key for row in source.rows(0, 1, 2)] == ["n1"]


def test_other_objects_are_bad_rows_or_refused(tmp_path):
    (tmp_path / "a.msgpack").write_bytes(b"".join(map(msgpack.packb, [*MAPS, MAPS[0], 7])))
    rows = all_rows(opened(tmp_path, "msgpack", key_column=":row"))
    assert rows[4] == BadRow("a.msgpack, map 4", "an object of type int, expected a map of columns; write maps")
    (tmp_path / "a.msgpack").write_bytes(msgpack.packb(7))
    with pytest.raises(SourceError, match="an object of type int"):
        opened(tmp_path, "msgpack")


def test_extension_types_are_refused(tmp_path):
    (tmp_path / "a.msgpack").write_bytes(msgpack.packb({"a": msgpack.ExtType(5, b"xy")}))
    with pytest.raises(SourceError, match="extension type 5 of 2 bytes"):
        opened(tmp_path, "msgpack")


@pytest.mark.parametrize("data", [b"".join(map(msgpack.packb, MAPS)), msgpack.packb(MAPS)])
def test_cut_short_anywhere(tmp_path, data):
    whole = [len(b"".join(map(msgpack.packb, MAPS[:n]))) for n in range(4)]
    for stop in range(1, len(data)):
        (tmp_path / "a.msgpack").write_bytes(data[:stop])
        if stop in whole and data[0] & 0xF0 == 0x80:
            continue
        with pytest.raises(SourceError, match=r"cut short|damaged"):
            all_rows(opened(tmp_path, "msgpack"))


def test_damage():
    survives("msgpack", {"a.msgpack": b"".join(map(msgpack.packb, MAPS[:2]))}, "a.msgpack")


def test_texts_in_the_label_column_are_classes(tmp_path):
    maps = [{"image": JPEG, "label": name} for name in ("wolf", "ant", "ant", "ant", "ant", "bee")]
    (tmp_path / "a.msgpack").write_bytes(b"".join(map(msgpack.packb, [*maps, {"image": JPEG}])))
    source = opened(tmp_path, "msgpack")
    assert source.classes == ("ant", "bee", "wolf")
    labels = [row.fields.get("json") for row in all_rows(source)]
    assert labels[0] == {"label": 2, "class": "wolf"}
    assert labels[5:] == [{"label": 1, "class": "bee"}, None]


def test_texts_beside_numbers_stay_texts(tmp_path):
    maps = [{"image": JPEG, "label": label} for label in ("wolf", "ant", "ant", "ant", "ant", 1)]
    (tmp_path / "a.msgpack").write_bytes(b"".join(map(msgpack.packb, maps)))
    source = opened(tmp_path, "msgpack")
    assert source.classes is None
    labels = [row.fields["json"] for row in all_rows(source)]
    assert labels[0] == {"class": "wolf"}
    assert labels[5] == {"label": 1}


def test_damage_of_labels_that_are_texts():
    maps = [{"image": JPEG, "label": name} for name in ("wolf", "ant")]
    survives("msgpack", {"a.msgpack": b"".join(map(msgpack.packb, maps))}, "a.msgpack")
