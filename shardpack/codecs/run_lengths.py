"""COCO's run lengths: a mask as the lengths of alternating runs of 0 and 1, down the columns, beginning with 0.

    {"size": [height, width], "counts": [6, 1, 40, ...]}        as annotation files have crowds
    {"size": [height, width], "counts": "61X13..."}             as pycocotools writes them

The text is in groups of 5 bits, lowest first, each as one character from "0" on; bit 5 says that another follows, and
bit 4 of the last is the sign. From the fourth run on it holds differences to the run two before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.errors import DecodeError

Mask = npt.NDArray[np.bool_]
_FIRST = 48  # "0"
_MAX_GROUPS = 7  # 35 bits


def decode_runs(value: Mapping[str, Any], height: int, width: int) -> Mask:
    """Return the mask (height, width).

    Args:
        value: A dict with `size` and `counts`.
        height, width: Size that it must have, which bounds the memory.

    Raises:
        DecodeError: It is of another size, or damaged.
    """
    runs = check_runs(value, height, width)
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def check_runs(value: Mapping[str, Any], height: int, width: int) -> Sequence[int]:
    """Return the lengths of the runs, which are as many pixels as an image has; makes no mask.

    Raises:
        DecodeError: They are of another size, or damaged.
    """
    size, counts = value.get("size"), value.get("counts")
    if size != [height, width]:
        raise DecodeError(f"run lengths are of size {size}, expected [{height}, {width}] as the image; correct them")
    runs = _parse(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, Sequence) or not all(type(run) is int and run >= 0 for run in runs):
        raise DecodeError("run lengths are not a list of counts, or a text of them; correct them")
    if sum(runs) != height * width:
        raise DecodeError(f"run lengths are damaged: they hold {sum(runs)} pixels, expected {height * width}")
    return runs


def encode_runs(mask: Mask, *, as_text: bool) -> dict[str, Any]:
    """Return a mask (height, width) as run lengths."""
    flat = mask.T.reshape(-1)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    ends = np.concatenate(([0], changes, [len(flat)]))
    runs = np.diff(ends).tolist()
    if flat[0]:
        runs.insert(0, 0)
    return {"size": [*mask.shape], "counts": _format(runs) if as_text else runs}


def _parse(text: str) -> list[int]:
    runs: list[int] = []
    value = groups = 0
    for character in text:
        bits = ord(character) - _FIRST
        if not 0 <= bits < 64 or groups == _MAX_GROUPS:
            raise DecodeError(f"run lengths are damaged: {text[:40]!r}")
        value |= (bits & 31) << (5 * groups)
        groups += 1
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << (5 * groups)
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = groups = 0
    if groups:
        raise DecodeError(f"run lengths are cut short: {text[-40:]!r}")
    return runs


def _format(runs: Sequence[int]) -> str:
    characters = []
    for number, run in enumerate(runs):
        value = run - runs[number - 2] if number > 2 else run
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            characters.append(chr(_FIRST + bits + 32 * more))
    return "".join(characters)
