"""Writes recordio/train.rec, .idx and .lst with MXNet: run once, by hand, in the environment of tools/try_judges mxnet.

Recorded with version 1.9.1, the last one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

np.bool = bool  # MXNet asks NumPy for a name of its day
from mxnet import recordio  # noqa: E402

HERE = Path(__file__).parent / "recordio"
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(64))
MAGIC = b"\x0a\x23\xd7\xce"  # at a multiple of 4 a record is split there, and these bytes are dropped

HERE.mkdir(exist_ok=True)
writer = recordio.MXIndexedRecordIO(str(HERE / "train.idx"), str(HERE / "train.rec"), "w")
for number in range(6):
    label = float(number) if number < 4 else [float(number), 0.5]
    header = recordio.IRHeader(0, label, number, 0)
    writer.write_idx(number, recordio.pack(header, JPEG + MAGIC * (number % 3) + bytes([number])))
writer.close()
(HERE / "train.lst").write_text("".join(f"{number}\t{number}\tclass/{number}.jpg\n" for number in range(6)))
