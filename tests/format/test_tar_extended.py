"""What pax and GNU headers say of a member; each refusal is in test_tar_parser, by its number in SPEC 2.3."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.format.tar_extended import GLOBAL, LONG_LINK, LONG_NAME, PAX, ExtendedHeaders, parse_records
from shardpack.format.tar_header import pax_record


def test_headers_of_several_kinds_add_up():
    headers = ExtendedHeaders()
    assert not headers
    headers.add(LONG_LINK, b"target\0", b"")
    headers.add(LONG_NAME, b"a/b.jpg\0\0", b"\0")
    headers.add(PAX, pax_record(b"size", b"12") + pax_record(b"mtime", b"1.5"), b"")
    assert headers
    assert (headers.name, headers.size, headers.is_sparse) == (b"a/b.jpg", 12, False)


def test_a_global_header_does_not_belong_to_a_member():
    headers = ExtendedHeaders()
    headers.add(GLOBAL, pax_record(b"comment", b"git"), bytes(400))
    assert not headers


def test_order():
    headers = ExtendedHeaders()
    headers.add(PAX, b"", b"")
    headers.check_order(LONG_NAME)
    for kind in (PAX, GLOBAL):
        with pytest.raises(ValueError, match="two extended headers of one kind, or a global one"):
            headers.check_order(kind)


def test_sparse_members_are_recognized():
    headers = ExtendedHeaders()
    headers.add(PAX, pax_record(b"GNU.sparse.major", b"1"), b"")
    assert headers.is_sparse


@given(st.dictionaries(st.binary(min_size=1).filter(lambda word: b"=" not in word), st.binary(min_size=1), max_size=5))
def test_records_are_read_as_they_are_written(records):
    written = b"".join(pax_record(*record) for record in records.items())
    assert parse_records(written + bytes(3)) == records


@given(st.binary(max_size=100))
def test_any_bytes_are_records_or_refused(content):
    try:
        records = parse_records(content)
    except ValueError:
        return
    assert all(records)
