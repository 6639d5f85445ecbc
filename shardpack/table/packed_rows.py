"""The rows of shards that are being packed, made of the local files before these are uploaded: nothing is read back.

index, tar --a dataset of one shard--> rows --> a local file for each shard      ... published: all rows, in order
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from shardpack.errors import ShardpackError
from shardpack.format.assemble import encode_dataset, encode_shard
from shardpack.format.checksum import crc32c
from shardpack.format.layout import is_index_path, shard_of_index
from shardpack.format.shard_index import parse_index
from shardpack.format.shard_info import ShardInfo
from shardpack.read.open_dataset import shards_of
from shardpack.read.shard_cache import ShardCache
from shardpack.storage.atomic import make_folder
from shardpack.storage.local import LocalStore
from shardpack.storage.locations import LocationOptions
from shardpack.storage.overlay import OverlayStore
from shardpack.table.build import FILE_BYTES, FILE_ROWS, all_positions, read_rows, write_rows
from shardpack.table.libraries import parquet_module, pyarrow_module
from shardpack.table.rows import Naming, Rows, SplitNumbers, split_column
from shardpack.table.schema import MAX_LABELS, types_of

# Many rows that are longer than these end a file of the table by their bytes, which depend on how they come.
_MAX_BYTES = FILE_BYTES * 3 // 4
_MAX_ROW_BYTES = _MAX_BYTES // FILE_ROWS

Classes = tuple[str, ...] | None
_Key = tuple[str, int | None, Classes]  # of rows: name and checksum of their shard, and the classes that they name


class PackedRows:
    """Rows of the shards that this process uploads, kept until the dataset is published. `add` is safe in threads."""

    def __init__(self, folder: str, *, max_bytes: int = _MAX_BYTES, max_row_bytes: int = _MAX_ROW_BYTES) -> None:
        """Keep rows in an empty local folder.

        Args:
            folder: The folder.
            max_bytes, max_row_bytes: If there are more bytes of rows, and those of a shard are longer on average, none
                is used: the table's files are then cut as those of any other run.
        """
        self._folder, self._max_bytes, self._max_row_bytes = folder, max_bytes, max_row_bytes
        self._counting = threading.Lock()
        self._num_bytes, self._has_long_rows = 0, False
        self._indexes: dict[str, bytes] = {}  # by name of the shard; of those whose tars are still to come
        self._kept: dict[_Key, str] = {}  # files with rows

    def add(self, name: str, path: Path, *, classes: Classes) -> None:
        """Take the index of a shard, or make the rows of a shard whose index was taken.

        A shard whose rows are not kept, because its labels do not parse for example, is read once it is published.

        Args:
            name: Name of the index or the tar in the dataset.
            path: The file.
            classes: Class names of the dataset in label order, as far as they are known.
        """
        if is_index_path(name):
            _, shard = shard_of_index(name)
            self._indexes[shard] = path.read_bytes()
            return
        data = self._indexes.pop(name, None)
        if data is None:
            return
        info, _ = encode_shard(name, parse_index(data, name=name))
        folder = os.path.join(self._folder, path.name)
        os.makedirs(folder)
        try:
            with closing(_one_shard(info, data, path)) as cache:
                rows = list(read_rows(cache, all_positions(info.num_samples), Naming(classes)))
                built = write_rows(rows, folder)
        except ShardpackError:
            return
        if len(built.files) == 1 and len(built.types) < MAX_LABELS:  # else names in `more` may be columns of others
            self._kept[_key(info, classes)] = built.files[0].path
        num_bytes = sum(some.table.nbytes for some in rows)
        with self._counting:
            self._num_bytes += num_bytes
            self._has_long_rows |= num_bytes > self._max_row_bytes * info.num_samples

    def has_all(self, shards: Iterable[ShardInfo], classes: Classes) -> bool:
        """Return whether none of the published shards has to be read; `classes` as for `Naming`."""
        return all(self._file(info, classes) is not None for info in shards)

    def rows(
        self, shards: Iterable[ShardInfo], naming: Naming, read: Callable[[int, int], Iterator[Rows]], *, first: int = 0
    ) -> Iterator[Rows]:
        """Yield the rows of all samples of some shards in order: the same as if all were read.

        Args:
            shards: As they were published.
            naming: Classes and splits of the dataset that was published.
            read: Called as read(begin, end); returns the rows of these samples of the shards, of which some are not
                kept: other processes, or an earlier run, delivered them.
            first: Stored position of the first sample.
        """
        begin = end = 0
        for info in shards:
            if (path := self._file(info, naming.classes)) is not None:
                yield from read(begin, end)
                yield _read(path, first + end, naming.splits)
                begin = end + info.num_samples
            end += info.num_samples
        yield from read(begin, end)

    def _file(self, info: ShardInfo, classes: Classes) -> str | None:
        if self._has_long_rows and self._num_bytes > self._max_bytes:
            return None
        return self._kept.get(_key(info, classes))


@contextmanager
def rows_before_upload(work_dir: str | os.PathLike[str] | None) -> Iterator[PackedRows]:
    """Yield rows that are kept in a new folder, which is deleted at the end.

    Args:
        work_dir: Local folder, made if it is missing, in which this one is. Default: the temporary folder.
    """
    if work_dir is not None:
        make_folder(os.fspath(work_dir))
    with TemporaryDirectory(prefix="shardpack-rows-", dir=work_dir) as folder:
        yield PackedRows(folder)


def _key(info: ShardInfo, classes: Classes) -> _Key:
    return info.name, info.crc32c, classes


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
