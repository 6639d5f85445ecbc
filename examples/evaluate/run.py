"""Evaluate by key: a list of questions names images in any order, as benchmarks do, and each is looked up at random.

The dataset is the one that training streams; nothing is unpacked and nothing is scanned.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import shardpack

IMAGES = Path(__file__).parents[1] / "images"


def colors(ds: shardpack.Dataset, keys: list[str]) -> np.ndarray:
    """A very small "model": the mean colour of each of nine tiles."""
    images = [sample.decode("jpg").convert("RGB").resize((3, 3)) for sample in ds.get_many(keys)]
    return np.stack([np.asarray(image, np.float32).ravel() for image in images])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        shardpack.pack(IMAGES, folder, max_shard_bytes="128KiB", shuffle_seed=1)
        ds = shardpack.open(folder)

        # Questions come from elsewhere, as keys: which of two images is of the class of the first?
        keys = list(ds.keys())
        draw = np.random.default_rng(0)
        questions = []
        for one in keys * 3:
            alike = [key for key in keys if key.split("/")[0] == one.split("/")[0] and key != one]
            others = [key for key in keys if key.split("/")[0] != one.split("/")[0]]
            questions.append((one, str(draw.choice(alike)), str(draw.choice(others))))

        right = 0
        for start in range(0, len(questions), 25):
            batch = questions[start : start + 25]
            one, same, other = (colors(ds, list(keys)) for keys in zip(*batch, strict=True))
            right += int((np.abs(one - same).sum(1) < np.abs(one - other).sum(1)).sum())
        print(f"{len(questions)} questions about {len(ds)} images in {len(ds.shards)} shards: {right} right")
        print("the first one:", ", ".join(f"{key!r} at {ds[key].position}" for key in questions[0]))


if __name__ == "__main__":
    main()
