"""The manifest: encode, parse, its checksum, its names, and each refusal of SPEC 6."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import CorruptManifestError, UnsupportedVersionError
from shardpack.format.checksum import crc32c
from shardpack.format.layout import MANIFEST_PATH, REJECTED_PATH
from shardpack.format.manifest import (
    MAX_MANIFEST_BYTES,
    KeySegment,
    Manifest,
    Parent,
    SplitsFile,
    TableSegment,
    encode_manifest,
    is_location,
    parse_manifest,
)
from tests.format.builders import small_dataset
from tests.strategies import damaged, json_values

GOOD = Manifest(
    generation=2,
    fingerprint="0123456789abcdef",
    num_samples=21,
    num_bytes=8192,
    num_shards=2,
    samples_per_field={"jpg": 20, "json": 2},
    locations=(".", "s3://bucket/more"),
    table_segments=(
        TableSegment("shards-000001-deadbeef.index", 700, 0xDEADBEEF, 344, 1, 1, 10),
        TableSegment("shards-000002-00000001.index", 700, 1, 344, 1, 1, 11),
    ),
    key_segments=(KeySegment("keys-000001-00c0ffee.index", 700, 0xC0FFEE, 344, 1, 21),),
    classes=("cat", "dög"),
    splits=SplitsFile("splits-000001-0000000a.index", 300, 10, {"train": 18, "val": 2}),
    packed_with={"shardpack": "0.1.0", "options": {"max_shard_bytes": 4096}},
    parent=Parent(1, 900, 0xABCDEF01),
)


def signed(values) -> bytes:
    """JSON with any values, and a checksum that fits."""
    lines = [f"  {json.dumps(name)}: {json.dumps(value)},\n" for name, value in values.items() if name != "crc32c"]
    text = ("{\n" + "".join(lines)).encode()
    return text + b'  "crc32c": "%08x"\n}\n' % crc32c(text)


def changed(**values) -> bytes:
    return signed({**json.loads(encode_manifest(GOOD)), **values})


def splits(**values) -> bytes:
    good = json.loads(encode_manifest(GOOD))["splits"]
    return changed(splits={**good, **values})


def without(name) -> bytes:
    values = json.loads(encode_manifest(GOOD))
    del values[name]
    return signed(values)


def segment(which, **values) -> bytes:
    segments = json.loads(encode_manifest(GOOD))[which]
    return changed(**{which: [{**segments[0], **values}, *segments[1:]]})


COUNTS = st.integers(1, 2**40)


@st.composite
def manifests(draw):
    numbers = draw(st.lists(st.tuples(COUNTS, COUNTS), max_size=3))
    total = sum(samples for _, samples in numbers)
    checksums = st.integers(0, 2**32 - 1)
    shards = tuple(
        TableSegment(f"shards-{i:06d}-{(c := draw(checksums)):08x}.index", 900, c, 300, draw(checksums), n, samples)
        for i, (n, samples) in enumerate(numbers)
    )
    keys = (KeySegment(f"keys-000001-{(c := draw(checksums)):08x}.index", 900, c, 300, 1, total),) if total else ()
    fields = st.dictionaries(st.text(max_size=5), st.integers(1, max(total, 1)), min_size=1, max_size=3)
    return Manifest(
        generation=draw(st.integers(2, 10**7)),
        fingerprint=f"{draw(st.integers(0, 2**64 - 1)):016x}",
        num_samples=total,
        num_bytes=draw(st.integers(0, 2**63 - 1)),
        num_shards=sum(n for n, _ in numbers),
        samples_per_field=dict(sorted(draw(fields).items())) if total else {},
        locations=tuple(draw(st.lists(st.sampled_from([".", "../a b", "s3://b/c", "é"]), min_size=1, max_size=3))),
        table_segments=shards,
        key_segments=keys,
        unique_keys=draw(st.booleans()),
        classes=draw(st.none() | st.lists(st.text(max_size=4), max_size=3).map(tuple)),
        packed_with=draw(st.dictionaries(st.text(max_size=4), json_values(), max_size=2)),
        parent=draw(st.none() | st.just(Parent(1, 5, 6))),
    )


@given(manifests())
def test_parse_undoes_encode(manifest):
    text = encode_manifest(manifest)
    found = parse_manifest(text)
    assert encode_manifest(found) == text
    assert replace(found, packed_with={}) == replace(manifest, packed_with={})


def test_the_encoded_text():
    assert encode_manifest(
        replace(GOOD, parent=None, locations=(".",), key_segments=(), table_segments=())
    ).decode() == (
        "{\n"
        '  "format": "shardpack",\n'
        '  "version": 1,\n'
        '  "generation": 2,\n'
        '  "fingerprint": "0123456789abcdef",\n'
        '  "num_samples": 21,\n'
        '  "num_bytes": 8192,\n'
        '  "num_shards": 2,\n'
        '  "samples_per_field": {"jpg": 20, "json": 2},\n'
        '  "locations": ["."],\n'
        '  "shards": [],\n'
        '  "keys": [],\n'
        '  "unique_keys": true,\n'
        '  "classes": ["cat", "dög"],\n'
        '  "splits": {"name": "splits-000001-0000000a.index", "num_bytes": 300, "crc32c": "0000000a", '
        '"samples": {"train": 18, "val": 2}},\n'
        '  "packed_with": {"shardpack": "0.1.0", "options": {"max_shard_bytes": 4096}},\n'
        '  "crc32c": "e56b957a"\n'
        "}\n"
    )


def test_lone_surrogates_come_back():
    text = encode_manifest(replace(GOOD, classes=("\udcff",)))
    assert b"\\udcff" in text
    assert parse_manifest(text).classes == ("\udcff",)


@given(st.data())
def test_every_flipped_bit_is_found(data):
    text = bytearray(encode_manifest(GOOD))
    text[data.draw(st.integers(0, len(text) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CorruptManifestError):
        parse_manifest(bytes(text))


@pytest.mark.parametrize(("old", "new"), [("cat", "car"), ("true", "null"), ('"jpg": 20', '"jpg": 19')])
def test_an_edit_is_found(old, new):
    text = encode_manifest(GOOD).decode()
    assert old in text
    with pytest.raises(CorruptManifestError, match="was changed after it was written"):
        parse_manifest(text.replace(old, new).encode())


@given(st.data())
def test_damage_is_refused(data):
    text = encode_manifest(GOOD)
    broken = data.draw(damaged(text))
    if broken != text:
        with pytest.raises(CorruptManifestError):
            parse_manifest(broken)


@given(st.sampled_from(sorted(json.loads(encode_manifest(GOOD)))), json_values())
def test_any_value_gives_a_manifest_or_our_error(name, value):
    try:
        parse_manifest(changed(**{name: value}))
    except (CorruptManifestError, UnsupportedVersionError):
        return


@given(st.sampled_from(["shards", "keys"]), st.sampled_from(["name", "num_bytes", "crc32c", "num_keys"]), json_values())
def test_any_segment_gives_a_manifest_or_our_error(which, name, value):
    try:
        parse_manifest(segment(which, **{name: value}))
    except (CorruptManifestError, UnsupportedVersionError):
        return


REFUSED = {
    "M1 long": (b" " * (MAX_MANIFEST_BYTES + 1), "limit"),
    "M1 empty": (b"", "not JSON"),
    "M1 list": (b"[]", "not a JSON object"),
    "M1 format": (changed(format="other"), "not a shardpack manifest"),
    "M1 utf-16": (encode_manifest(GOOD).decode().encode("utf-16"), "not JSON"),
    "M1 twice": (
        encode_manifest(GOOD).replace(b'  "version"', b'  "format": "x",\n  "version"'),
        "a name occurs twice",
    ),
    "M2 no line": (encode_manifest(GOOD) + b"\n", "was changed"),
    "M2 upper case": (
        encode_manifest(replace(GOOD, parent=None)).replace(b'"crc32c": "', b'"crc32c":  "'),
        "was changed",
    ),
    **{f"M3 {v!r}": (changed(version=v), "no format version") for v in (True, 0, -1, "1", 1.0, None)},
    **{
        f"M4 no {name}": (without(name), f"lacks '{name}'")
        for name in json.loads(encode_manifest(GOOD))
        if name not in ("format", "version", "crc32c", "classes", "splits", "parent")
    },
    **{f"M5 {v!r}": (changed(num_bytes=v), "bad num_bytes") for v in (-1, 2**63, True, 1.0, "1", None)},
    "M5 generation": (changed(generation=0), "bad generation"),
    "M5 fingerprint": (changed(fingerprint="0123456789ABCDEF"), "bad fingerprint"),
    "M5 unique": (changed(unique_keys=1), "bad unique_keys"),
    "M5 packed_with": (changed(packed_with=[]), "bad packed_with"),
    "M6 counts": (changed(samples_per_field={"jpg": 0}), "bad samples_per_field"),
    "M6 more than all": (changed(samples_per_field={"jpg": 22}), "bad samples_per_field"),
    "M6 none": (changed(samples_per_field={}), "bad samples_per_field"),
    "M7 locations": (changed(locations=[]), "bad locations"),
    "M7 number": (changed(locations=[1]), "bad locations"),
    "M7 password": (changed(locations=["https://me:secret@example.org/tars"]), "bad locations"),
    "M8 elsewhere": (segment("keys", name="../keys-000001-00c0ffee.index"), "bad name"),
    "M8 folder": (segment("shards", name="a/shards-000001-deadbeef.index"), "bad name"),
    "M8 other checksum": (segment("keys", name="keys-000001-00c0ffef.index"), "bad name"),
    "M8 other kind": (segment("keys", name="shards-000001-00c0ffee.index"), "bad name"),
    "M8 line feed": (segment("keys", name="keys-000001-00c0ffee.index\n"), "bad name"),
    "M8 digits": (segment("keys", name="keys-00000²-00c0ffee.index"), "bad name"),
    "M8 empty": (segment("shards", num_shards=0), "bad num_shards"),
    "M8 head": (segment("shards", head_bytes=701), "bad head_bytes"),
    "M8 checksum": (segment("shards", head_crc32c="0000000G"), "bad head_crc32c"),
    "M9 classes": (changed(classes=[1]), "bad classes"),
    "M9 null": (changed(classes=None), "bad classes"),
    "M10 shards": (changed(num_shards=3), "does not add up"),
    "M10 samples": (changed(num_samples=20), "does not add up"),
    "M10 keys": (segment("keys", num_keys=20), "does not add up"),
    "M11 parent": (changed(parent={"generation": 2, "num_bytes": 1, "crc32c": "00000000"}), "earlier generation"),
    **{
        f"M12 {name} {value!r:.40}": (splits(**{name: value}), f"bad {reason}")
        for name, value, reason in (
            ("name", "splits-000001-0000000b.index", "name"),
            ("name", "keys-000001-0000000a.index", "name"),
            ("name", "../splits-000001-0000000a.index", "name"),
            ("crc32c", "A", "crc32c"),
            ("num_bytes", -1, "num_bytes"),
            ("num_bytes", (1 << 20) + 8 + 18 * 21 + 1, "num_bytes"),
            ("samples", {}, "samples"),
            ("samples", [], "samples"),
            ("samples", {"train": 0}, "samples"),
            ("samples", {"train": True}, "samples"),
            ("samples", {"../train": 1}, "samples"),
            ("samples", {"train": 1, "Train": 1}, "samples"),
            ("samples", {"train": 20, "val": 2}, "samples"),
        )
    },
    "M12 null": (changed(splits=None), "bad splits"),
    "M11 kind": (changed(parent=1), "bad parent"),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused(text, reason):
    with pytest.raises(CorruptManifestError, match=reason) as caught:
        parse_manifest(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        changed(version=2),
        changed(more=1),
        *(changed(**{name: []}) for name in ("deleted", "layers", "table")),
        segment("shards", compression="zstd"),
        splits(appended={}),
        changed(parent={"generation": 1, "num_bytes": 1, "crc32c": "00000000", "more": 1}),
    ],
)
def test_unknown_names_need_a_newer_shardpack(text):
    with pytest.raises(UnsupportedVersionError, match="upgrade shardpack"):
        parse_manifest(text)


def test_the_required_version_is_named():
    text = changed(deleted=[], packed_with={"shardpack": "9.8.7"})
    with pytest.raises(
        UnsupportedVersionError, match=r"has 'deleted' in manifest.*upgrade shardpack to 9\.8\.7, or later"
    ):
        parse_manifest(text)


def test_names_that_begin_with_x_are_ignored():
    values = json.loads(encode_manifest(GOOD))
    values["x-note"] = {"any": ["thing"]}
    values["keys"][0]["x-note"] = 1
    values["parent"]["x-note"] = 1
    assert parse_manifest(signed(values)) == GOOD


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        (".", True),
        ("../tars", True),
        ("/data/tars", True),
        ("s3://bucket", True),
        ("s3://bucket/a b/c", True),
        ("https://host:8080/x/", True),
        ("", False),
        ("a\\b", False),
        ("a\nb", False),
        ("\ud800", False),
        ("x" * 1025, False),
        ("HTTP://x", False),
        ("http://", False),
        ("https://me:pw@host/x", False),
        ("https://host/x?token=1", False),
        ("https://host/x#y", False),
        ("ht tp://x", False),
    ],
)
def test_locations(text, fine):
    assert is_location(text) == fine


def test_a_manifest_names_all_files_but_shards_and_indexes():
    files = small_dataset()
    assert set(parse_manifest(files[MANIFEST_PATH]).metadata_paths) == {*files, REJECTED_PATH}
