"""How well "blocks" mixes: the classes in a batch, beside those of a true shuffle of the same labels.

A folder of 100 classes is packed twice: sorted by class, as listed, and with `--shuffle-seed`. Of every
batch of 256 the entropy of its labels is taken, and its mean beside the mean over batches cut from
a random permutation of all labels: 1 is as good as a true shuffle. Blocks and windows are small
beside the data, as they are in datasets that do not fit in memory: a window of 16 blocks of 256 KiB
holds a twentieth of the samples; and one of 4 a hundredth.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

import numpy as np
import numpy.typing as npt
from common import Report, run
from data import TINY, Work, once
from measure import CLI, run_process

import shardpack

BATCH, EPOCHS = 256, 4
BLOCK_BYTES, WINDOWS = 256 << 10, (16, 4)
SHARD_BYTES = "4MiB"
SAMPLES = 20_000  # 84 MB in tars
Labels = npt.NDArray[np.int64]


def packed(work: Work, root: Path, *, shuffle: bool) -> Path:
    """Return the folder's dataset, packed by the command line if it is not there yet."""
    how = ["--shuffle-seed", "0"] if shuffle else []

    def pack(out: Path) -> None:
        run_process([*CLI, "pack", work.folder(root), out, "--max-shard-bytes", SHARD_BYTES, *how])

    return once(root / f"mixing-{work.num_samples}-{'shuffled' if shuffle else 'sorted'}", pack)


def labels_of(samples: Iterable[shardpack.Sample]) -> Labels:
    """Return the labels of samples, in their order."""
    return np.array([json.loads(sample["json"])["label"] for sample in samples], np.int64)


def entropy(labels: Labels) -> float:
    """Return the mean entropy, in bits, of the labels of whole batches."""
    found = []
    for first in range(0, len(labels) - BATCH + 1, BATCH):
        share = np.bincount(labels[first : first + BATCH]) / BATCH
        share = share[share > 0]
        found.append(-float((share * np.log2(share)).sum()))
    return fmean(found)


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    work = Work(TINY.name, max(4 * BATCH, round(SAMPLES * args.scale)), TINY.min_bytes, TINY.max_bytes)
    for shuffled in (True, False):
        ds = shardpack.open(packed(work, root, shuffle=shuffled))
        stored = labels_of(ds.stream(fields=["json"]))
        draws = [np.random.default_rng(epoch).permutation(stored) for epoch in range(args.rounds)]
        true_shuffle = fmean(map(entropy, draws))

        def add(order: str, bits: float, true: float = true_shuffle, how: bool = shuffled) -> float:
            name = "--shuffle-seed 0" if how else "sorted by class"
            row = {"packed": name, "order": order, "bits_a_batch": round(bits, 4)}
            report.add(**row, of_true_shuffle=round(bits / true, 4))
            return bits / true

        add("a true shuffle", true_shuffle)
        add("stored order", entropy(stored))
        for window in WINDOWS:
            mode = {"shuffle": "blocks", "block_bytes": BLOCK_BYTES, "window_blocks": window, "partitions": 1}
            mode |= {"fields": ["json"], "batch_size": BATCH}
            epochs = [labels_of(ds.stream(seed=epoch, **mode)) for epoch in range(args.rounds)]
            if any(sorted(labels.tolist()) != sorted(stored.tolist()) for labels in epochs):
                sys.exit("an epoch does not hold each sample once")
            mixed = add(f'"blocks", {window} in a window', fmean(map(entropy, epochs)))
            if shuffled:
                report.target(f'packed with --shuffle, "blocks" of {window}: of a true shuffle', mixed, at_least=0.98)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=EPOCHS))
