"""Pack class folders of images into tar shards, then read one shuffled epoch.

photos/dress/01.jpg becomes the sample "dress/01" with the fields "jpg" (the file's bytes,
unchanged) and "json" ({"label": 0, "class": "dress"}, from the folder's name).
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import shardpack

IMAGES = Path(__file__).parents[1] / "images"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        # Small shards, to have several; for real data the default of 256 MiB is fine.
        report = shardpack.pack(IMAGES, folder, max_shard_bytes="128KiB")
        print(f"packed {report.num_samples} images of {report.classes} classes, {report.payload_bytes} bytes")

        ds = shardpack.open(folder)
        print(f"{len(ds)} samples with fields {', '.join(ds.fields)} in {len(ds.shards)} shards:")
        for shard in ds.shards:
            print(f"  {shard.name}  {shard.num_samples:2d} samples  {shard.num_bytes:6d} bytes")

        # Each sample comes once. Seed and epoch fix the order, here and on any other machine.
        stream = ds.stream(shuffle="shards", seed=0)
        stream.set_epoch(3)
        seen: Counter[str] = Counter()
        for sample in stream:
            seen[sample.decode("json")["class"]] += 1
        print(f"one epoch of {len(stream)}:", ", ".join(f"{count} {name}" for name, count in sorted(seen.items())))


if __name__ == "__main__":
    main()
