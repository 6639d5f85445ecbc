"""Hypothesis strategies for names, payloads, chunkings and damage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

SAFE = [chr(code) for code in range(0x21, 0x7F) if chr(code) not in "/."]
BOUNDARY_SIZES = (0, 1, 511, 512, 513, 8**11 - 1, 8**11)  # the last: 8 GiB, where octal ends


def examples(count: int, **more: Any) -> settings:
    """Return settings with `count` examples, or as many fewer or more as the chosen profile asks for."""
    profile = settings.default.max_examples
    usual = 100
    return settings(max_examples=min(count, profile) if profile < usual else count * profile // usual, **more)


def components(alphabet: str | list[str] = SAFE, *, max_size: int = 12) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=1, max_size=max_size)


def safe_keys(*, max_depth: int = 3, max_size: int = 12) -> st.SearchStrategy[str]:
    """Keys of SPEC 2.1: no component begins with "__" here, and folders hold no dots."""
    part = components(max_size=max_size).filter(lambda part: not part.startswith("__"))
    return st.lists(part, min_size=1, max_size=max_depth).map("/".join)


def safe_fields() -> st.SearchStrategy[str]:
    lower = [character for character in SAFE if not character.isupper()]
    part = components(lower, max_size=6)
    return st.lists(part, min_size=1, max_size=3).map(".".join).filter(lambda field: not field.startswith("__"))


def tricky_names() -> st.SearchStrategy[str]:
    """Any text, leaning to what decides about the cut: dots, slashes, underscores, line feeds, case."""
    characters = st.characters(exclude_categories=["Cs"])
    return st.text(st.one_of(st.sampled_from([*"././__aA\n \\é", "\udcff"]), characters), max_size=24)


def member_names() -> st.SearchStrategy[str]:
    """ASCII member names up to some 300 bytes: plain, with a prefix, and for pax only."""
    part = st.text("abXY-_.", min_size=1, max_size=120).filter(lambda part: part not in (".", ".."))
    return st.lists(part, min_size=1, max_size=4).map("/".join)


def payloads(max_size: int = 1100) -> st.SearchStrategy[bytes]:
    edges = st.sampled_from([size for size in BOUNDARY_SIZES if size <= max_size]).map(bytes)
    return st.one_of(edges, st.binary(max_size=max_size))


def cuts() -> st.SearchStrategy[list[int]]:
    """Lengths of the pieces that `chunked` cuts bytes into; repeated until the bytes run out."""
    return st.lists(st.sampled_from([1, 7, 100, 511, 512, 513, 4096, 1 << 20]), min_size=1, max_size=4)


def chunked(data: bytes, lengths: list[int]) -> Iterator[bytes]:
    at = number = 0
    while at < len(data):
        length = lengths[number % len(lengths)]
        yield data[at : at + length]
        at += length
        number += 1


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """`whole` with a few bytes changed, a run cut out or doubled, or the end cut off."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.integers(0, 40))
        match draw(st.sampled_from(["change", "cut", "insert", "double", "end"])):
            case "change":
                data[at : at + length] = draw(st.binary(min_size=length, max_size=length))
            case "cut":
                del data[at : at + length]
            case "insert":
                data[at:at] = draw(st.binary(max_size=40))
            case "double":
                data[at:at] = data[at : at + length]
            case "end":
                del data[at:]
    return bytes(data)


def json_values() -> st.SearchStrategy[object]:
    """JSON values with the numbers and names that break careless readers."""
    numbers = st.sampled_from([-1, 0, 1, 2**31, 2**63 - 1, 2**63, 2**64, 10**400, -(10**30), 0.5, float("nan"), 1e999])
    names = st.sampled_from(["", "\ud800", "\0", "a", "../a", "é"])
    leaves = st.one_of(st.none(), st.booleans(), numbers, names, st.text(max_size=5))
    return st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=3)),
        max_leaves=8,
    )
