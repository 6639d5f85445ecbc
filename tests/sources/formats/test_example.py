"""tf.train.Example without protobuf: what its documented layout says, both ways, and only our errors for garbage."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import DecodeError
from shardpack.sources.formats.example import decode_example, encode_example

floats = st.floats(width=32, allow_nan=False)
integers = st.integers(-(1 << 63), (1 << 63) - 1)
features = st.one_of(*(st.lists(kind, min_size=1, max_size=5) for kind in (st.binary(max_size=300), floats, integers)))


def part(number, payload):
    """Return a field of type 2, of less than 128 bytes."""
    return bytes([number << 3 | 2, len(payload)]) + payload


@given(st.dictionaries(st.text(max_size=20), features, max_size=5))
def test_what_is_encoded_comes_back(example):
    assert decode_example(encode_example(example)) == example


def test_the_bytes_are_those_of_the_layout():
    feature = part(1, part(1, b"ab") + part(1, b""))
    example = part(1, part(1, part(1, b"k") + part(2, feature)))
    assert encode_example({"k": [b"ab", b""]}) == example
    assert encode_example({"k": ["ab", ""]}) == example
    assert encode_example({"n": -1}) == part(1, part(1, part(1, b"n") + part(2, part(3, part(1, b"\xff" * 9 + b"\1")))))
    assert encode_example({"b": 1, "a": 2.0}) == part(
        1,
        part(1, part(1, b"a") + part(2, part(2, part(1, struct.pack("<f", 2.0)))))
        + part(1, part(1, b"b") + part(2, part(3, part(1, b"\1")))),
    )


def test_numbers_may_be_unpacked():
    unpacked = b"".join(b"\x08" + bytes([number]) for number in (1, 2))
    assert decode_example(part(1, part(1, part(1, b"n") + part(2, part(3, unpacked))))) == {"n": [1, 2]}
    unpacked = b"".join(b"\x0d" + struct.pack("<f", number) for number in (1.0, 2.0))
    assert decode_example(part(1, part(1, part(1, b"n") + part(2, part(2, unpacked))))) == {"n": [1.0, 2.0]}


def test_a_sequence_example_has_lists_of_features():
    steps = part(1, part(1, part(1, b"a"))) + part(1, part(1, part(1, b"b")))
    data = part(1, part(1, part(1, b"id") + part(2, part(3, part(1, b"\7"))))) + part(
        2, part(1, part(1, b"frames") + part(2, steps))
    )
    assert decode_example(data) == {"id": [7], "frames": [[b"a"], [b"b"]]}


def test_unknown_fields_of_entries_are_passed_over_and_the_last_name_counts():
    entry = part(1, b"a") + part(9, b"unknown") + b"\x68\x05" + b"\x75\0\0\0\0" + b"\x79" + bytes(8)
    twice = part(1, part(1, entry) + part(1, entry + part(2, part(3, part(1, b"\1")))))
    assert decode_example(twice) == {"a": [1]}
    assert decode_example(b"") == {}


@pytest.mark.parametrize("value", [None, object(), [b"a", 1], [{}]])
def test_other_values_are_refused(value):
    with pytest.raises(DecodeError, match="feature 'x'"):
        encode_example({"x": value})
    with pytest.raises(DecodeError, match="more than 64 bits"):
        encode_example({"x": 1 << 63})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x12\x05abc", "behind its message"),
        (b"\x08\x01", "field 1 of type 0"),
        (b"\x0b", "type 3"),
        (b"\xff" * 11, "has no end"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "behind its message"),
        (part(1, part(1, part(1, b"\xff"))), "is not UTF-8"),
        (part(1, part(1, part(1, b"a") + part(2, part(2, part(1, b"abc"))))), "not a list of floats"),
    ],
)
def test_damage_is_named(data, says):
    with pytest.raises(DecodeError, match=says):
        decode_example(data)


WHOLE = encode_example({"image/encoded": b"\xff\xd8\xff" + bytes(40), "label": [3, -1], "box": [0.5, 1.5], "name": "a"})


@pytest.mark.parametrize("stop", range(len(WHOLE)))
def test_cut_short_anywhere(stop):
    try:
        found = decode_example(WHOLE[:stop])
    except DecodeError:
        return
    assert found == {}, "the outermost length covers all"


@pytest.mark.parametrize("at", range(len(WHOLE)))
def test_any_bit_flipped(at):
    for bit in range(8):
        damaged = bytearray(WHOLE)
        damaged[at] ^= 1 << bit
        try:
            decode_example(bytes(damaged))
        except DecodeError:
            continue


@given(st.binary(max_size=200))
def test_garbage_raises_nothing_else(data):
    try:
        decode_example(data)
    except DecodeError:
        return
