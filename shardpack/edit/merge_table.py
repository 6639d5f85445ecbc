"""The label table of merged datasets, joined of theirs where all have one that says the same in the merged one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from tempfile import TemporaryDirectory

from shardpack.edit.merge_plan import MergePlan
from shardpack.errors import MissingDependencyError
from shardpack.format.layout import file_path
from shardpack.format.manifest import TableFile
from shardpack.format.named_files import Parts
from shardpack.runtime.progress import Progress
from shardpack.table.build import write_rows
from shardpack.table.join import joined_rows
from shardpack.table.libraries import pyarrow_module
from shardpack.table.read_table import LabelTable
from shardpack.table.update import named


def takes_tables(plan: MergePlan) -> bool:
    """Return whether a merged dataset gets a label table: without pyarrow, or where classes change, it gets none."""
    try:
        pyarrow_module()
    except MissingDependencyError:
        return False
    alike = (not each.has_labels or each.manifest.classes == plan.classes for each in plan.inputs)
    return all(each.manifest.table for each in plan.inputs) and all(alike)


def write_joined_table(
    plan: MergePlan,
    put: Callable[[str, Parts], None],
    *,
    work_dir: str | os.PathLike[str] | None,
    progress: Progress,
) -> list[TableFile]:
    """Write the label table of a merged dataset, if it gets one; return its files.

    Args:
        plan: The datasets.
        put: Writes a file.
        work_dir: Local folder for files until they are put. Default: the temporary folder.
        progress: Called as progress("table", rows done, all rows).

    Raises:
        CorruptIndexError: A file of a table is damaged.
    """
    if not takes_tables(plan):
        return []

    def tables() -> Iterator[tuple[LabelTable, int]]:
        for each, first in plan.placed():
            yield LabelTable.open(each.cache.stores.sidecars, each.manifest), first

    with TemporaryDirectory(prefix="shardpack-table-", dir=work_dir) as folder:
        rows = joined_rows(tables(), plan.splits)
        files = named(write_rows(rows, folder, total=len(plan.hashes), progress=progress), generation=1)
        for file, path in files:
            with open(path, "rb") as written:
                put(file_path(file), [written.read()])
    return [file for file, _ in files]
