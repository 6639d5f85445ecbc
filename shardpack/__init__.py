"""shardpack: plain tar shards with an offset index, to stream, seek and resume.

shardpack.pack("photos/", "out/")      # pack a folder
ds = shardpack.open("out/")            # len(ds), ds[12], ds["cat/0001"], ds.get_many([...])
for sample in ds.stream(): ...         # one epoch
"""

from shardpack.api import open, pack  # noqa: A004 - `shardpack.open` is meant to read like this
from shardpack.copying import CopyReport, copy
from shardpack.errors import ShardpackError
from shardpack.extraction import extract
from shardpack.format.manifest import ShardInfo
from shardpack.format.naming import unescape_key
from shardpack.pack.options import PackReport
from shardpack.pack.writer import ShardWriter
from shardpack.read.dataset import Dataset
from shardpack.read.mix import mix
from shardpack.read.sample import Sample
from shardpack.read.stream import Stream
from shardpack.read.verify import VerifyReport, verify
from shardpack.storage.protocol import Stats
from shardpack.tars import IndexReport, index

__version__ = "0.1.0"

__all__ = [
    "CopyReport",
    "Dataset",
    "IndexReport",
    "PackReport",
    "Sample",
    "ShardInfo",
    "ShardWriter",
    "ShardpackError",
    "Stats",
    "Stream",
    "VerifyReport",
    "copy",
    "extract",
    "index",
    "mix",
    "open",
    "pack",
    "unescape_key",
    "verify",
]
