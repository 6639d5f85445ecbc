"""Write samples made in code, with several fields each, and read them with plain `tarfile`.

The writer publishes the dataset when the block ends well. If it raises, nothing is published.
"""

from __future__ import annotations

import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw

import shardpack


def png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        with shardpack.ShardWriter(folder, max_shard_samples=50) as writer:
            for radius in range(1, 121):
                mask = Image.new("1", (256, 256))
                ImageDraw.Draw(mask).ellipse((128 - radius, 128 - radius, 128 + radius, 128 + radius), fill=1)
                image = Image.new("RGB", mask.size, "navy")
                image.paste("gold", mask=mask)
                writer.write(
                    f"circle/{radius:04d}",
                    {"png": png(image), "seg.png": png(mask), "json": {"radius": radius}, "txt": "a disc"},
                )

        ds = shardpack.open(folder)
        sample = ds["circle/0077"]
        print(f"{len(ds)} samples in {len(ds.shards)} shards, fields: {', '.join(ds.fields)}")
        print(f"{sample.key}: {sample.decode('json')}, mask of {sample.decode('seg.png').size} pixels")

        # What lies on disk is an ordinary tar.
        with tarfile.open(Path(folder, ds.shards[0].name)) as shard:
            print("first members:", ", ".join(shard.getnames()[:4]))


if __name__ == "__main__":
    main()
