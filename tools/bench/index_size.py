"""Bytes of index a sample, beside its key, for samples of two fields: one shard of 100, 10,000, 100,000.

"index" is the shard's sidecar alone; the key index, and all else that lies beside the shards, stand beside it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from common import Report, run
from data import Work, packed

import shardpack

SIZES = (100, 10_000, 100_000)


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    for count in SIZES:
        work = Work("small", count, 64, 64).scaled(args.scale)
        folder = packed(work, root, max_shard_bytes="4GiB")
        keys = list(shardpack.open(folder).keys())
        key_bytes = sum(len(key.encode()) for key in keys) / len(keys)
        sizes = {path.name: path.stat().st_size / len(keys) for path in folder.rglob("*") if path.is_file()}
        index, key_index = (
            sizes[".shardpack/index/shard-000000.index"],
            sum(sizes[name] for name in sizes if name.startswith("keys")),
        )
        report.add(
            samples=len(keys),
            key_bytes=round(key_bytes, 1),
            index=round(index, 2),
            index_less_key=round(index - key_bytes, 2),
            key_index=round(key_index, 2),
            all_else=round(sum(sizes.values()) - sizes["shard-000000.tar"] - index - key_index, 2),
        )
        report.target(f"index less key, {len(keys):,} samples", index - key_bytes, below=64)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=1))
