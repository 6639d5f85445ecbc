"""shardpack: plain tar shards with an offset index, for streaming, random access and resuming.

shardpack.pack("photos/", "out/")      # pack a folder
ds = shardpack.open("out/")            # len(ds), ds[12], ds["cat/0001"], ds.get_many([...])
for sample in ds.stream(): ...         # one epoch
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shardpack._version import __version__ as __version__
from shardpack.errors import ShardpackError
from shardpack.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from shardpack.api import append, open, pack  # noqa: A004 - `shardpack.open` is meant to read like this
    from shardpack.codecs.crop import CenterCrop, RandomResizedCrop
    from shardpack.dataset import Dataset
    from shardpack.edit.append import AppendReport
    from shardpack.edit.attach import attach
    from shardpack.edit.copy import CopyReport, copy
    from shardpack.edit.delete import delete
    from shardpack.edit.detach import detach
    from shardpack.edit.gc import GcReport, gc
    from shardpack.edit.log import LogEntry, log
    from shardpack.edit.merge import MergeReport, merge
    from shardpack.edit.relabel import RelabelReport, relabel
    from shardpack.edit.repair import RepairReport, repair
    from shardpack.edit.report import EditReport, LayerReport
    from shardpack.edit.split import SplitReport, split
    from shardpack.edit.table import table
    from shardpack.export.exporter import ExportReport
    from shardpack.export.files import extract
    from shardpack.export.run import export
    from shardpack.format.naming import unescape_key
    from shardpack.format.shard_info import ShardInfo
    from shardpack.index.run import IndexReport, index
    from shardpack.inspect.verify import VerifyReport, verify
    from shardpack.read.sample import FieldLocation, Sample, SampleLocation
    from shardpack.storage.stats import Stats
    from shardpack.stream.loader import Loader
    from shardpack.stream.mixed import MixedStream, mix
    from shardpack.stream.stream import Stream
    from shardpack.write.report import PackReport
    from shardpack.write.shard_writer import ShardWriter

__all__ = [
    "AppendReport",
    "CenterCrop",
    "CopyReport",
    "Dataset",
    "EditReport",
    "ExportReport",
    "FieldLocation",
    "GcReport",
    "IndexReport",
    "LayerReport",
    "Loader",
    "LogEntry",
    "MergeReport",
    "MixedStream",
    "PackReport",
    "RandomResizedCrop",
    "RelabelReport",
    "RepairReport",
    "Sample",
    "SampleLocation",
    "ShardInfo",
    "ShardWriter",
    "ShardpackError",
    "SplitReport",
    "Stats",
    "Stream",
    "VerifyReport",
    "append",
    "attach",
    "copy",
    "delete",
    "detach",
    "export",
    "extract",
    "gc",
    "index",
    "log",
    "merge",
    "mix",
    "open",
    "pack",
    "relabel",
    "repair",
    "split",
    "table",
    "unescape_key",
    "verify",
]

# A worker process that packs has no use for what streams, and `shardpack --help` for neither.
if not TYPE_CHECKING:  # to a type checker, any name would be there
    __getattr__, __dir__ = lazy_names(
        "shardpack",
        {
            "AppendReport": "edit.append",
            "CenterCrop": "codecs.crop",
            "CopyReport": "edit.copy",
            "Dataset": "dataset",
            "EditReport": "edit.report",
            "ExportReport": "export.exporter",
            "FieldLocation": "read.sample",
            "GcReport": "edit.gc",
            "IndexReport": "index.run",
            "LayerReport": "edit.report",
            "Loader": "stream.loader",
            "LogEntry": "edit.log",
            "MergeReport": "edit.merge",
            "MixedStream": "stream.mixed",
            "PackReport": "write.report",
            "RandomResizedCrop": "codecs.crop",
            "RelabelReport": "edit.relabel",
            "RepairReport": "edit.repair",
            "Sample": "read.sample",
            "SampleLocation": "read.sample",
            "ShardInfo": "format.shard_info",
            "ShardWriter": "write.shard_writer",
            "SplitReport": "edit.split",
            "Stats": "storage.stats",
            "Stream": "stream.stream",
            "VerifyReport": "inspect.verify",
            "append": "api",
            "attach": "edit.attach",
            "copy": "edit.copy",
            "delete": "edit.delete",
            "detach": "edit.detach",
            "export": "export.run",
            "extract": "export.files",
            "gc": "edit.gc",
            "index": "index.run",
            "log": "edit.log",
            "merge": "edit.merge",
            "mix": "stream.mixed",
            "open": "api",
            "pack": "api",
            "relabel": "edit.relabel",
            "repair": "edit.repair",
            "split": "edit.split",
            "table": "edit.table",
            "unescape_key": "format.naming",
            "verify": "inspect.verify",
        },
        packages=("table",),
    )
