"""The container: the very bytes of the safetensors library, and each refusal of SPEC 3."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import CorruptIndexError, FormatError, UnsupportedVersionError
from shardpack.format import container as safetensors
from tests.format.builders import container, judge_module
from tests.strategies import damaged, json_values

DTYPES = [np.dtype("<u8"), np.dtype("<u4"), np.dtype("<u2"), np.dtype("u1")]
SCHEMA = safetensors.Schema("shardpack-index", {"a": "U8"}, frozenset(("known",)))
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: name != "__metadata__" and not name.startswith("x-")  # readers pass over names of others
)


@st.composite
def columns(draw):
    arrays = {}
    for name in draw(st.lists(NAMES, max_size=4, unique=True)):
        shape = draw(st.lists(st.integers(0, 4), min_size=1, max_size=3))
        flat = np.frombuffer(draw(st.randoms()).randbytes(8 * 64), draw(st.sampled_from(DTYPES)))
        arrays[name] = flat[: int(np.prod(shape))].reshape(shape)
    return arrays


def encode(columns, metadata) -> bytes:
    return b"".join(safetensors.encode(columns, metadata))


@given(columns(), st.dictionaries(NAMES, st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=1))
def test_bytes_equal_those_of_the_safetensors_library(arrays, metadata):
    judge = judge_module("safetensors.numpy")
    ours = encode(arrays, metadata)
    if metadata:  # without any, the library leaves the entry out; with several, their order is not fixed
        assert ours == judge.save(arrays, metadata=metadata)
    loaded = judge.load(ours)
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        assert np.array_equal(loaded[name], array)


@given(columns(), st.dictionaries(NAMES, st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=5))
def test_parse_undoes_encode(arrays, metadata):
    data = encode(arrays, metadata)
    found, found_metadata = safetensors.parse(data, name="x")
    assert found_metadata == metadata
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert np.array_equal(found[name], array)
        assert not found[name].flags.writeable
    assert len(encode(arrays, metadata)) == len(data)
    assert encode(dict(reversed(arrays.items())), dict(reversed(metadata.items()))) == data


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8).data])
def test_parse_takes_any_buffer_and_copies_nothing(make):
    buffer = make(encode({"a": np.arange(3, dtype="<u8")}, {}))
    found, _ = safetensors.parse(buffer, name="x")
    assert np.shares_memory(found["a"], np.frombuffer(buffer, np.uint8))


def test_big_endian_and_strided_columns_are_stored_little_and_dense():
    wide = np.arange(6, dtype=">u4").reshape(2, 3)
    assert encode({"a": wide[:, ::2]}, {}) == encode({"a": np.array([[0, 2], [3, 5]], "<u4")}, {})


def test_columns_stay_aligned():
    arrays = {"c": np.zeros(3, "u1"), "b": np.zeros(3, "<u4"), "a": np.zeros(1, "<u8")}
    found, _ = safetensors.parse(encode(arrays, {"x": "y"}), name="x")
    start = min(array.ctypes.data for array in found.values())
    assert all((array.ctypes.data - start) % array.itemsize == 0 for array in found.values())


def test_headers_too_long_for_any_reader_are_not_written():
    with pytest.raises(FormatError, match="limit 1048576"):
        encode({}, {"fields": "x" * (1 << 20)})


def entry(dtype="U8", shape=(2,), begin=0, end=2, **other):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end], **other}


META = {"format": "shardpack-index", "version": "1"}
# rule and case: (file, part of the message, offset; None for any)
REFUSED = {
    "C1 empty": (b"", "cut short", 0),
    "C1 short": (b"\x08\0\0\0\0\0\0", "cut short", 0),
    "C1 huge": (b"\xff" * 16, "got 18446744073709551615", 0),
    "C1 over limit": ((1 << 20 | 8).to_bytes(8, "little") + bytes(1 << 20 | 8), "at most 1048576", 0),
    "C1 beyond": ((16).to_bytes(8, "little") + b"{}      ", "got 16 of 16", 0),
    "C1 unaligned": ((2).to_bytes(8, "little") + b"{}", "multiple of 8", 0),
    "C2 text": (container(b"not json"), "not JSON", 8),
    "C2 utf-16": (container("{}".encode("utf-16")), "not JSON", 8),
    "C2 utf-8": (container(b'{"\xff": 1}'), "not JSON", 8),
    "C2 bom": (container(b"\xef\xbb\xbf{}"), "not JSON", 8),
    "C2 twice": (container(b'{"a": 1, "a": 2}'), "occurs twice", 8),
    "C2 twice inside": (container(b'{"a": {"dtype": "U8", "dtype": "U8"}}'), "occurs twice", 8),
    "C2 list": (container([]), "not a JSON object", 8),
    "C2 blank": (container(b" {}"), "white space", 8),
    "C2 deep": (container(b'{"a":' + b"[" * 200_000), "not JSON", 8),
    "C2 huge number": (container(b'{"a": ' + b"9" * 100_000 + b"}"), "not JSON", 8),
    "C3 list": (container({"__metadata__": []}), "map of strings", 8),
    "C3 null": (container({"__metadata__": None}), "map of strings", 8),
    "C3 number": (container({"__metadata__": {"a": 1}}), "map of strings", 8),
    "C5 dtype": (container({"a": entry("F64")}, bytes(2)), "malformed", 8),
    "C5 dtype kind": (container({"a": entry([])}, bytes(2)), "malformed", 8),
    "C5 entry": (container({"a": 1}), "malformed", 8),
    "C5 null": (container({"a": None}), "malformed", 8),
    "C5 no shape": (container({"a": {"dtype": "U8", "data_offsets": [0, 0]}}), "malformed", 8),
    "C5 three offsets": (container({"a": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0, 0]}}), "malformed", 8),
    "C5 text shape": (container({"a": entry(shape="22", end=2)}, bytes(2)), "wrong bounds", 8),
    "C5 float": (container({"a": entry(shape=[2.0])}, bytes(2)), "wrong bounds", 8),
    "C5 bool": (container({"a": entry(shape=[True], end=1)}, bytes(1)), "wrong bounds", 8),
    "C5 nan": (container({"a": entry(begin=float("nan"))}, bytes(2)), "wrong bounds", 8),
    "C5 negative": (container({"a": entry(shape=[-1, -2])}, bytes(2)), "wrong bounds", 8),
    "C5 many dimensions": (container({"a": entry(shape=[1] * 100, end=1)}, bytes(1)), "wrong bounds", 8),
    "C5 huge": (container({"a": entry(shape=[2**63], end=2**63)}), "wrong bounds", 8),
    "C5 overflow": (container({"a": entry(shape=[2**32, 2**32], end=2**64)}), "wrong bounds", 8),
    "C5 empty overflow": (container({"a": entry(shape=[0, 2**62, 2**62], end=0)}), "wrong bounds", 8),
    "C6 length": (container({"a": entry(end=3)}, bytes(3)), "wrong bounds", 8),
    "C6 backwards": (container({"a": entry(shape=[0], begin=2, end=0)}), "wrong bounds", 8),
    "C6 unaligned": (
        container({"a": entry(shape=[1], end=1), "b": entry("U32", [1], 1, 5)}, bytes(5)),
        "wrong bounds",
        8,
    ),
    "C7 hole": (container({"a": entry(begin=1, end=3)}, bytes(3)), "expected one to begin at 72, got 73", None),
    "C7 overlap": (container({"a": entry(), "b": entry(begin=1, end=3)}, bytes(3)), "begin at 130, got 129", None),
    "C7 alias": (container({"a": entry(), "b": entry()}, bytes(2)), "begin at 130, got 128", None),
    "C8 short": (container({"a": entry()}, bytes(1)), "wrong length", None),
    "C8 long": (container({"a": entry()}, bytes(3)), "wrong length", None),
    "C8 no columns": (container({}, b"x"), "wrong length", None),
}


@pytest.mark.parametrize(("data", "reason", "offset"), REFUSED.values(), ids=REFUSED)
def test_refused(data, reason, offset):
    with pytest.raises(CorruptIndexError, match=reason) as caught:
        safetensors.parse(data, name="x.index")
    assert caught.value.path == "x.index"
    assert offset is None or caught.value.offset == offset


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({}, CorruptIndexError),
        ({**META, "format": "other"}, CorruptIndexError),
        ({"format": "shardpack-index"}, CorruptIndexError),
        *(
            ({**META, "version": v}, CorruptIndexError)
            for v in ("", "0", "01", "-1", "1.0", "²", "1e3", "x", "9" * 5000)
        ),
        ({**META, "version": "2"}, UnsupportedVersionError),
        ({**META, "version": "999999999"}, UnsupportedVersionError),
    ],
)
def test_c4_kind_and_version_come_before_the_columns(metadata, error):
    data = container({"__metadata__": metadata, "a": {"dtype": "F8_NEW"}})
    with pytest.raises(error) as caught:
        safetensors.parse(data, name="x.index", schema=SCHEMA)
    assert type(caught.value) is error


GOOD = {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}


@pytest.mark.parametrize(
    "header",
    [
        {"__metadata__": META, "a": GOOD, "b": {**GOOD, "data_offsets": [2, 4]}},
        {"__metadata__": META, "a": GOOD, "b": {"dtype": "F8_NEW"}},
        {"__metadata__": {**META, "needed": "1"}, "a": GOOD},
    ],
)
def test_unknown_names_need_a_newer_shardpack(header):
    with pytest.raises(UnsupportedVersionError, match=r"does not know; upgrade shardpack") as caught:
        safetensors.parse(container(header, bytes(4)), name="x.index", schema=SCHEMA)
    assert caught.value.path == "x.index"


def test_names_that_begin_with_x_are_ignored():
    header = {
        "__metadata__": {**META, "known": "1", "x-more": "2"},
        "a": {**GOOD, "x-of": [1]},
        "x-b": {"dtype": "F64", "shape": [1], "data_offsets": [2, 10]},
    }
    found, metadata = safetensors.parse(container(header, b"ab" + bytes(8)), name="x", schema=SCHEMA)
    assert {name: array.tobytes() for name, array in found.items()} == {"a": b"ab"}
    assert metadata == {**META, "known": "1"}


def test_an_entry_with_other_names_is_refused():
    with pytest.raises(CorruptIndexError, match="other names than"):
        safetensors.parse(container({"a": {**GOOD, "stride": 2}}, bytes(2)), name="x")


def test_a_known_column_of_another_dtype_is_refused():
    header = {"__metadata__": META, "a": {"dtype": "U16", "shape": [1], "data_offsets": [0, 2]}}
    with pytest.raises(CorruptIndexError, match="'a' of uint16, expected uint8"):
        safetensors.parse(container(header, bytes(2)), name="x", schema=SCHEMA)


def test_parse_header_needs_only_the_header():
    whole = container({"__metadata__": META, "a": GOOD}, b"ab")
    layout = safetensors.parse_header(whole[:-2], name="x", num_bytes=len(whole), schema=SCHEMA)
    at = layout.columns["a"]
    assert (at.shape, whole[at.begin : at.end]) == ((2,), b"ab")
    with pytest.raises(CorruptIndexError, match="wrong length"):
        safetensors.parse_header(whole[:-2], name="x", num_bytes=len(whole) + 1, schema=SCHEMA)


@given(st.data())
def test_truncation_anywhere_is_refused(data):
    whole = encode({"a": np.arange(8, dtype="<u4"), "b": np.zeros(3, "u1")}, META)
    with pytest.raises(CorruptIndexError):
        safetensors.parse(whole[: data.draw(st.integers(0, len(whole) - 1))], name="x")


@given(st.dictionaries(st.sampled_from(["__metadata__", "a", "b", "x-b"]), json_values()), st.binary(max_size=8))
def test_any_json_gives_columns_or_our_error(header, data):
    _parse_or_our_error(container(header, data))


@given(
    st.sampled_from(["U64", "U32", "U16", "U8", "F64", 1, None]),
    st.one_of(st.lists(json_values(), max_size=3), json_values()),
    st.one_of(st.lists(json_values(), min_size=2, max_size=2), json_values()),
)
def test_any_entry_gives_columns_or_our_error(dtype, shape, offsets):
    _parse_or_our_error(container({"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}, bytes(8)))


@given(st.binary(max_size=100))
def test_any_bytes_give_columns_or_our_error(data):
    _parse_or_our_error(data)


@given(st.data())
def test_damage_gives_columns_or_our_error(data):
    whole = encode({"a": np.arange(8, dtype="<u4").reshape(2, 4), "b": np.zeros(3, "u1")}, META)
    _parse_or_our_error(data.draw(damaged(whole)))


def _parse_or_our_error(data: bytes) -> None:
    try:
        columns, metadata = safetensors.parse(data, name="x")
    except CorruptIndexError:
        return
    assert sum(column.nbytes for column in columns.values()) <= len(data)
    json.dumps(metadata)
