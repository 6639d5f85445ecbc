"""XML without a document type: elements, attributes and text, read in a stream.

Entities and document types are refused, in the bytes and by the parser, before anything of them is expanded; so are
encodings that would hide them, and deep nesting.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from shardpack.errors import DecodeError

_MAX_DEPTH = 64
_BLOCK = 1 << 16
_ENCODINGS = frozenset({None, "utf-8", "us-ascii", "ascii", "iso-8859-1", "latin-1"})
_FORBIDDEN = (b"<!DOCTYPE", b"<!ENTITY", b"<!ELEMENT", b"<!ATTLIST")


@dataclass(slots=True)
class Element:
    """An element of an XML file: its name, attributes, text, and the elements in it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def child(self, tag: str) -> Element | None:
        """Return the first element of this name in it."""
        return next((each for each in self.children if each.tag == tag), None)

    def text_of(self, tag: str) -> str | None:
        """Return the stripped text of the first element of this name in it; None without one."""
        found = self.child(tag)
        return None if found is None else found.text.strip()


def parse_elements(data: bytes, wanted: frozenset[str]) -> Iterator[Element]:
    """Yield the outermost elements of the wanted names, each as soon as it is complete.

    What is outside of them is not kept, so that a large file takes no more memory than its largest wanted element.

    Args:
        data: The file.
        wanted: Names of elements.

    Raises:
        DecodeError: The file is not XML, or has a document type, an entity, or another encoding than UTF-8.
    """
    from xml.parsers import expat  # most sources have no XML

    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:64]:
        raise DecodeError("not UTF-8 but some wider encoding; save it as UTF-8")
    if any(mark in data for mark in _FORBIDDEN):
        raise DecodeError("the file has a document type or entities, which are not read; remove them")
    collector = _Collector(wanted)
    parser = collector.parser
    try:
        for first in range(0, max(len(data), 1), _BLOCK):
            parser.Parse(data[first : first + _BLOCK], False)
            yield from collector.take()
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise DecodeError(
            f"not XML: {expat.ErrorString(error.code)} in line {error.lineno}, column {error.offset}; repair it"
        ) from error
    yield from collector.take()


class _Collector:
    """Builds the wanted elements from the parser's events."""

    def __init__(self, wanted: frozenset[str]) -> None:
        from xml.parsers import expat

        self._wanted = wanted
        self._depth = 0
        self._open: list[Element] = []
        self._done: list[Element] = []
        parser = self.parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.XmlDeclHandler = _check_encoding
        parser.StartDoctypeDeclHandler = _refuse
        parser.EntityDeclHandler = _refuse
        parser.ExternalEntityRefHandler = _refuse
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)

    def take(self) -> list[Element]:
        """Return the elements that were completed since the last call."""
        done, self._done = self._done, []
        return done

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise DecodeError(f"elements are nested more than {_MAX_DEPTH} deep; this is not a label file")
        if self._open or tag in self._wanted:
            element = Element(tag, attributes)
            if self._open:
                self._open[-1].children.append(element)
            self._open.append(element)

    def _end(self, _: str) -> None:
        self._depth -= 1
        if self._open:
            element = self._open.pop()
            if not self._open:
                self._done.append(element)

    def _text(self, text: str) -> None:
        if self._open:
            self._open[-1].text += text


def _check_encoding(_: str, encoding: str | None, __: int) -> None:
    if (encoding and encoding.lower()) not in _ENCODINGS:
        raise DecodeError(f"its encoding is {encoding!r}; save it as UTF-8")


def _refuse(*_: object) -> int:
    raise DecodeError("the file has a document type or entities, which are not read; remove them")
