"""Compressed objects for tests: bytes in frames of a given size, and the frames."""

from __future__ import annotations

from typing import Any

import numpy as np

from shardpack.format.frames import Frames, frames_of, seek_table
from tests.format.builders import judge_module


def compressed(data: bytes, frame_bytes: int = 1000, *, content_size: bool = True, table: bool = True) -> Any:
    """Return (file, frames): data in frames of `frame_bytes`, with a seek table."""
    module = judge_module("zstandard")
    compress = module.ZstdCompressor(level=1, write_content_size=content_size).compress
    parts = [data[at : at + frame_bytes] for at in range(0, len(data), frame_bytes)]
    stored = [compress(part) for part in parts]
    frames = frames_of(
        np.array([[len(a), len(b)] for a, b in zip(stored, parts, strict=True)], np.int64).reshape(-1, 2)
    )
    return b"".join(stored) + (seek_table(frames) if table else b""), frames


def framed(objects: dict[str, bytes], frame_bytes: int = 1000) -> tuple[dict[str, bytes], dict[str, Frames]]:
    """Return objects compressed, and the frames of each."""
    both = {name: compressed(data, frame_bytes) for name, data in objects.items()}
    return {name: file for name, (file, _) in both.items()}, {name: frames for name, (_, frames) in both.items()}
