"""The rows of shards that are being packed, made of the local files before these are uploaded: nothing is read back.

index, tar --a dataset of one shard--> rows --> a local file for each shard      ... published: all rows, in order
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from shardpack.errors import ShardpackError
from shardpack.format.assemble import encode_dataset, encode_shard
from shardpack.format.checksum import crc32c
from shardpack.format.layout import index_path, is_index_path
from shardpack.format.shard_index import parse_index
from shardpack.format.shard_info import ShardInfo
from shardpack.read.open_dataset import shards_of
from shardpack.read.shard_cache import ShardCache
from shardpack.runtime.engine import Engine
from shardpack.storage.local import LocalStore
from shardpack.storage.locations import LocationOptions
from shardpack.storage.overlay import OverlayStore
from shardpack.table.build import FILE_BYTES, FILE_ROWS, all_positions, read_rows, write_rows
from shardpack.table.libraries import parquet_module, pyarrow_module
from shardpack.table.rows import Naming, Rows, SplitNumbers, split_column
from shardpack.table.schema import MAX_LABELS, types_of
from shardpack.table.tasks import rows_of_dataset

# Many rows that are longer than these end a file of the table by their bytes, which depend on how they come.
_MAX_BYTES = FILE_BYTES * 3 // 4
_MAX_ROW_BYTES = _MAX_BYTES // FILE_ROWS


class PackedRows:
    """Rows of the shards that this process uploads, kept until the dataset is published. `add` is safe in threads.

    Attributes:
        classes: Class names of the dataset in label order; to be set before the first shard comes.
    """

    def __init__(self, folder: str, *, max_bytes: int = _MAX_BYTES, max_row_bytes: int = _MAX_ROW_BYTES) -> None:
        """Keep rows in an empty local folder.

        Args:
            folder: The folder.
            max_bytes, max_row_bytes: If there are more bytes of rows, and those of a shard are longer on average, none
                is used: the table's files are then cut as those of any other run.
        """
        self.classes: tuple[str, ...] | None = None
        self._folder, self._max_bytes, self._max_row_bytes = folder, max_bytes, max_row_bytes
        self._counting = threading.Lock()
        self._num_bytes, self._has_long_rows = 0, False
        self._indexes: dict[str, bytes] = {}  # of shards whose tars are still to come
        self._kept: dict[tuple[str, int | None], str] = {}  # name and checksum of a shard -> file with its rows

    def add(self, name: str, path: Path) -> None:
        """Take the index of a shard, or make the rows of a shard whose index was taken.

        A shard whose rows are not kept, because its labels do not parse for example, is read once it is published.
        """
        if is_index_path(name):
            self._indexes[name] = path.read_bytes()
            return
        data = self._indexes.pop(index_path(name), None)
        if data is None:
            return
        info, _ = encode_shard(name, parse_index(data, name=name))
        folder = os.path.join(self._folder, path.name)
        os.makedirs(folder)
        try:
            with closing(_one_shard(info, data, path)) as cache:
                rows = list(read_rows(cache, all_positions(info.num_samples), Naming(self.classes)))
                built = write_rows(rows, folder)
        except ShardpackError:
            return
        if len(built.files) == 1 and len(built.types) < MAX_LABELS:  # else names in `more` may be columns of others
            self._kept[info.name, info.crc32c] = built.files[0].path
        num_bytes = sum(some.table.nbytes for some in rows)
        with self._counting:
            self._num_bytes += num_bytes
            self._has_long_rows |= num_bytes > self._max_row_bytes * info.num_samples

    def has_all(self, cache: ShardCache) -> bool:
        """Return whether no shard of a dataset has to be read."""
        return all(self._file(cache, info) is not None for info in cache.shard_list)

    def rows(self, cache: ShardCache, engine: Engine) -> Iterator[Rows]:
        """Yield the rows of all samples in order: the same as `rows_of_dataset`, which makes those not kept.

        Args:
            cache: The dataset that was published.
            engine: Reads the shards that other processes have delivered.
        """
        first = end = 0
        for info in cache.shard_list:
            if (path := self._file(cache, info)) is not None:
                yield from rows_of_dataset(cache, engine, first=first, end=end)
                yield _read(path, end, cache.splits)
                first = end + info.num_samples
            end += info.num_samples
        yield from rows_of_dataset(cache, engine, first=first, end=end)

    def _file(self, cache: ShardCache, info: ShardInfo) -> str | None:
        if cache.manifest.classes != self.classes:  # rows have other names of classes
            return None
        if self._has_long_rows and self._num_bytes > self._max_bytes:
            return None
        return self._kept.get((info.name, info.crc32c))


def _one_shard(info: ShardInfo, index: bytes, path: Path) -> ShardCache:
    """Return a local shard as a dataset; keys are not looked up."""
    info = replace(info, name=path.name)
    manifest, files = encode_dataset([info], np.zeros(0, np.uint64), packed_with={"options": {}})
    objects = {info.index_path: index, **{name: b"".join(parts) for name, parts in files}}
    *_, (_, text) = files
    return shards_of(
        OverlayStore(objects, LocalStore(str(path.parent))),
        manifest,
        manifest_crc32c=crc32c(b"".join(text)),
        options=LocationOptions(),
        verify=False,
    )


def _read(path: str, first: int, splits: SplitNumbers | None) -> Rows:
    """Return the rows in a file, as those of samples from a stored position on."""
    pa = pyarrow_module()
    with parquet_module().ParquetFile(path, pre_buffer=False) as file:
        types = types_of(file.schema_arrow.metadata)
        table = file.read(use_threads=False)
    assert types is not None
    positions = np.arange(first, first + table.num_rows)
    columns = dict(zip(table.column_names, table.columns, strict=True))
    columns["position"], columns["split"] = pa.array(positions, pa.int64()), split_column(positions, splits)
    return Rows(pa.table(columns), types)
