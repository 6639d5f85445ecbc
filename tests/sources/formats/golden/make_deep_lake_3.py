"""Write golden/deep_lake_3 with the package itself: pip install "deeplake<4" "numpy<2" (4 writes no such files)."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import deeplake
import numpy as np
from PIL import Image

ds = deeplake.empty(str(Path(__file__).parent / "deep_lake_3"), overwrite=True)
ds.create_tensor("images", htype="image", sample_compression="jpeg")
ds.create_tensor("labels", htype="class_label", class_names=["cat", "dog"])
ds.create_tensor("caption", htype="text")
with tempfile.TemporaryDirectory() as folder:
    for i in range(3):
        payload = io.BytesIO()
        Image.fromarray(np.full((8, 8 + i, 3), 40 * i, np.uint8)).save(payload, "JPEG")
        file = Path(folder, f"{i}.jpg")
        file.write_bytes(payload.getvalue())
        ds.append({"images": deeplake.read(str(file)), "labels": i % 2, "caption": f"number {i}"})
ds.flush()
