"""Bytes of index a sample, beside its key, for samples of two fields: one shard of 100, 10,000, 100,000.

"index" is the shard's sidecar alone; the key index and the manifest's line stand beside it.
"""

from __future__ import annotations

import sys

from common import Report, options, work_folder
from data import Work, packed

import shardpack

SIZES = (100, 10_000, 100_000)


def main() -> int:
    args = options(__doc__, rounds=1).parse_args()
    report = Report("index_size", args)
    with work_folder(args) as root:
        for count in SIZES:
            work = Work("small", count, 64, 64).scaled(args.scale)
            folder = packed(work, root, max_shard_bytes="4GiB")
            keys = list(shardpack.open(folder).keys())
            key_bytes = sum(len(key.encode()) for key in keys) / len(keys)
            index = (folder / "shard-000000.index").stat().st_size / len(keys)
            report.add(
                samples=len(keys),
                key_bytes=round(key_bytes, 1),
                index=round(index, 2),
                index_less_key=round(index - key_bytes, 2),
                key_index=round((folder / "keys.index").stat().st_size / len(keys), 2),
                manifest=round((folder / "shardpack.json").stat().st_size / len(keys), 2),
            )
            report.target(f"index less key, {len(keys):,} samples", index - key_bytes, below=64)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
