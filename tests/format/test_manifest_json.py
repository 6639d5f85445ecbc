"""The manifest: encode, parse, its checksum, its names, and each refusal of SPEC 6."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import CorruptManifestError, UnsupportedVersionError
from shardpack.format.checksum import crc32c
from shardpack.format.manifest import (
    MAX_MANIFEST_BYTES,
    AppendedSplits,
    DeletedFile,
    KeySegment,
    LayerRef,
    Manifest,
    Parent,
    PositionsFile,
    SplitsFile,
    TableFile,
    TableSegment,
)
from shardpack.format.manifest_json import encode_manifest, parse_manifest
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
EDITED = replace(
    GOOD,
    splits=replace(
        GOOD.splits,
        samples={"train": 16, "val": 0},
        appended=AppendedSplits(18, {"val": (0, 9), "train": (10, 2**32)}, {"train": 2}),
    ),
    deleted=(DeletedFile("deleted-000002-0000000b.index", 104, 11, 3),),
    layers=(
        LayerRef(
            ".shardpack/layers/g000002-5f3a9c01",
            1,
            900,
            12,
            ("json", "txt"),
            PositionsFile("layer-000002-0000000c.index", 264, 12),
        ),
    ),
    table=(TableFile("table/000002-0000000d.parquet", 4096, 13, 21),),
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


def entry(which, **values) -> bytes:
    """A manifest with every kind of file, and one entry of a list changed."""
    good = json.loads(encode_manifest(EDITED))
    return signed({**good, which: [{**good[which][0], **values}]})


def layer_positions(**values) -> bytes:
    positions = json.loads(encode_manifest(EDITED))["layers"][0]["positions"]
    return entry("layers", positions={**positions, **values})


def appended(**values) -> bytes:
    good = json.loads(encode_manifest(EDITED))
    return signed({**good, "splits": {**good["splits"], "appended": {**good["splits"]["appended"], **values}}})


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


def test_a_manifest_with_every_kind_of_file():
    text = encode_manifest(EDITED)
    assert parse_manifest(text) == EDITED
    shown = [json.loads("{" + line.rstrip(",") + "}") for line in text.decode().splitlines()[14:18]]
    file = {"name": "layer-000002-0000000c.index", "num_bytes": 264, "crc32c": "0000000c"}
    fell = {"of_samples": 18, "ranges": {"val": [0, 9], "train": [10, 2**32]}, "samples": {"train": 2}}
    split = {"name": "splits-000001-0000000a.index", "num_bytes": 300, "crc32c": "0000000a"}
    layer = {"location": ".shardpack/layers/g000002-5f3a9c01", "generation": 1, "num_bytes": 900, "crc32c": "0000000c"}
    deleted = {"name": "deleted-000002-0000000b.index", "num_bytes": 104, "crc32c": "0000000b", "num_deleted": 3}
    table = {"name": "table/000002-0000000d.parquet", "num_bytes": 4096, "crc32c": "0000000d", "num_samples": 21}
    assert list(map(list, shown)) == [["splits"], ["deleted"], ["layers"], ["table"]]
    assert shown == [
        {"splits": {**split, "samples": {"train": 16, "val": 0}, "appended": fell}},
        {"deleted": [deleted]},
        {"layers": [{**layer, "fields": ["json", "txt"], "positions": file}]},
        {"table": [table]},
    ]


def table_entry(count):
    return {"name": "table/000002-0000000d.parquet", "num_bytes": 4096, "crc32c": "0000000d", "num_samples": count}


def splits_entry(count):
    return {**table_entry(count), "name": "table/splits-000002-0000000d.parquet"}


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


@given(st.sampled_from(["deleted", "layers", "table"]), st.data(), json_values())
def test_any_file_gives_a_manifest_or_our_error(which, data, value):
    names = json.loads(encode_manifest(EDITED))[which][0]
    try:
        parse_manifest(entry(which, **{data.draw(st.sampled_from(sorted(names))): value}))
    except (CorruptManifestError, UnsupportedVersionError):
        return


@given(st.sampled_from(["of_samples", "ranges", "samples"]), json_values())
def test_any_appended_splits_give_a_manifest_or_our_error(name, value):
    try:
        parse_manifest(appended(**{name: value}))
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
    "M12 empty": (splits(samples={"train": 18, "val": 0}), "bad samples"),
    "M12 fell": (appended(samples={"train": 2, "val": 2}), "bad samples"),
    **{f"M13 {v!r}": (changed(deleted=v), "bad deleted") for v in ([], {}, None, [1])},
    **{
        f"M13 {name} {value!r:.40}": (entry("deleted", **{name: value}), f"bad {reason}")
        for name, value, reason in (
            ("name", "deleted-000002-0000000c.index", "name"),
            ("name", "../deleted-000002-0000000b.index", "name"),
            ("name", "deleted-02-0000000b.index", "name"),
            ("crc32c", 11, "crc32c"),
            ("num_deleted", 0, "num_deleted"),
            ("num_deleted", 22, "deleted in manifest"),
            ("num_bytes", (1 << 20) + 8 + 8 * 3 + 1, "num_bytes"),
        )
    },
    **{f"M14 {v!r}": (changed(layers=v), "bad layers") for v in ([], {}, None, [1])},
    **{
        f"M14 {name} {value!r:.40}": (entry("layers", **{name: value}), f"bad {name}")
        for name, value in (
            ("location", "https://me:secret@example.org/x"),
            ("location", ""),
            ("location", None),
            ("generation", 0),
            ("num_bytes", MAX_MANIFEST_BYTES + 1),
            ("crc32c", "C"),
            ("fields", []),
            ("fields", ["txt", "json"]),
            ("fields", ["json", "json"]),
            ("fields", [1]),
            ("positions", []),
        )
    },
    **{
        f"M14 positions {name} {value!r:.40}": (layer_positions(**{name: value}), f"bad {name} in positions")
        for name, value in (
            ("name", "layer-000002-0000000b.index"),
            ("name", "layers/x"),
            ("num_bytes", (1 << 20) + 8 + 8 * 21 + 1),
            ("crc32c", None),
        )
    },
    "M15 patches of more rows than there are": (changed(table=[table_entry(21), table_entry(22)]), "bad table"),
    "M15 patches without base files": (changed(table=[table_entry(20), table_entry(2)]), "bad table"),
    "M15 splits alone": (changed(table=[splits_entry(21)]), "bad table"),
    "M15 splits of more samples than there are": (changed(table=[table_entry(21), splits_entry(22)]), "bad table"),
    "M15 rows behind splits": (changed(table=[table_entry(21), splits_entry(1), table_entry(1)]), "bad table"),
    **{f"M15 {v!r}": (changed(table=v), "bad table") for v in ([], {}, None, [1])},
    **{
        f"M15 {name} {value!r:.40}": (entry("table", **{name: value}), f"bad {reason}")
        for name, value, reason in (
            ("name", "table/000002-0000000d.index", "name"),
            ("name", "table/../000002-0000000d.parquet", "name"),
            ("num_samples", 0, "num_samples"),
            ("num_samples", 20, "table in manifest"),
            ("num_samples", 22, "table in manifest"),
            ("num_bytes", -1, "num_bytes"),
        )
    },
    **{
        f"M16 {name} {value!r:.40}": (appended(**{name: value}), f"bad {name} in appended")
        for name, value in (
            ("of_samples", 22),
            ("of_samples", -1),
            ("ranges", {}),
            ("ranges", {"test": [0, 1]}),
            ("ranges", {"train": [0, 2**32 + 1]}),
            ("ranges", {"train": [5, 5]}),
            ("ranges", {"train": [-1, 5]}),
            ("ranges", {"train": [0, 1.0]}),
            ("ranges", {"train": [0]}),
            ("ranges", {"train": [0, 10], "val": [9, 20]}),
            ("samples", {"train": 4}),
            ("samples", {"train": 0}),
            ("samples", {"test": 1}),
        )
    },
    "M16 null": (splits(appended=None), "bad appended"),
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
        *(entry(name, more=1) for name in ("deleted", "layers", "table")),
        layer_positions(more=1),
        appended(more=1),
        segment("shards", compression="zstd"),
        splits(more={}),
        changed(parent={"generation": 1, "num_bytes": 1, "crc32c": "00000000", "more": 1}),
    ],
)
def test_unknown_names_need_a_newer_shardpack(text):
    with pytest.raises(UnsupportedVersionError, match="upgrade shardpack"):
        parse_manifest(text)


def test_the_required_version_is_named():
    text = changed(more=[], packed_with={"shardpack": "9.8.7"})
    with pytest.raises(
        UnsupportedVersionError, match=r"has 'more' in manifest.*upgrade shardpack to 9\.8\.7, or later"
    ):
        parse_manifest(text)


def test_names_that_begin_with_x_are_ignored():
    values = json.loads(encode_manifest(GOOD))
    values["x-note"] = {"any": ["thing"]}
    values["keys"][0]["x-note"] = 1
    values["parent"]["x-note"] = 1
    assert parse_manifest(signed(values)) == GOOD
