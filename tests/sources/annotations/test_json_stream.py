"""Lists come element by element, equal to what parsing the whole file gives."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import DecodeError
from shardpack.sources.annotations.json_stream import stream_lists

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["a", "b", "images", "c,]}"]), values), st.sampled_from([None, 0, 1]))
def test_elements_are_those_of_the_file(content, indent):
    found = list(stream_lists(json.dumps(content, indent=indent).encode(), ("images", "a")))
    expected = []
    for name, value in content.items():
        if name in ("images", "a"):
            listed = isinstance(value, list)
            expected.append((name, -1, [] if listed else value))
            expected += [(name, number, each) for number, each in enumerate(value if listed else ())]
    assert found == expected


FILE = b' {"a": [1, {"b": "]"} , []], "x":[[1]],"c" : 5 }\n'


def test_every_cut_is_an_error_of_ours():
    assert list(stream_lists(FILE, ("a", "c"))) == [
        ("a", -1, []),
        ("a", 0, 1),
        ("a", 1, {"b": "]"}),
        ("a", 2, []),
        ("c", -1, 5),
    ]
    for stop in range(len(FILE.rstrip())):
        with pytest.raises(DecodeError, match="not JSON: "):
            list(stream_lists(FILE[:stop], ("a", "c")))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[]", r"expected an object at character 0, got '\[\]'"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b'{"a": 1} x', "expected the end at character 8"),
        (b'{"a": [1 2]}', "expected ',' at character 9, got '2]}'"),
        (b'{"a": [1,]}', "Expecting value"),
        (b'{"a" 1}', "expected ':' at character 5"),
        (b"{1: 2}", "expected a name at character 2"),
        (b'{"a": 1, "a": 2}', "the name 'a' occurs twice"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": ' + b"[" * 100_000, "not JSON: "),
    ],
)
def test_garbage(data, reason):
    with pytest.raises(DecodeError, match=reason):
        list(stream_lists(data, ("a",)))


@given(st.binary(max_size=30))
def test_any_bytes_are_an_error_of_ours_or_an_object(data):
    try:
        list(stream_lists(b"{" + data, ("a",)))
    except DecodeError:
        return
