"""The part of YAML that data.yaml files are written in; anything else is refused with its line.

    # a comment                     after a space, or at the start of a line
    path: ../datasets/coco8         `name: value`
    names:                          a block below a name: names, or "- " items, indented alike
      0: person
    kpt_shape: [17, 3]              lists and maps in brackets, also over several lines
    label: 'a "quoted" text'
    download: |                     a text of lines, which is kept and never run
      import os

Every scalar is text, as it is written: a class may be called `no`, `1e3` or `null`. An empty value is None.
No anchors, tags, documents, merge keys or complex keys: they have no place in a list of class names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NoReturn

from shardpack.errors import DecodeError

MAX_BYTES = 1 << 20
_MAX_DEPTH = 16
_NAME = re.compile(
    r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s"'\[\]{},&*!|>%@`#:-][^\[\]{},]*?|-[^\s\[\]{},]+?)[ ]*:(?=[ ]|$)"""
)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "/": "/", " ": " ", "0": "\0"}
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|.)")
_QUOTED = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'""")
_IN_BRACKETS = re.compile(r"(?:[^\[\]{},:]|:(?! |$))+")
_LINE_END = re.compile(r"\r\n?|\n")  # of YAML 1.2: U+0085, U+2028 and U+2029 stand in texts
_FORBIDDEN = "&*!|>%@`?"  # at the beginning of a scalar


class _Line:
    """A line that is not blank: its number, its indentation, and its text without comment."""

    __slots__ = ("indent", "number", "text")

    def __init__(self, number: int, indent: int, text: str) -> None:
        self.number, self.indent, self.text = number, indent, text


def parse_yaml(data: bytes, *, max_bytes: int = MAX_BYTES) -> dict[str, object]:
    """Return the map that a file holds: name -> text, None, list or map.

    Raises:
        DecodeError: The file has more than `max_bytes`, is not UTF-8, or is written in another part of YAML; the
            message says in which line.
    """
    if len(data) > max_bytes:
        raise DecodeError(f"expected at most {max_bytes:,} bytes of YAML, got {len(data):,}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DecodeError(f"not UTF-8 at byte {error.start}; save it as UTF-8") from error
    parser = _Parser(_LINE_END.sub("\n", text).removesuffix("\n").split("\n"))
    value = parser.block(0, 0)
    if parser.line is not None:
        parser.refuse("it is indented less or more than its neighbours")
    if not isinstance(value, dict):
        raise DecodeError("line 1: expected `name: value`, got something else")
    return value


class _Parser:
    """Reads blocks line by line; `line` is the next one, None at the end."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._at = 0
        self.line: _Line | None = None
        self.advance()

    def refuse(self, why: str) -> NoReturn:
        number = self._at if self.line is None else self.line.number
        raise DecodeError(f"line {number}: {why}; write plain `name: value`, lists and texts")

    def advance(self) -> None:
        """Go to the next line that says something."""
        self.line = None
        while self._at < len(self._lines):
            raw = self._lines[self._at]
            self._at += 1
            text = _without_comment(raw).rstrip()
            if not text.strip() or (text == "---" and not any(map(str.strip, self._lines[: self._at - 1]))):
                continue
            stripped = text.lstrip(" ")
            self.line = _Line(self._at, len(text) - len(stripped), stripped)
            if stripped[0] == "\t":
                self.refuse("it is indented by a tab")
            return

    def block(self, indent: int, depth: int) -> object:
        """Return the map or list whose lines are indented by `indent`."""
        if depth > _MAX_DEPTH:
            self.refuse("it is nested too deeply")
        if self.line is None:
            return {}
        is_list = self.line.text == "-" or self.line.text.startswith("- ")
        return self._list(indent, depth) if is_list else self._map(indent, depth)

    def _list(self, indent: int, depth: int) -> list[object]:
        items: list[object] = []
        while (line := self.line) is not None and line.indent == indent and f"{line.text} ".startswith("- "):
            rest = line.text[1:].strip()
            if not rest:
                self.advance()
                items.append(self._below(indent, depth))
            elif _NAME.match(rest) and not rest.startswith(("[", "{")):
                self.refuse("a list of maps")
            else:
                items.append(self._value(rest))
        return items

    def _map(self, indent: int, depth: int) -> dict[str, object]:
        found: dict[str, object] = {}
        while (line := self.line) is not None and line.indent == indent:
            match = _NAME.match(line.text)
            if match is None:
                self.refuse(f"expected `name: value`, got {line.text[:40]!r}")
            name, rest = self._scalar(match[1].rstrip()), line.text[match.end() :].strip()
            if name in found:
                self.refuse(f"the name {name!r} occurs twice")
            if not rest:
                self.advance()
                found[name] = self._below(indent, depth)
            elif rest in ("|", "|-", "|+", ">", ">-"):
                found[name] = self._text(indent)
            else:
                found[name] = self._value(rest)
        return found

    def _below(self, indent: int, depth: int) -> object:
        """Return the block below a name or a dash; None without one."""
        line = self.line
        if line is None or line.indent < indent:
            return None
        if line.indent == indent:  # the items of a list may stand right below its name
            return self._list(indent, depth + 1) if f"{line.text} ".startswith("- ") else None
        return self.block(line.indent, depth + 1)

    def _text(self, indent: int) -> str:
        """Return the lines of a text, as they are, that are indented more than its name."""
        first = self._at
        while self._at < len(self._lines):
            raw = self._lines[self._at]
            if raw.strip() and len(raw) - len(raw.lstrip(" ")) <= indent:
                break
            self._at += 1
        text = "\n".join(self._lines[first : self._at])
        self.advance()
        return text

    def _value(self, rest: str) -> object:
        """Return a scalar, or a list or map in brackets, which may go on in the next lines."""
        if rest[0] not in "[{":
            value: object = self._scalar(rest)
            self.advance()
            return value
        marks = self._marks(rest)
        value = self._flow(next(marks), marks, 0)
        if next(marks, "") != "":
            self.refuse("something stands behind a closing bracket")
        self.advance()
        return value

    def _marks(self, text: str) -> Iterator[str]:
        """Yield brackets, commas, colons and scalars of a value in brackets; "" at the end of its last line."""
        open_brackets, at = 0, 0
        while True:
            while at < len(text) and text[at] == " ":
                at += 1
            if at == len(text):
                if not open_brackets:
                    yield ""
                    return
                self._next_line()
                assert self.line is not None
                text, at = self.line.text, 0
                continue
            mark = text[at]
            if mark in "[]{},":
                open_brackets += (mark in "[{") - (mark in "]}")
                at += 1
                yield mark
            elif mark == ":" and text[at + 1 : at + 2] in ("", " "):
                at += 1
                yield mark
            else:
                match = _QUOTED.match(text, at) or _IN_BRACKETS.match(text, at)
                if match is None:
                    self.refuse(f"unexpected {mark!r}")
                at = match.end()
                yield match[0].strip()

    def _next_line(self) -> None:
        opened = self._at
        self.advance()
        if self.line is None:
            raise DecodeError(f"line {opened}: a bracket is never closed; close it")

    def _flow(self, mark: str, marks: Iterator[str], depth: int) -> object:
        if depth > _MAX_DEPTH:
            self.refuse("it is nested too deeply")
        if mark == "[":
            return self._flow_list(marks, depth)
        if mark == "{":
            return self._flow_map(marks, depth)
        if not mark or mark in "]},:":
            self.refuse(f"expected a value, got {mark or 'the end of the line'!r}")
        return self._scalar(mark)

    def _flow_list(self, marks: Iterator[str], depth: int) -> list[object]:
        items: list[object] = []
        mark = next(marks)
        while mark != "]":
            items.append(self._flow(mark, marks, depth + 1))
            mark = next(marks)
            if mark == ",":
                mark = next(marks)
            elif mark != "]":
                self.refuse(f"expected a comma or ']', got {mark!r}")
        return items

    def _flow_map(self, marks: Iterator[str], depth: int) -> dict[str, object]:
        found: dict[str, object] = {}
        mark = next(marks)
        while mark != "}":
            name = self._flow(mark, marks, depth + 1)
            if not isinstance(name, str) or name in found or next(marks) != ":":
                self.refuse("expected `name: value` in braces, each name once")
            found[name] = self._flow(next(marks), marks, depth + 1)
            mark = next(marks)
            if mark == ",":
                mark = next(marks)
            elif mark != "}":
                self.refuse(f"expected a comma or '}}', got {mark!r}")
        return found

    def _scalar(self, text: str) -> str:
        if text[0] == "'":
            if not _QUOTED.fullmatch(text):
                self.refuse("a quote is never closed, or something stands behind it")
            return text[1:-1].replace("''", "'")
        if text[0] == '"':
            if not _QUOTED.fullmatch(text):
                self.refuse("a quote is never closed, or something stands behind it")
            return _ESCAPE.sub(self._unescaped, text[1:-1])
        if text[0] in _FORBIDDEN:
            self.refuse(f"a scalar cannot begin with {text[0]!r}")
        if ": " in text or text.endswith(":"):
            self.refuse("a map in one line needs braces")
        return text

    def _unescaped(self, match: re.Match[str]) -> str:
        code = match[1]
        if len(code) > 1:
            return chr(int(code[1:], 16))
        if code not in _ESCAPES:
            self.refuse(f"an unknown escape \\{code}")
        return _ESCAPES[code]


def _without_comment(line: str) -> str:
    """Return a line up to its comment: a "#" at its start or behind a space, outside of quotes."""
    if "#" not in line:
        return line
    at = 0
    while at < len(line):
        if line[at] == "#" and (at == 0 or line[at - 1] in " \t"):
            return line[:at]
        begins_scalar = at == 0 or line[at - 1] in " [{,"
        quoted = _QUOTED.match(line, at) if begins_scalar and line[at] in "\"'" else None
        at = quoted.end() if quoted else at + 1
    return line
