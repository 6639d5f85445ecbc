"""What a shape computes once for all its samples is right for each of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import FormatError, InvalidKeyError, OptionError
from shardpack.format import tar_header as tar
from shardpack.write.sample_shape import shape_of


@given(st.integers(1, 300), st.lists(st.sampled_from([0, 1, 511, 512, 513, 1024, 5000]), min_size=2, max_size=2))
def test_bytes_in_a_tar(length, sizes):
    key, shape = "k" * length, shape_of(("json", "jpg"), key="k")
    payloads = [bytes(size) for size in sizes]
    expected = sum(
        len(tar.header(f"{key}.{field}".encode(), size)) + tar.padded(size)
        for field, size in zip(("jpg", "json"), sizes, strict=True)
    )
    assert shape.tar_bytes(key, payloads) == expected


def test_payloads_come_in_the_order_of_fields():
    shape = shape_of(("txt", "jpg", "json"), key="k")
    assert shape.fields == ("jpg", "json", "txt")
    assert shape.payloads({"txt": "t", "jpg": b"j", "json": {"a": 1}}) == [b"j", b'{"a":1}', b"t"]
    assert shape.payloads({"txt": b"t", "jpg": b"j", "json": b"{}"}) == (b"j", b"{}", b"t")
    assert list(shape_of(("jpg",), key="k").payloads({"jpg": b"j"})) == [b"j"]
    with pytest.raises(OptionError, match="field 'jpg' got an int"):
        shape.payloads({"txt": "t", "jpg": 3, "json": {}})


@pytest.mark.parametrize(
    ("fields", "says"), [((), "without any field"), ((3,), "field name is an int"), (("A",), "unsafe field name 'A'")]
)
def test_wrong_fields(fields, says):
    with pytest.raises(InvalidKeyError, match=says):
        shape_of(fields, key="k")


def test_more_fields_than_an_index_may_have():
    with pytest.raises(FormatError, match=r"has 70000 names, limit 65536.*\(key='k'\)"):
        shape_of(tuple(f"f{i}" for i in range(70_000)), key="k")
