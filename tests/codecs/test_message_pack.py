"""MessagePack by its own library, which is optional."""

from __future__ import annotations

import sys

import pytest

from shardpack.codecs.decode import decode_field
from shardpack.codecs.encode import encode_field
from shardpack.codecs.message_pack import decode_msgpack, encode_msgpack
from shardpack.errors import DecodeError, MissingDependencyError, OptionError

VALUE = {"label": 3, "boxes": [[1.5, 2], []], "raw": b"\0\xff", "text": "é", 7: None}


def test_values_round_trip_and_the_library_agrees():
    msgpack = pytest.importorskip("msgpack")
    payload = encode_msgpack(VALUE)
    assert payload == encode_msgpack(dict(VALUE)), "the same bytes each time"
    assert msgpack.unpackb(payload, strict_map_key=False) == VALUE
    assert decode_msgpack(payload) == decode_field("a.msgpack", payload) == VALUE


def test_garbage_is_a_decode_error():
    pytest.importorskip("msgpack")
    for payload in (b"", b"\xc1", b"\xdd\xff\xff\xff\xff", encode_msgpack(VALUE)[:-1], encode_msgpack(1) + b"1"):
        with pytest.raises(DecodeError, match="'msgpack' does not decode as msgpack"):
            decode_field("msgpack", payload)


def test_what_it_cannot_hold_is_refused():
    pytest.importorskip("msgpack")
    for value in (object(), 1 << 64, {"a": {1, 2}}, {(1, 2): 3}, [{"a": {(): 1}}]):
        with pytest.raises(OptionError, match="'msgpack' cannot be stored"):
            encode_field("msgpack", value)


@pytest.mark.parametrize("key", [1, -1, 2.5, None, True, b"raw", "text"])
def test_keys_of_maps_that_can_be_decoded(key):
    pytest.importorskip("msgpack")
    assert decode_field("msgpack", encode_field("msgpack", {"in": [{key: 1}]})) == {"in": [{key: 1}]}


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "msgpack", None)
    for call in (lambda: encode_field("msgpack", 1), lambda: decode_field("msgpack", b"\1")):
        with pytest.raises(MissingDependencyError, match=r'msgpack; run pip install "shardpack\[msgpack\]"'):
            call()
