"""shardpack: plain tar shards with an offset index, to stream, seek and resume.

shardpack.pack("photos/", "out/")      # pack a folder
ds = shardpack.open("out/")            # len(ds), ds[12], ds["cat/0001"], ds.get_many([...])
for sample in ds.stream(): ...         # one epoch
"""

from shardpack._version import __version__ as __version__
from shardpack.api import open, pack  # noqa: A004 - `shardpack.open` is meant to read like this
from shardpack.dataset import Dataset
from shardpack.edit.copy import CopyReport, copy
from shardpack.errors import ShardpackError
from shardpack.export.files import extract
from shardpack.format.naming import unescape_key
from shardpack.format.shard_info import ShardInfo
from shardpack.index.report import IndexReport
from shardpack.index.run import index
from shardpack.inspect.verify import VerifyReport, verify
from shardpack.read.sample import Sample
from shardpack.read.shard_reader import FieldLocation, SampleLocation
from shardpack.storage.stats import Stats
from shardpack.stream.loader import Loader
from shardpack.stream.mixed import MixedStream, mix
from shardpack.stream.stream import Stream
from shardpack.write.report import PackReport
from shardpack.write.shard_writer import ShardWriter

__all__ = [
    "CopyReport",
    "Dataset",
    "FieldLocation",
    "IndexReport",
    "Loader",
    "MixedStream",
    "PackReport",
    "Sample",
    "SampleLocation",
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
