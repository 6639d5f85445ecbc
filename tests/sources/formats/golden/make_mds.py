"""Writes the folder mds/ with mosaicml-streaming: run once, by hand; recorded with version 0.13.

The package brings PyTorch, too much to install for each run of the tests.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from streaming import MDSWriter

HERE = Path(__file__).parent
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(64))
COLUMNS = {
    "image": "jpeg", "label": "int", "score": "float32", "name": "str", "info": "json", "vector": "ndarray",
    "fixed": "ndarray:uint8:2,2", "dtyped": "ndarray:int16", "views": "list[png]", "n": "str_int", "raw": "pil",
}  # fmt: skip


def sample(number):
    pixels = Image.fromarray(np.full((2, 3, 3), number, np.uint8))
    return {
        "image": JPEG + bytes([number]), "label": number, "score": 0.5 * number, "name": f"n{number}",
        "info": {"boxes": [[1, 2, 3, number]]}, "vector": np.arange(3, dtype=np.float32),
        "fixed": np.full((2, 2), number, np.uint8), "dtyped": np.array([[number]], np.int16),
        "views": [pixels, pixels], "n": 10**20 + number, "raw": pixels,
    }  # fmt: skip


for split, compression in (("train", None), ("val", "zstd")):
    with MDSWriter(out=str(HERE / "mds" / split), columns=COLUMNS, compression=compression, size_limit=4096) as writer:
        for number in range(6):
            writer.write(sample(number))
