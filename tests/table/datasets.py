"""Small datasets with labels of any shape, and their tables as plain dicts: the model that tables are compared with."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

import shardpack
from shardpack.read.open_dataset import open_shards
from shardpack.storage.open import open_store
from shardpack.table.build import all_positions, read_rows, write_rows
from shardpack.table.rows import Naming, conform
from tests.conftest import make_jpeg


def labelled(folder, labels, *, image=True, **options: Any):
    """Write a dataset with these JSON labels, at keys "000", "001", ...; return its folder."""
    with shardpack.ShardWriter(folder, **options) as writer:
        for number, label in enumerate(labels):
            fields = {"jpg": make_jpeg(20 + number % 5, 12, number)} if image else {}
            fields["json"] = label if isinstance(label, bytes) else json.dumps(label).encode()
            writer.write(f"{number:03d}", fields)
    return str(folder)


def cache_of(folder, **options):
    return open_shards(open_store(str(folder)), **options)


def rows_of(folder, *, naming=None, batch_rows=8192):
    """Return the rows of a dataset as one table of Arrow, and its types."""
    cache = cache_of(folder)
    naming = naming or Naming(cache.manifest.classes, cache.splits)
    return list(read_rows(cache, all_positions(cache.manifest.num_samples, batch_rows), naming))


def values(rows):
    """Return rows as dicts, without nulls, and without what `json_text` made of them: JSON columns are parsed."""
    return [{name: value for name, value in row.items() if value is not None} for row in rows.to_pylist()]


def built(folder, scratch, **options):
    cache = cache_of(folder)
    pieces = all_positions(cache.manifest.num_samples, options.pop("batch_rows", 8192))
    return write_rows(read_rows(cache, pieces, Naming(cache.manifest.classes, cache.splits)), str(scratch), **options)


def one_table(found):
    """Return some rows together, with the columns of all of them."""
    from shardpack.table.build import joined
    from shardpack.table.schema import merge_types

    types = {}
    for rows in found:
        types = merge_types(types, rows.types)
    return joined([conform(rows, types) for rows in found]), types


def positions(*numbers):
    return np.array(numbers, np.int64)
