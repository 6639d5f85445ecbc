"""Values out of a pickle, without running it: an interpreter of the opcodes that plain values need.

Python's unpickler calls what a pickle names. This one calls nothing: a name that it knows stands for a value that it
makes itself, and every other name is refused. So a hostile pickle can neither run code nor reach NumPy's own
unpickling, and what it may take of memory is bounded before it is taken.

    plain   None, bools, numbers, text, bytes, tuples, lists and dicts, of protocols 0 to 5
    numpy   also arrays of numbers, by the names that NumPy 1 and 2 write; see `pickle_names.py`

Opcodes and their arguments are those that the standard library's `pickletools` describes.
"""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Callable
from typing import Any, Literal

from shardpack.errors import SourceError
from shardpack.runtime.sizes import format_bytes
from shardpack.sources.pickle_names import NUMPY, PLAIN, Name, Unfinished

Unpickle = Literal["plain", "numpy"]  # what a pickle may hold

MAX_BYTES = 1 << 30
_MAX_INTEGER_BYTES = 16
_NODE_BYTES = 8  # what a value counts besides its text, at least; see `_weigh`
_ESCAPE = rb"""\\(?:[\\'"nrtabfv]|x[0-9a-fA-F]{2})"""
_QUOTED = re.compile(rb"""'((?:[^\\']|%b)*)'|"((?:[^\\"]|%b)*)\"""" % (_ESCAPE, _ESCAPE), re.DOTALL)
_DECIMAL = re.compile(rb"[+-]?[0-9]{1,40}")


def unpickle(data: bytes, allowed: Unpickle, *, name: str, max_bytes: int = MAX_BYTES) -> Any:
    """Return the value of a pickle; text that Python 2 wrote comes back as bytes.

    Args:
        data: The pickle. What follows its end is refused.
        allowed: "plain" or "numpy".
        name: What it was read from, for messages.
        max_bytes: Largest length of the pickle, and of what it expands to where it repeats parts of itself.

    Raises:
        SourceError: The pickle is damaged or too large, or it holds something else; the offset is named.
    """
    if len(data) > max_bytes:
        raise SourceError(
            f"pickle has {format_bytes(len(data))}, expected at most {format_bytes(max_bytes)}", path=name
        )
    machine = _Machine(data, name, numbers=allowed == "numpy")
    value = machine.run()
    _weigh(value, max_bytes, machine)
    return value


class _Machine:
    """The stack and the memo of one pickle, and its position in it."""

    def __init__(self, data: bytes, name: str, *, numbers: bool) -> None:
        self._data, self._name, self._names = data, name, NUMPY if numbers else PLAIN
        self._offers = "plain values and arrays" if numbers else "plain values"
        self._at = self._opcode_at = 0
        self.stack: list[Any] = []
        self._marked: list[list[Any]] = []  # the stacks below each mark
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Return the value that the pickle describes."""
        try:
            while True:
                self._opcode_at = self._at
                opcode = self.take(1)
                if opcode == b".":
                    break
                step = _STEPS.get(opcode)
                if step is None:
                    raise self.refusal(f"the opcode {opcode!r}")
                step(self)
        except SourceError:
            raise
        except (IndexError, KeyError, ValueError, OverflowError, struct.error) as error:
            raise self._error("pickle is damaged") from error
        if len(self.stack) != 1 or self._marked or self._at != len(self._data):
            raise self._error("pickle is damaged: it does not end with its value")
        return self.stack.pop()

    def refusal(self, what: str) -> SourceError:
        """Return the error for something that is not read."""
        return self._error(f"pickle holds {what}; only {self._offers} are read, and nothing is run")

    def _error(self, text: str) -> SourceError:
        return SourceError(f"{text}; write the data again in another format", path=self._name, offset=self._opcode_at)

    # Arguments in the pickle

    def take(self, length: int) -> bytes:
        """Return the next bytes."""
        end = self._at + length
        if end > len(self._data):
            raise self._error(f"pickle is truncated: expected {length} bytes more")
        taken, self._at = self._data[self._at : end], end
        return taken

    def number(self, format_: str) -> Any:
        """Return a number in the format of `struct`."""
        return struct.unpack(format_, self.take(struct.calcsize(format_)))[0]

    def line(self) -> bytes:
        """Return the text up to the end of its line."""
        end = self._data.find(b"\n", self._at)
        if end < 0:
            raise self._error("pickle is truncated: expected the end of a line")
        line, self._at = self._data[self._at : end], end + 1
        return line

    def counted(self, format_: str) -> bytes:
        """Return bytes, of which the number comes first."""
        length = self.number(format_)
        if length < 0:
            raise self._error(f"pickle is damaged: it claims {length} bytes")
        return self.take(length)

    def text(self, format_: str) -> str:
        """Return text in UTF-8, of which the length comes first."""
        return self.counted(format_).decode("utf-8", "surrogatepass")

    def decimal(self, text: bytes) -> int:
        """Return the integer that a text says."""
        if not _DECIMAL.fullmatch(text):
            raise self.refusal(f"the number {text[:50]!r}")
        return int(text)

    # Steps

    def protocol(self) -> None:
        """Read 0x80: the protocol, up to 5."""
        if (protocol := self.number("<B")) > 5:
            raise self.refusal(f"protocol {protocol}")

    def frame(self) -> None:
        """Read 0x95: how long the frame is that follows, which a pickle in memory need not know."""
        self.take(8)

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def line_integer(self) -> None:
        """Read I: an integer, or a bool of protocol 0."""
        line = self.line()
        self.push(line == b"01" if line in (b"00", b"01") else self.decimal(line))

    def line_long(self) -> None:
        """Read L: an integer with an L behind it."""
        self.push(self.decimal(self.line().removesuffix(b"L")))

    def long(self, format_: str) -> None:
        """Read an integer that is preceded by its length."""
        content = self.counted(format_)
        if len(content) > _MAX_INTEGER_BYTES:
            raise self.refusal(f"an integer of {len(content)} bytes")
        self.push(int.from_bytes(content, "little", signed=True))

    def quoted(self) -> None:
        """Read S: bytes in quotes, as Python 2 writes text."""
        match = _QUOTED.fullmatch(self.line())
        if match is None:
            raise self._error("pickle is damaged: expected text in quotes")
        self.push(codecs.escape_decode(match[match.lastindex or 1])[0])

    def mark(self) -> None:
        """Begin the items of a tuple, list or dict."""
        self._marked.append(self.stack)
        self.stack = []

    def items(self) -> list[Any]:
        """Return the values above the mark, and remove it."""
        above, self.stack = self.stack, self._marked.pop()
        return above

    def pop(self) -> None:
        """Drop the topmost value, or a mark."""
        if self.stack:
            self.stack.pop()
        else:
            self.items()

    def last(self, count: int) -> None:
        """Make a tuple of the topmost values."""
        if len(self.stack) < count:
            raise self._error("pickle is damaged: expected more values")
        values = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.push(values)

    def extend(self, values: list[Any]) -> None:
        """Append values to the list on top."""
        found = self.stack[-1]
        if type(found) is not list:
            raise self._error("pickle is damaged: expected a list")
        found.extend(values)

    def update(self, found: Any, items: list[Any]) -> None:
        """Add keys and values to a dict."""
        if type(found) is not dict or len(items) % 2:
            raise self._error("pickle is damaged: expected a dict, and a value for each key")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Tuples are no keys here: to hash one that is nested deeply overflows the interpreter's stack.
            if not isinstance(key, (str, bytes, int, float, type(None))):
                raise self.refusal(f"a dict whose keys are of type {type(key).__name__}")
            found[key] = value

    def dict_of(self, items: list[Any]) -> None:
        """Make a dict of keys and values."""
        self.push({})
        self.update(self.stack[-1], items)

    def set_items(self, items: list[Any]) -> None:
        """Add keys and values to the dict on top."""
        self.update(self.stack[-1], items)

    def set_item(self) -> None:
        """Read s: one key and value for the dict below them."""
        value, key = self.stack.pop(), self.stack.pop()
        self.update(self.stack[-1], [key, value])

    def put(self, number: int) -> None:
        """Remember the topmost value."""
        value = self.stack[-1]
        if isinstance(value, Unfinished):
            value.memo.append(number)
        self._memo[number] = value

    def memoize(self) -> None:
        """Remember the topmost value, in the next place."""
        self.put(len(self._memo))

    def get(self, number: int) -> None:
        """Repeat a value that was remembered."""
        self.push(self._memo[number])

    def name(self, module: Any, name: Any) -> None:
        """Look a name up among those that are known."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise self._error("pickle is damaged: expected a name")
        known = self._names.get((module, name))
        if known is None:
            raise self.refusal(f"{module}.{name}"[:200])
        self.push(known)

    def line_name(self) -> None:
        """Read c: a module and a name in it."""
        self.name(self.line().decode(), self.line().decode())

    def stack_name(self) -> None:
        """Read 0x93: a name whose parts are on the stack."""
        name, module = self.stack.pop(), self.stack.pop()
        self.name(module, name)

    def call(self) -> None:
        """Make the value of a known name."""
        arguments, called = self.stack.pop(), self.stack.pop()
        if not isinstance(called, Name) or called.make is None or type(arguments) is not tuple:
            raise self.refusal("a call of something that it does not name")
        self.push(called.make(self.refusal, arguments))

    def build(self) -> None:
        """Give an array or dtype its content, also where it is remembered."""
        state, unfinished = self.stack.pop(), self.stack.pop()
        if not isinstance(unfinished, Unfinished):
            raise self.refusal("a state of something that is no array")
        value = unfinished.finish(state)
        for number in unfinished.memo:
            self._memo[number] = value
        self.push(value)


def _weigh(value: Any, max_bytes: int, machine: _Machine) -> None:
    """Refuse a value that would be too large if all its parts were written out, and one that contains itself.

    A pickle may repeat a list by a reference to it, and that list others: a few bytes then stand for billions.
    """
    left, pending = max_bytes, [value]
    while pending:
        found = pending.pop()
        if isinstance(found, (Name, Unfinished)):
            raise machine.refusal("a name or an unfinished array as a value")
        left -= _NODE_BYTES
        if isinstance(found, (str, bytes)):
            left -= len(found)
        elif isinstance(found, (tuple, list)):
            left -= _NODE_BYTES * len(found)  # before they are pending
            pending += found if left >= 0 else ()
        elif isinstance(found, dict):
            left -= _NODE_BYTES * len(found) + sum(len(key) for key in found if isinstance(key, (str, bytes)))
            pending += found.values() if left >= 0 else ()
        if left < 0:
            raise machine.refusal(
                f"more than {format_bytes(max_bytes)} in repeated parts, or a list that contains itself"
            )


# Opcode -> what it does. Absent: persistent identities, extensions, classes and objects, sets, out-of-band buffers.
_STEPS: dict[bytes, Callable[[_Machine], object]] = {
    b"\x80": lambda m: m.protocol(),
    b"\x95": lambda m: m.frame(),
    b"(": _Machine.mark,
    b"0": _Machine.pop,
    b"1": _Machine.items,
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": _Machine.line_integer,
    b"L": _Machine.line_long,
    b"J": lambda m: m.push(m.number("<i")),
    b"K": lambda m: m.push(m.number("<B")),
    b"M": lambda m: m.push(m.number("<H")),
    b"\x8a": lambda m: m.long("<B"),
    b"\x8b": lambda m: m.long("<i"),
    b"F": lambda m: m.push(float(m.line()[:400])),
    b"G": lambda m: m.push(m.number(">d")),
    b"S": _Machine.quoted,
    b"T": lambda m: m.push(m.counted("<i")),
    b"U": lambda m: m.push(m.counted("<B")),
    b"B": lambda m: m.push(m.counted("<I")),
    b"C": lambda m: m.push(m.counted("<B")),
    b"\x8e": lambda m: m.push(m.counted("<Q")),
    b"\x96": lambda m: m.push(m.counted("<Q")),
    b"V": lambda m: m.push(m.line().decode("raw-unicode-escape")),
    b"X": lambda m: m.push(m.text("<I")),
    b"\x8c": lambda m: m.push(m.text("<B")),
    b"\x8d": lambda m: m.push(m.text("<Q")),
    b"]": lambda m: m.push([]),
    b"l": lambda m: m.push(m.items()),
    b"a": lambda m: m.extend([m.stack.pop()]),
    b"e": lambda m: m.extend(m.items()),
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push(tuple(m.items())),
    b"\x85": lambda m: m.last(1),
    b"\x86": lambda m: m.last(2),
    b"\x87": lambda m: m.last(3),
    b"}": lambda m: m.push({}),
    b"d": lambda m: m.dict_of(m.items()),
    b"s": _Machine.set_item,
    b"u": lambda m: m.set_items(m.items()),
    b"p": lambda m: m.put(m.decimal(m.line())),
    b"q": lambda m: m.put(m.number("<B")),
    b"r": lambda m: m.put(m.number("<I")),
    b"\x94": lambda m: m.memoize(),
    b"g": lambda m: m.get(m.decimal(m.line())),
    b"h": lambda m: m.get(m.number("<B")),
    b"j": lambda m: m.get(m.number("<I")),
    b"c": _Machine.line_name,
    b"\x93": _Machine.stack_name,
    b"R": _Machine.call,
    b"b": _Machine.build,
}
