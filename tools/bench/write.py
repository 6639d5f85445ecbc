"""Writing samples from memory: `shardpack.ShardWriter` against LMDB's writer and webdataset's ShardWriter, on `tiny`.

The samples are made before; what counts is the time from opening the writer to having closed it, in this
process. LMDB writes both payloads of a sample in the order of their keys (`append=True`), in one transaction
and without syncing; webdataset writes tars and nothing else, and syncs nothing. shardpack writes checksums,
indexes and a manifest, and syncs everything: "as many zeros, written and synced" is what that costs here.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
from common import Report, run
from data import TINY
from measure import interleave, ratio, timed
from pack import tar_bytes, write_zeros
from peers import put_all, write_webdataset

import shardpack

SHARD_BYTES = 64 << 20
OURS, LMDB, WEBDATASET = "shardpack.ShardWriter", "LMDB, sync off", "webdataset.ShardWriter, mtime=0"
Samples = list[tuple[str, bytes, bytes]]


def write_shardpack(samples: Samples, out: Path) -> None:
    """Write all samples as a dataset."""
    with shardpack.ShardWriter(out, max_shard_bytes=SHARD_BYTES) as writer:
        for key, image, label in samples:
            writer.write(key, {"jpg": image, "json": label})


def write_lmdb(samples: Samples, out: Path) -> None:
    """Write all samples into one LMDB."""
    room = 2 * sum(len(image) + len(label) + 8192 for _, image, label in samples)
    with lmdb.open(str(out), map_size=room, sync=False, metasync=False) as env:
        put_all(env, samples)


def write_and_sync(samples: Samples, out: Path) -> None:
    """Write as many zeros as the tars have bytes."""
    write_zeros(out, sum(tar_bytes(len(image)) + tar_bytes(len(label)) for _, image, label in samples))
    with open(out, "rb") as file:
        os.fsync(file.fileno())


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    samples = list(TINY.scaled(args.scale).samples())
    out = root / "write-out"

    def case(write: Callable[..., Any], **options: Any) -> float:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        os.sync()  # what was written before is not written back meanwhile
        return timed(lambda: write(samples, out / "out", **options))

    writers = {
        OURS: lambda: case(write_shardpack),
        LMDB: lambda: case(write_lmdb),
        WEBDATASET: lambda: case(write_webdataset, mtime=0),
        "webdataset.ShardWriter": lambda: case(write_webdataset),
        "as many zeros, written and synced": lambda: case(write_and_sync),
    }
    seconds = interleave(writers, args.rounds)
    shutil.rmtree(out)
    num_bytes = sum(len(image) + len(label) for _, image, label in samples)
    report.add_cases("tiny, from memory", seconds, per=len(samples), unit="samples", num_bytes=num_bytes, peer=OURS)
    for peer, wanted in ((LMDB, 0.8), (WEBDATASET, 4)):
        report.target(f"ShardWriter against {peer}", ratio(seconds[peer], seconds[OURS]), at_least=wanted)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=7))
