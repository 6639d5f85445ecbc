"""The manifest: encode, parse, names that stay inside, and each refusal of SPEC 6."""

from __future__ import annotations

import json
import ntpath
import posixpath
from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shardpack.errors import CorruptManifestError, UnsupportedVersionError
from shardpack.format import manifest
from shardpack.format.manifest import (
    MAX_COUNT,
    Manifest,
    ShardInfo,
    encode_manifest,
    fingerprint,
    index_name,
    parse_manifest,
    record_of,
    shard_name_problem,
)
from tests.format.builders import small_manifest
from tests.strategies import damaged, json_values

COUNTS = st.integers(0, 2**40)
CHECKSUMS = st.integers(0, 2**32 - 1)
PLACES = st.sampled_from(
    [None, "..", "../a b/c?d", "/data", "C:/data", "s3://b", "hf://datasets/o/n@main", "https://h:1/a"]
)
TEXT = st.text(st.characters(exclude_categories=[]), max_size=8)


@st.composite
def manifests(draw):
    shards = []
    for number in range(draw(st.integers(0, 4))):
        samples = draw(st.integers(1, 2**40))
        fields = draw(st.dictionaries(TEXT, st.integers(1, samples), min_size=1, max_size=3))
        shards.append(
            ShardInfo(
                *(f"s/{number}.tar", samples, draw(COUNTS), draw(st.none() | CHECKSUMS)),
                *(draw(COUNTS), draw(CHECKSUMS), fields),
            )
        )
    keys = {"name": "keys.index", "num_bytes": draw(COUNTS), "crc32c": "00000000", "unique": draw(st.booleans())}
    classes = draw(st.one_of(st.none(), st.lists(TEXT, max_size=3)))
    packed_with = {"shardpack": "1", "options": {}}
    return Manifest([record_of(shard) for shard in shards], keys, classes, packed_with, draw(PLACES)), shards


def _one_string(text: str) -> str:
    """Two surrogates side by side are one character to JSON."""
    return json.loads(json.dumps(text))


@given(manifests())
def test_parse_undoes_encode(made):
    whole, shards = made
    text = encode_manifest(whole)
    assume(all(name == _one_string(name) for shard in shards for name in shard.samples_per_field))
    found = parse_manifest(text)
    assert found.shards == tuple(shards)
    assert found.starts == whole.starts
    assert (found.num_samples, found.num_bytes) == (
        sum(s.num_samples for s in shards),
        sum(s.num_bytes for s in shards),
    )
    assert found.samples_per_field == whole.samples_per_field
    assert found.keys == whole.keys
    assert found.classes == (None if whole.classes is None else [_one_string(name) for name in whole.classes])
    assert found.packed_with == {"shardpack": "1", "options": {}}
    assert found.shards_at == whole.shards_at
    assert encode_manifest(found) == text
    assert text.endswith(b"}\n")


def test_the_text_is_made_for_people_too():
    lines = small_manifest().decode().splitlines()
    assert lines[0] == "{"
    assert lines[1] == '  "format": "shardpack",'
    assert lines[-4].startswith('    {"name": "shard-000000.tar", "num_samples": 10, ')
    assert '  "classes": ["cat", "dög"],' in lines


def test_a_manifest_without_shards():
    keys = {"name": "keys.index", "num_bytes": 0, "crc32c": "00000000", "unique": True}
    found = parse_manifest(encode_manifest(Manifest([], keys)))
    assert (found.num_samples, found.num_bytes, found.shards, found.samples_per_field) == (0, 0, (), {})


def test_fingerprint_depends_on_every_shard_and_their_order():
    whole = parse_manifest(small_manifest(3))
    prints = {fingerprint(whole)}
    prints.add(fingerprint(Manifest(whole.records[:2], whole.keys)))
    prints.add(fingerprint(Manifest(whole.records[::-1], whole.keys)))
    for change in ({"crc32c": "00000000"}, {"num_samples": 1}, {"num_bytes": 1}):
        prints.add(fingerprint(Manifest([{**whole.records[0], **change}, *whole.records[1:]], whole.keys)))
    assert len(prints) == 6
    for change in ({}, {"index_crc32c": "00000009"}):
        prints.add(fingerprint(Manifest([{**whole.records[0], "crc32c": None, **change}], whole.keys)))
    assert len(prints) == 8, "the index stands in for the shard's checksum"
    same = [{**record, "name": f"other-{i}.tar"} for i, record in enumerate(whole.records)]
    assert fingerprint(Manifest(same, whole.keys)) in prints


@pytest.mark.parametrize(("name", "index"), [("a.tar", "a.index"), ("b/a.b.tar", "b/a.b.index"), ("x", "x.index")])
def test_index_names(name, index):
    assert index_name(name) == index


@given(st.text(st.one_of(st.sampled_from(list("..//\\: \0aC~")), st.characters(exclude_categories=[])), max_size=12))
def test_names_that_pass_stay_below_the_folder_on_any_system(name):
    if shard_name_problem(name):
        return
    name.encode()
    assert "\0" not in name
    # Windows drops blanks and dots at the end of a component before it looks at it.
    trimmed = "/".join(part.rstrip(". ") for part in name.split("/"))
    for path, folder in ((posixpath, "/data/set"), (ntpath, "C:\\data\\set")):
        for candidate in (name, trimmed):
            joined = path.normpath(path.join(folder, candidate))
            assert path.commonpath([folder, joined]) == folder
            assert joined != folder
            assert candidate.count("/") == joined.count(path.sep) - folder.count(path.sep) - 1


LEADING_OUT = [
    "", "/", "/etc/passwd", "../x.tar", "a/../../x.tar", "..", ".", "./x.tar", "a//b.tar", "a/", "a/./b.tar", "\\x.tar",
    "a\\..\\..\\x.tar", "C:x.tar", "c:/x.tar", "1:x", "a\0.tar", "a\n.tar", "\x1b[2J.tar", "\x7f", "a/.. /x.tar",
    "... /x", "x.tar ", "x.", "\udcff.tar", "\ud800", "x" * 1025, "s3://bucket/x.tar",
]  # fmt: skip
STAYING = [
    "x.tar",
    "a/b.tar",
    ".hidden/x.tar",
    "..a",
    "a..b",
    "a b.tar",
    "é.tar",
    "ab:c.tar",
    "12:30:00.tar"[2:],
    "😀.tar",
]


@pytest.mark.parametrize("name", LEADING_OUT)
def test_m4_names_that_could_lead_elsewhere(name):
    assert shard_name_problem(name)
    _refused(lambda head: head["shards"][0].update(name=name), r"has a bad name in entry 0")


@pytest.mark.parametrize("name", STAYING)
def test_m4_names_that_stay(name):
    assert shard_name_problem(name) is None
    head = json.loads(small_manifest())
    head["shards"][0]["name"] = name
    assert parse_manifest(json.dumps(head).encode()).shard(0).name == name


@pytest.mark.parametrize("name", ["keys.tar", "Keys.tar", "keys.index", "shardpack.json", "KEYS.INDEX"])
def test_m8_names_that_have_other_uses(name):
    assert "other uses" in (shard_name_problem(name) or "")
    _refused(lambda head: head["shards"][0].update(name=name), "names a shard or index")


def _refused(change, reason: str) -> None:
    head = json.loads(small_manifest())
    change(head)
    with pytest.raises(CorruptManifestError, match=reason):
        parse_manifest(json.dumps(head).encode())


def shard(**values):
    return lambda head: head["shards"][1].update(values)


def top(**values):
    return lambda head: head.update(values)


def keys(**values):
    return lambda head: head["keys"].update(values)


BAD_NUMBERS = [-1, 2**63, 10**300, 1.0, True, None, "1", [], float("nan"), float("inf")]
BAD_CHECKSUMS = [
    1,
    "",
    "DEADBEEF",
    "0x123456",
    "-1234567",
    " 1234567",
    "1_234_56",
    "1234567",
    "123456789",
    ["a"] * 8,
]
REFUSED = {
    "M1 format": (top(format="other"), "not a shardpack manifest"),
    "M1 no format": (lambda head: head.pop("format"), "not a shardpack manifest"),
    **{f"M2 {v!r}": (top(version=v), "no format version") for v in (0, -1, 1.0, True, "1", None, [1])},
    "M3 missing": (lambda head: head.pop("shards"), "no list of shards"),
    **{f"M3 {v!r}": (top(shards=v), "no list of shards") for v in (None, {}, "ab", 1, [1], [[]], [None])},
    "M3 empty shard": (top(shards=[{}]), "has a shard without"),
    "M3 one name less": (lambda head: head["shards"][1].pop("crc32c"), "has a shard without 'crc32c'"),
    "M3 one name more": (shard(other=1), "more entries"),
    **{f"M4 {v!r}": (shard(name=v), "bad name in entry 1") for v in (None, 1, [], {}, True)},
    **{f"M5 samples {v!r}"[:40]: (shard(num_samples=v), "bad num_samples in entry 1") for v in [*BAD_NUMBERS, 0]},
    **{f"M5 bytes {v!r}"[:40]: (shard(num_bytes=v), "bad num_bytes in entry 1") for v in BAD_NUMBERS},
    **{f"M5 index {v!r}"[:40]: (shard(index_bytes=v), "bad index_bytes in entry 1") for v in BAD_NUMBERS},
    **{f"M6 {v!r}": (shard(crc32c=v), "bad crc32c in entry 1") for v in BAD_CHECKSUMS},
    **{f"M6 index {v!r}": (shard(index_crc32c=v), "bad index_crc32c in entry 1") for v in [None, *BAD_CHECKSUMS]},
    **{
        f"M7 {v!r}"[:40]: (shard(samples_per_field=v), "bad samples_per_field in entry 1")
        for v in [None, [], {}, "ab", {"jpg": 0}, *({"jpg": n} for n in BAD_NUMBERS)]
    },
    "M7 too many": (shard(samples_per_field={"jpg": 12}), "more samples of a field"),
    "M8 one shard twice": (shard(name="shard-000000.tar"), "names a shard twice"),
    "M8 one index twice": (shard(name="shard-000000"), "one index for two"),
    **{f"M9 {v!r}": (top(keys=v), "entry for the key index") for v in (None, [], "ab", {})},
    "M9 name": (keys(name="../keys.index"), "entry for the key index"),
    "M9 number": (keys(num_bytes=-1), "entry for the key index"),
    "M9 checksum": (keys(crc32c="x" * 8), "entry for the key index"),
    "M9 unique": (keys(unique=1), "entry for the key index"),
    **{f"M10 classes {v!r}": (top(classes=v), "classes") for v in ("ab", {}, [1], [None], 1)},
    **{f"M10 packed {v!r}": (top(packed_with=v), "how it was packed") for v in (None, [], "ab")},
    **{
        f"M12 {v!r}"[:40]: (top(shards_at=v), "bad shards_at")
        for v in (
            *("", 1, [], True, "a\\b", "a\nb", "a\0", "\ud800", "x" * 1025, "s3://", "S3://b", "://b", "s3:///a"),
            *(
                "s3://user@b",
                "s3://user:secret@b/a",
                "https://h/a?b",
                "https://h/a#b",
                "https://h?b",
                "x s3://b",
                "s3:// b",
            ),
        )
    },
    "M12 name": (lambda head: (top(shards_at="../x")(head), shard(name="x.index")(head)), "called like an index"),
    "M11 samples": (top(num_samples=20), "does not add up: num_samples is 20, its shards have 21"),
    "M11 samples as a float": (top(num_samples=21.0), "does not add up"),
    "M11 bytes": (top(num_bytes=None), "does not add up: num_bytes"),
    "M11 fields": (top(samples_per_field={"jpg": 20}), "does not add up: samples_per_field is a dict"),
}


@pytest.mark.parametrize(("change", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused(change, reason):
    _refused(change, reason)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"x",
        b"\xff",
        b"[]",
        b"null",
        b"{",
        b"[" * 100_000,
        "{}".encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b'{"a": ' + b"9" * 9999,
    ],
)
def test_m1_what_is_no_json_object(text):
    with pytest.raises(CorruptManifestError):
        parse_manifest(text)


def test_m1_more_than_can_be_a_manifest(monkeypatch):
    monkeypatch.setattr(manifest, "MAX_MANIFEST_BYTES", 100)
    with pytest.raises(CorruptManifestError, match="limit 100"):
        parse_manifest(small_manifest())


def test_m2_a_newer_version_is_told_apart_from_damage():
    for version in (2, 10**400):
        with pytest.raises(UnsupportedVersionError, match="upgrade shardpack"):
            parse_manifest(json.dumps({"format": "shardpack", "version": version, "shards": 1}).encode())


def test_m11_totals_that_are_too_large():
    head = json.loads(small_manifest())
    for record in head["shards"]:
        record["num_bytes"] = MAX_COUNT
    head["num_bytes"] = 2 * MAX_COUNT
    with pytest.raises(CorruptManifestError, match="more samples or bytes"):
        parse_manifest(json.dumps(head).encode())


def test_other_names_at_the_top_are_passed_over():
    head = json.loads(small_manifest())
    assert parse_manifest(json.dumps({**head, "comment": [1]}).encode()).num_samples == 21


@given(st.sampled_from(list(json.loads(small_manifest()))), json_values())
def test_any_value_gives_a_manifest_or_our_error(name, value):
    _sound_or_our_error({**json.loads(small_manifest()), name: value})


@given(st.sampled_from(list(json.loads(small_manifest())["shards"][0])), json_values())
def test_any_shard_gives_a_manifest_or_our_error(name, value):
    head = json.loads(small_manifest())
    head["shards"][0][name] = value
    _sound_or_our_error(head)


def _sound_or_our_error(head: object) -> None:
    try:
        found = parse_manifest(json.dumps(head).encode())
    except (CorruptManifestError, UnsupportedVersionError):
        return
    assert len(found.shards) == len(found.records)
    assert found.num_samples == found.starts[-1] <= MAX_COUNT
    encode_manifest(found)


@given(st.data())
def test_damage_gives_a_manifest_or_our_error(data):
    with suppress(CorruptManifestError, UnsupportedVersionError):
        parse_manifest(data.draw(damaged(small_manifest())))


@pytest.mark.slow
def test_ten_thousand_shards():
    assert len(parse_manifest(small_manifest(10_000)).records) == 10_000
