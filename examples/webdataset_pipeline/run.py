"""A webdataset pipeline over the same files: as it always was, and with shardpack as its first stage.

The shards are plain tars, so `wds.WebDataset` reads them as they are. With `samples` in front, the
same pipeline gets an exact epoch in a shuffled order, its share of it, and a point to resume at.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import webdataset as wds

import shardpack
from shardpack.webdataset import ShardWriter, samples, urls

IMAGES = Path(__file__).parents[1] / "images"
BATCH_SIZE = 8


def stages() -> list:
    return [wds.decode("rgb8"), wds.to_tuple("__key__", "jpg", "json"), wds.batched(BATCH_SIZE, collation_fn=None)]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        shardpack.pack(IMAGES, folder, max_shard_bytes="128KiB")

        plain = wds.DataPipeline(wds.SimpleShardList(urls(folder)), wds.tarfile_to_samples(), *stages())
        print("as it always was:", ", ".join(key for key, _, _ in next(iter(plain))))

        first = samples(folder, shuffle="blocks", seed=0, batch_size=BATCH_SIZE)
        pipeline = wds.DataPipeline(first, *stages())
        batches = list(pipeline)
        print("in our order:    ", ", ".join(key for key, _, _ in batches[0]))
        print(f"one epoch: {len(first)} samples in {len(batches)} batches")

        first.load_state_dict(first.state_after(3))
        rest = [[key for key, _, _ in batch] for batch in pipeline]
        print("resumed after 3 batches:", rest == [[key for key, _, _ in batch] for batch in batches[3:]])

        # And the other way: what webdataset's writer takes becomes a dataset with an index.
        with ShardWriter(f"{folder}/small/part-%06d.tar", maxcount=16) as writer:
            for key, image, label in (row for batch in batches for row in batch):
                writer.write({"__key__": key, "png": image[::16, ::16], "json": label})
        small = shardpack.open(f"{folder}/small")
        print(f"{small['hat/01'].decode('png').size} pixels of 'hat/01' in {len(small.shards)} shards")


if __name__ == "__main__":
    main()
