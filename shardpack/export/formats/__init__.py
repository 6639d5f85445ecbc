"""Formats to export to, by name: where the class is that writes each. A module is imported when its name is asked for.

Those in `export/indexes/` describe the tars, and may be written beside them.
"""

from __future__ import annotations

EXPORTERS = {
    "folder": "shardpack.export.formats.folder:FolderExporter",
    "webdataset": "shardpack.export.formats.webdataset:WebDatasetExporter",
    "coco": "shardpack.export.formats.coco:CocoExporter",
    "yolo": "shardpack.export.formats.yolo:YoloExporter",
    "parquet": "shardpack.export.formats.parquet:ParquetExporter",
    "mds": "shardpack.export.formats.mds:MdsExporter",
    "tfrecord": "shardpack.export.formats.tfrecord:TfRecordExporter",
    "lmdb": "shardpack.export.formats.lmdb:LmdbExporter",
    "hdf5": "shardpack.export.formats.hdf5:Hdf5Exporter",
    "npz": "shardpack.export.formats.npz:NpzExporter",
    "dali": "shardpack.export.indexes.dali:DaliExporter",
    "energon": "shardpack.export.indexes.energon:EnergonExporter",
    "wids": "shardpack.export.indexes.wids:WidsExporter",
    "webshart": "shardpack.export.indexes.file_lists:WebshartExporter",
    "hfutils": "shardpack.export.indexes.file_lists:HfutilsExporter",
    "ratarmount": "shardpack.export.indexes.ratarmount:RatarmountExporter",
    "croissant": "shardpack.export.indexes.croissant:CroissantExporter",
    "hf-card": "shardpack.export.indexes.hf_card:CardExporter",
}
