"""The first samples out of a bucket, each peer in a process that has done nothing before.

    bucket_peers.py shardpack --endpoint URL --folder FOLDER --count 1000 ...

starts one of them, takes its first samples, and prints as JSON how long that took. All hand out raw
bytes in shuffled order, in one process, with the settings that are theirs when nothing is said:

    shardpack     stream(shuffle="blocks")                   ranges, no files
    webdataset    pipe:curl, shards shuffled                 the same tar shards, one after the other
    mosaicml      StreamingDataset(remote=...), 64 MiB       downloads shards into an empty folder
    litdata       StreamingDataset("s3://..."), 64 MB        downloads chunks into an empty folder; views, copied
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from itertools import islice
from pathlib import Path
from typing import Any

from bucket_served import BUCKET, REGION, Prefix

Start = Callable[[], Iterable[Mapping[str, Any]]]


def prefix_of(args: argparse.Namespace) -> Prefix:
    """Return where the samples are."""
    return Prefix(args.endpoint, args.folder, Path())


def start_shardpack(args: argparse.Namespace) -> Start:
    import shardpack

    prefix = prefix_of(args)
    return lambda: shardpack.open(prefix.url, storage_options=prefix.options).stream(shuffle="blocks", seed=args.seed)


def start_webdataset(args: argparse.Namespace) -> Start:
    import webdataset

    shards = f"{args.endpoint}/{BUCKET}/{args.folder}/shard-{{000000..{args.shards - 1:06d}}}.tar"
    return lambda: webdataset.WebDataset(f"pipe:curl -s {shards}", shardshuffle=args.shards, seed=args.seed)


def start_mosaicml(args: argparse.Namespace) -> Start:
    from peers import BATCH, import_mosaicml

    where = {"remote": prefix_of(args).url, "local": args.cache}
    streaming = import_mosaicml()
    return lambda: streaming.StreamingDataset(**where, shuffle=True, shuffle_seed=args.seed, batch_size=BATCH)


def start_litdata(args: argparse.Namespace) -> Start:
    import litdata
    from litdata.streaming import downloader

    url = prefix_of(args).url
    options = {"cache_dir": args.cache, "storage_options": {"endpoint_url": args.endpoint}}
    # It downloads with obstore, and has no public way to allow plain HTTP there.
    getattr(downloader, "_OBSTORE_CLIENT_OPTIONS", {})["allow_http"] = True

    def start() -> Iterable[Mapping[str, Any]]:
        dataset = litdata.StreamingDataset(url, shuffle=True, seed=args.seed, **options)
        return ({field: bytes(payload) for field, payload in sample.items()} for sample in dataset)

    return start


# What each of these imports is not timed, what they return is.
PEERS = {
    "shardpack": start_shardpack,
    "webdataset": start_webdataset,
    "mosaicml": start_mosaicml,
    "litdata": start_litdata,
}


def first_command(peer: str, prefix: Prefix, count: int, cache: str, **more: int) -> list[str]:
    """Return the command, to be run at once, whose output says how long a peer's first samples take."""
    given = {"endpoint": prefix.endpoint, "folder": prefix.name, "count": count, "cache": cache, **more}
    options = [f"--{name}={value}" for name, value in given.items()]
    return [sys.executable, __file__, peer, *options, f"--began={time.monotonic()}"]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--cache", required=True, help="an empty folder for what is downloaded")
    parser.add_argument("--count", type=int, required=True, help="samples")
    parser.add_argument("--shards", type=int, default=1, help="how many there are: webdataset must know")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--began", type=float, required=True, help="when this process was started, monotonic clock")
    args = parser.parse_args(arguments)
    credentials = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing"}  # nginx asks for none
    where = {"S3_ENDPOINT_URL": args.endpoint, "AWS_DEFAULT_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true"}
    os.environ.update(credentials, **where)
    with redirect_stdout(sys.stderr):  # some print
        start = PEERS[args.peer](args)
        imported = time.monotonic()
        labels, num_bytes = set(), 0
        for sample in islice(start(), args.count):
            image, label = sample["jpg"], sample["json"]
            labels.add(label)
            num_bytes += len(image) + len(label)
        ended = time.monotonic()
    if len(labels) != args.count:
        sys.exit(f"{args.peer}: {len(labels)} different samples, expected {args.count}")
    print(json.dumps({"seconds": ended - imported, "with_start": ended - args.began, "num_bytes": num_bytes}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
