"""JSON of the format's files: one way to write each object."""

from __future__ import annotations

import pytest

from shardpack.format.strict_json import strict_json_object


def test_an_object():
    assert strict_json_object('{"a": {"b": [1]}, "ä": null}'.encode()) == {"a": {"b": [1]}, "ä": None}
    assert strict_json_object(memoryview(b"{}")) == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        ("{}".encode("utf-16"), "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a":' + b"[" * 200_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"a": 1, "a": 1}', "a name occurs twice"),
        (b'{"x": [{"a": 1, "a": 2}]}', "a name occurs twice"),
    ],
)
def test_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        strict_json_object(text)
