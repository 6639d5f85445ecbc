"""The names that pickles of plain values and of arrays mention, and the values that are made for them.

None of them is looked up or called: an array is made from its bytes, once its shape and its numbers are known to fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from shardpack.errors import SourceError

_MAX_LENGTH = 1 << 40  # of a dimension of an array
_MAX_DIMENSIONS = 32
_NUMBERS = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")

Refusal = Callable[[str], SourceError]  # the error for what a pickle holds


class Name:
    """A name in a pickle that this module knows."""

    def __init__(self, make: Callable[[Refusal, tuple[Any, ...]], Any] | None = None) -> None:
        self.make = make  # the value that calling it makes; None if it is only mentioned


@dataclass(slots=True, eq=False)
class Unfinished:
    """An array or dtype that has been made, and gets its content by BUILD."""

    finish: Callable[[Any], Any]
    memo: list[int] = field(default_factory=list)  # its places in the memo


def _encode(refusal: Refusal, arguments: tuple[Any, ...]) -> bytes:
    """Return bytes as Python 3 writes them in protocols 0 to 2: as text in Latin-1."""
    match arguments:
        case (str(text), "latin1" | "latin-1") if all(letter < "\u0100" for letter in text):
            return text.encode("latin-1")
        case _:
            raise refusal("bytes that are no Latin-1 text")


def _no_bytes(refusal: Refusal, arguments: tuple[Any, ...]) -> bytes:
    if arguments:
        raise refusal("a call of bytes")
    return b""


def _dtype(refusal: Refusal, arguments: tuple[Any, ...]) -> Unfinished:
    text = arguments[0] if len(arguments) in (1, 2, 3) else None
    text = text.decode("latin-1") if isinstance(text, bytes) else text
    if not isinstance(text, str) or not _NUMBERS.fullmatch(text):
        raise refusal(f"an array of {text!r}, expected numbers")

    def finish(state: Any) -> np.dtype[Any]:
        match state:
            case (int(), ("<" | ">" | "|" | "=") as order, None, None, None, int(), int(), int()):
                return np.dtype(text).newbyteorder(order)
            case (int(), bytes(order), *rest):
                return finish((state[0], order.decode("latin-1"), *rest))
            case _:
                raise refusal("an array whose numbers have a structure")

    return Unfinished(finish)


def _reconstruct(refusal: Refusal, arguments: tuple[Any, ...]) -> Unfinished:
    if len(arguments) != 3 or arguments[0] is not _NDARRAY:
        raise refusal("an array of a class of its own")

    def finish(state: Any) -> Any:
        match state:
            case (int(), tuple(shape), np.dtype() as dtype, fortran, bytes(content)):
                return _array(refusal, content, dtype, shape, "F" if fortran else "C")
            case _:
                raise refusal("an array without dtype, shape and bytes")

    return Unfinished(finish)


def _frombuffer(refusal: Refusal, arguments: tuple[Any, ...]) -> Any:
    match arguments:
        case (bytes(content), np.dtype() as dtype, tuple(shape), "C" | "F" as order):
            return _array(refusal, content, dtype, shape, order)
        case _:
            raise refusal("an array without bytes, dtype, shape and order")


def _array(
    refusal: Refusal, content: bytes, dtype: np.dtype[Any], shape: tuple[Any, ...], order: Literal["C", "F"]
) -> Any:
    """Return an array over the bytes of the pickle, read-only."""
    count = 1
    for length in shape:
        if not isinstance(length, int) or isinstance(length, bool) or not 0 <= length <= _MAX_LENGTH:
            raise refusal(f"an array of shape {shape!r}")
        count *= length
    if len(shape) > _MAX_DIMENSIONS or count * dtype.itemsize != len(content):
        raise refusal(f"an array of shape {shape!r} and {dtype}, with {len(content)} bytes")
    return np.frombuffer(content, dtype).reshape(shape, order=order)


_NDARRAY = Name()
PLAIN = {
    ("_codecs", "encode"): Name(_encode),
    ("builtins", "bytes"): Name(_no_bytes),
    ("__builtin__", "bytes"): Name(_no_bytes),
}
NUMPY = {
    **PLAIN,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): Name(_dtype),
    **{(f"numpy.{core}.multiarray", "_reconstruct"): Name(_reconstruct) for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): Name(_frombuffer) for core in ("core", "_core")},
}
