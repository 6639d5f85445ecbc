"""What values of entries are."""

from __future__ import annotations

import pickle

import msgpack
import pytest

from shardpack.errors import OptionError, SourceError
from shardpack.sources.formats.lmdb_values import columns_of, kind_of_values

JPEG = b"\xff\xd8\xff\xe0"
DATUM = b"\x08\x01\x10\x01\x18\x02\x22\x02ab"


@pytest.mark.parametrize(
    ("value", "kind", "columns"),
    [
        (JPEG, "bytes", {"value": JPEG}),
        (b"", "bytes", {"value": b""}),
        (b"a text", "bytes", {"value": b"a text"}),
        (b'{"a": 1}', "json", {"a": 1}),
        (b"{braces}", "bytes", {"value": b"{braces}"}),
        (msgpack.packb([JPEG, 3]), "msgpack", {"image": JPEG, "label": 3}),
        (msgpack.packb({"x": JPEG, b"y": [1]}), "msgpack", {"x": JPEG, "y": [1]}),
        (b"\x80\x04rubbish", "bytes", {"value": b"\x80\x04rubbish"}),
        (pickle.dumps((JPEG, 3, "s", JPEG, 4)), "pickle",
         {"image": JPEG, "label": 3, "value2": "s", "value3": JPEG, "value4": 4}),
        (pickle.dumps({"a": 1.5}), "pickle", {"a": 1.5}),
        (pickle.dumps(5), "pickle", {"value": 5}),
    ],
)  # fmt: skip
def test_values_become_columns(value, kind, columns):
    assert kind_of_values([value], "plain") == kind
    assert columns_of(value, kind, "plain", name="n") == columns


def test_datums_are_found():
    assert kind_of_values([DATUM, DATUM], None) == "datum"
    assert columns_of(DATUM, "datum", None, name="n")["image"].tolist() == [[97, 98]]


def test_values_of_several_kinds_are_bytes():
    assert kind_of_values([b'{"a": 1}', JPEG], None) == "bytes"


def test_pickles_are_read_only_if_asked_for():
    with pytest.raises(OptionError, match="--unpickle plain"):
        kind_of_values([pickle.dumps((JPEG, 1))], None)
    with pytest.raises(SourceError):
        columns_of(pickle.dumps(print), "pickle", "plain", name="n")


@pytest.mark.parametrize(
    ("value", "kind"), [(b"x", "datum"), (b"{", "json"), (b"\xc1", "msgpack"), (b"\x80\x04", "pickle")]
)
def test_a_value_that_is_none_of_the_kind_is_refused(value, kind):
    with pytest.raises(SourceError):
        columns_of(value, kind, "plain", name="n")
