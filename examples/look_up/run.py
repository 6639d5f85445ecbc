"""Look samples up at random, as an evaluation does, in the files that training streams.

Nothing is unpacked or scanned: the index says where each field lies in its tar.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import shardpack

IMAGES = Path(__file__).parents[1] / "images"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        shardpack.pack(IMAGES, folder, max_shard_bytes="128KiB")
        ds = shardpack.open(folder)

        by_position = ds[12]
        by_key = ds["shoes/03"]
        print(f"ds[12] is {by_position.key!r}; 'shoes/03' is at {by_key.position}")
        image = by_key.decode("jpg")
        print(f"its image: {len(by_key['jpg'])} bytes of JPEG, decoded to {image.size[0]} x {image.size[1]}")

        # Many at once come back in the order asked for, with their reads sorted and merged.
        wanted = ["t-shirt/02", 0, "hat/04", 39]
        print("a batch:", ", ".join(sample.key for sample in ds.get_many(wanted)))

        # The labels of everything, without reading a byte of any image.
        labels = [sample.decode("json")["class"] for sample in ds.get_many(range(len(ds)), fields=["json"])]
        print(f"{len(Counter(labels))} classes, {labels.count('shoes')} pairs of shoes")

        # A subset is a view: it has a length, look-up and a stream of its own.
        legs = ds.select([position for position, label in enumerate(labels) if label in {"pants", "shorts"}])
        print(f"a view of {len(legs)}:", ", ".join(sample.key for sample in legs.stream()))


if __name__ == "__main__":
    main()
