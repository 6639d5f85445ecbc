"""Values to payloads: what a field can store, and what is refused rather than guessed."""

from __future__ import annotations

import json
from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.codecs.decode import decode_field
from shardpack.codecs.encode import encode_field
from shardpack.errors import OptionError

floats = st.floats(allow_nan=False, allow_infinity=False)
text = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), floats, text),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)),
    max_leaves=10,
)
fields = st.sampled_from(["jpg", "json", "txt", "cls", "npy", "bin", "seg.png", "meta.json"])


@given(fields, st.binary())
def test_bytes_are_stored_as_they_are(field, payload):
    for value in (payload, bytearray(payload), memoryview(payload), memoryview(bytearray(payload))):
        stored = encode_field(field, value)
        assert type(stored) is bytes
        assert stored == payload


def test_no_memory_is_shared_with_mutable_values():
    """A writer keeps payloads for a while; callers fill their buffer again meanwhile."""
    for make in (bytearray, lambda data: memoryview(bytearray(data))):
        value = make(b"first")
        stored = encode_field("jpg", value)
        value[:] = b"other"
        assert stored == b"first"


def test_views_are_stored_by_content():
    assert encode_field("bin", memoryview(b"abcdef")[::2]) == b"ace"
    assert encode_field("bin", memoryview(array("H", [1, 2]))) == array("H", [1, 2]).tobytes()
    assert encode_field("bin", memoryview(np.arange(4, dtype=np.uint8).reshape(2, 2).T)) == bytes([0, 2, 1, 3])


@given(json_values)
def test_json_round_trips(value):
    payload = encode_field("json", value)
    assert decode_field("json", payload) == value
    assert payload == encode_field("meta.json", value)


@given(text)
def test_text_round_trips(value):
    assert decode_field("txt", encode_field("txt", value)) == value


@given(st.integers(-(10**30), 10**30))
def test_classes_round_trip(value):
    assert decode_field("cls", encode_field("cls", value)) == value


@pytest.mark.parametrize("number", [np.int64(7), np.uint8(7), np.int16(7)])
def test_numpy_integers_are_classes(number):
    assert encode_field("cls", number) == b"7"


def test_numpys_numbers_are_json_numbers():
    value = {"label": np.int64(3), "score": np.float32(0.5), "seen": np.bool_(True), "size": [np.uint8(4)]}
    assert encode_field("json", value) == b'{"label":3,"score":0.5,"seen":true,"size":[4]}'
    for bad in (np.float32("nan"), np.datetime64("2026-11-21"), np.zeros(2), np.longdouble(1), np.clongdouble(1)):
        with pytest.raises(OptionError, match="'json' cannot be stored"):
            encode_field("json", {"a": bad})


def test_json_writes_numbers_that_are_keys_as_text():
    assert encode_field("json", {1: {2.5: 1, None: 2}, "2": 3}) == b'{"1":{"2.5":1,"null":2},"2":3}'


def test_json_is_compact_utf8_in_the_order_given():
    assert encode_field("json", {"b": "é", "a": [1, 2.5, None]}) == '{"b":"é","a":[1,2.5,null]}'.encode()
    assert json.loads(encode_field("json", "text")) == "text"


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("json", {"a": object()}, "'json' cannot be stored: .*object.*not JSON serializable"),
        ("json", float("nan"), "cannot be stored"),
        ("json", {"a": "\ud800"}, "cannot be stored: .*surrogate"),
        ("json", {("a", "b"): 1}, "cannot be stored: keys must be"),
        ("json", {1: "a", "1": "b"}, "the keys 1 and '1', both of which JSON writes as '1'; rename one"),
        ("json", [{"a": ({"null": 0, None: 0},)}], "the keys 'null' and None, both of which JSON writes as 'null'"),
        ("json", {True: 0, "true": 1}, "both of which JSON writes as 'true'"),
        ("json", {"a": np.longdouble(1)}, "Object of type longdouble is not JSON serializable"),
        ("txt", "\ud800", "'txt' cannot be stored: .*surrogate"),
        ("cls", True, "'cls' got a bool; expected an integer, or bytes"),
        ("cls", 1.0, "'cls' got a float"),
        ("cls", "hat", "'cls' got a str; expected an integer, or bytes"),
        ("jpg", 5, r"'jpg' got an int; expected an array, a PIL image, or bytes"),
        ("jpg", None, "NoneType"),
        ("jpg", "photos/1.jpg", "'jpg' got a str; expected an array"),
        ("json.gz", {"a": 1}, r"'json.gz' got a dict; expected bytes, or name it 'json.zst'"),
        ("bin", np.zeros(2), r"'bin' got an ndarray; expected bytes; values are encoded in fields json, npy, npz"),
        ("txt", 5, "'txt' got an int; expected a str, or bytes$"),
        ("npy", [1, 2], "got a list"),
    ],
)
def test_what_a_field_cannot_store_is_refused(field, value, says):
    with pytest.raises(OptionError, match=says):
        encode_field(field, value)


def test_values_that_contain_themselves_are_refused():
    loop: list[object] = []
    loop.append(loop)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (loop, deep):
        with pytest.raises(OptionError, match="cannot be stored"):
            encode_field("json", value)


@pytest.mark.parametrize(("field", "value"), [("json.zst", {"a": [1, "é"]}), ("txt.zst", "text"), ("cls.zst", 7)])
def test_a_compressed_field_takes_values(field, value):
    zstandard = pytest.importorskip("zstandard", reason="zstandard is not installed")
    payload = encode_field(field, value)
    assert zstandard.ZstdDecompressor().decompress(payload) == encode_field(field.removesuffix(".zst"), value)
    assert decode_field(field, payload) == value
    assert encode_field(field, payload) is payload, "bytes are stored as they are"
