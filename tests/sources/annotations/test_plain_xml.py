"""Elements in a stream; no document type, no entity, in no encoding."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import DecodeError
from shardpack.sources.annotations.plain_xml import parse_elements
from tests.strategies import examples

FILE = '<?xml version="1.0" encoding="utf-8"?><a x="1"><b>é &amp; f<c y="2"> t </c></b><d/><b/></a>'


def elements(text, *wanted):
    return list(parse_elements(text if isinstance(text, bytes) else text.encode(), frozenset(wanted)))


def test_wanted_elements_with_what_is_in_them():
    first, second = elements(FILE, "b")
    assert (first.tag, first.text, first.attributes) == ("b", "é & f", {})
    assert first.child("c").attributes == {"y": "2"}
    assert first.text_of("c") == "t"
    assert first.text_of("d") is None
    assert second.children == []
    (whole,) = elements(FILE, "a", "b")
    assert [each.tag for each in whole.children] == ["b", "d", "b"]
    assert elements(FILE, "z") == []


def test_large_files_come_in_parts():
    text = "<r>" + "".join(f"<i n='{number}'><j/></i>" for number in range(20_000)) + "</r>"
    assert [element.attributes["n"] for element in elements(text, "i")] == [str(number) for number in range(20_000)]


LAUGHS = '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><l>&b;</l>'
OUTSIDE = '<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><l>&a;</l>'


@pytest.mark.parametrize("text", [LAUGHS, OUTSIDE, '<!DOCTYPE l SYSTEM "http://x/y.dtd"><l/>', "<l/><!ENTITY a 'b'>"])
def test_document_types_are_refused(text):
    with pytest.raises(DecodeError, match="a document type or entities"):
        elements(text, "l")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_no_encoding_hides_them(encoding):
    with pytest.raises(DecodeError, match="some wider encoding"):
        elements(LAUGHS.encode(encoding), "l")
    with pytest.raises(DecodeError, match="its encoding is"):
        elements(f"<?xml version='1.0' encoding='{encoding}'?><l/>", "l")


def test_old_files_in_latin_1():
    (found,) = elements("<?xml version='1.0' encoding='ISO-8859-1'?><l>é</l>".encode("latin-1"), "l")
    assert found.text == "é"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not XML: no element found in line 1"),
        ("<a>", "not XML: no element found"),
        ("<a></b>", "not XML: mismatched tag in line 1, column 5"),
        ("<a>&b;</a>", "not XML: undefined entity"),
        ("{}", "not XML: not well-formed"),
        ("<a>" * 65, "nested more than 64 deep"),
    ],
)
def test_garbage(text, reason):
    with pytest.raises(DecodeError, match=reason):
        elements(text, "a")


def test_every_cut_is_an_error_of_ours():
    data = FILE.encode()
    for stop in range(len(data)):
        with pytest.raises(DecodeError):
            elements(data[:stop], "a")


@examples(200)
@given(st.data())
def test_every_change_is_an_error_of_ours_or_elements(data):
    damaged = bytearray(FILE.encode())
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DecodeError):
        assert isinstance(elements(bytes(damaged), "a", "b"), list)
