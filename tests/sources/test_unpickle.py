"""An interpreter of plain pickles: Python's own pickles are the judge, and hostile ones the rest."""

from __future__ import annotations

import os
import pickle
import struct
from collections import OrderedDict
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import SourceError
from shardpack.sources.unpickle import unpickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
ATOMS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**127), 2**127 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=300)
    | st.binary(max_size=300)
)
KEYS = st.text(max_size=10) | st.binary(max_size=10) | st.integers(0, 300)
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=5) | st.lists(inner, max_size=5).map(tuple) | st.dictionaries(KEYS, inner, max_size=5)
    ),
    max_leaves=20,
)


@given(value=VALUES, protocol=st.sampled_from(PROTOCOLS))
def test_reads_what_pickle_writes(value, protocol):
    assert unpickle(pickle.dumps(value, protocol), "plain", name="x") == value


@given(value=VALUES, protocol=st.sampled_from(PROTOCOLS), data=st.data())
def test_a_changed_pickle_is_read_or_refused(value, protocol, data):
    dumped = bytearray(pickle.dumps(value, protocol))
    dumped[data.draw(st.integers(0, len(dumped) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(SourceError):
        unpickle(bytes(dumped), "numpy", name="x")


def test_reads_text_of_python_2_as_bytes():
    text = rb"(dp1" + b"\n" + rb"S'a\x00\'b\\'" + b'\np2\nI5\nsS"it\'s"\nL7L\ns.'
    assert unpickle(text, "plain", name="x") == {b"a\0'b\\": 5, b"it's": 7}
    assert unpickle(b"\x80\x02U\x03abc.", "plain", name="x") == b"abc"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_truncated_pickles_are_refused_at_every_offset(protocol):
    dumped = pickle.dumps(
        {"data": np.arange(6, dtype="u1").reshape(2, 3), "labels": [1, 2], "names": (b"a", "ä", 1.5, None, 2**70)},
        protocol,
    )
    unpickle(dumped, "numpy", name="x")
    for length in range(len(dumped)):
        with pytest.raises(SourceError):
            unpickle(dumped[:length], "numpy", name="x")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pickles_with_a_changed_bit_are_read_or_refused(protocol):
    dumped = pickle.dumps({"data": np.arange(6, dtype="<i2"), "labels": [(1, b"x"), "y"]}, protocol)
    for bit in range(8 * len(dumped)):
        changed = bytearray(dumped)
        changed[bit // 8] ^= 1 << bit % 8
        with suppress(SourceError):
            unpickle(bytes(changed), "numpy", name="x")


class _Run:
    def __reduce__(self):
        return os.system, ("false",)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (_Run(), "system"),
        (OrderedDict(), "collections.OrderedDict"),
        ({1}, "opcode|__builtin__.set|builtins.set"),
        (np.dtype("u1"), "numpy.dtype"),
        (1 + 2j, "complex"),
        (eval, "eval"),
    ],
)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_anything_else_is_refused_by_name(value, named, protocol):
    with pytest.raises(SourceError, match=named):
        unpickle(pickle.dumps(value, protocol), "plain", name="x")


LENGTHS = [b"B" + struct.pack("<I", 2**32 - 1), *(op + struct.pack("<Q", 2**62) for op in (b"\x8e", b"\x96", b"\x8d"))]


@pytest.mark.parametrize("claim", [*LENGTHS, b"T" + struct.pack("<i", -1), b"\x8b" + struct.pack("<i", -5)])
def test_lengths_are_checked_before_memory_is_taken(claim):
    with pytest.raises(SourceError, match=r"truncated|damaged"):
        unpickle(claim + b"abc.", "plain", name="x")


def test_places_in_the_memo_take_no_memory_below_them():
    assert unpickle(b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff.", "plain", name="x") is None


def test_a_few_bytes_cannot_stand_for_billions():
    laughs = b"(lp0\n0" + b"".join(b"(" + b"g%d\n" % n * 10 + b"lp%d\n0" % (n + 1) for n in range(30)) + b"g30\n."
    with pytest.raises(SourceError, match="repeated"):
        unpickle(laughs, "plain", name="x", max_bytes=1 << 20)


def test_a_list_that_contains_itself_is_refused():
    endless = []
    endless.append(endless)
    with pytest.raises(SourceError, match="contains itself"):
        unpickle(pickle.dumps(endless), "plain", name="x", max_bytes=1 << 20)


def test_deep_nesting_is_no_recursion():
    depth = 100_000
    value = unpickle(b")" + b"\x85" * depth + b".", "plain", name="x")
    for _ in range(depth):
        (value,) = value
    assert value == ()
    with pytest.raises(SourceError, match="keys are of type tuple"):
        unpickle(b"})" + b"\x85" * depth + b"Ns.", "plain", name="x")


def test_integers_are_short():
    with pytest.raises(SourceError, match=r"integer of \d+ bytes"):
        unpickle(pickle.dumps(1 << 799_990, 2), "plain", name="x")
    with pytest.raises(SourceError, match="number"):
        unpickle(b"L" + b"9" * 5000 + b"L\n.", "plain", name="x")


@pytest.mark.parametrize("text", [b"'a' + 'b'", rb"'\q'", b"'a", b"a", b"''''", b""])
def test_quoted_text_is_one_literal(text):
    with pytest.raises(SourceError, match="quotes"):
        unpickle(b"S" + text + b"\n.", "plain", name="x")


def test_long_pickles_are_refused():
    with pytest.raises(SourceError, match="expected at most"):
        unpickle(pickle.dumps(b"a" * 100), "plain", name="x", max_bytes=50)


def test_what_follows_the_end_is_refused():
    with pytest.raises(SourceError, match="does not end with its value"):
        unpickle(pickle.dumps(1) + b".", "plain", name="x")
