"""Check that the label table has a row for each stored sample, in their order, with its key."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from shardpack.errors import MissingDependencyError, ShardpackError
from shardpack.format.key_index import hash_keys
from shardpack.format.layout import file_path
from shardpack.format.manifest import Manifest
from shardpack.inspect.problem import Problem, problem_of
from shardpack.inspect.verify_shards import Hashes
from shardpack.storage.protocols import Store
from shardpack.table.read_table import LabelTable

_ADVICE = 'make the table anew with "shardpack table --force"'


def verify_table(store: Store, manifest: Manifest, hashes: Hashes | None) -> Iterator[Problem]:
    """Yield what is wrong with the rows of the table. Without pyarrow only its files can be checked, as all others are.

    Args:
        store: The store with the folder `.shardpack`.
        manifest: The manifest.
        hashes: Hashes of the keys of all stored samples, in order; None if they are not known.
    """
    if not manifest.table:
        return
    try:
        for first, count, columns in LabelTable.open(store, manifest).pieces(["key", "position"]):
            positions = columns["position"].to_numpy()
            if not np.array_equal(positions, np.arange(first, first + count)):
                yield _wrong(manifest, f"rows from {first} on are not those of the stored positions")
                return
            if hashes is None:
                continue
            keys = columns["key"].to_pylist()
            differ = np.flatnonzero(hash_keys(keys) != hashes[first : first + count])
            # Bytes that are not UTF-8 are written with a backslash, so that their key is not known.
            wrong = [row for row in differ.tolist() if "\\" not in keys[row]]
            if wrong:
                what = f"{len(wrong):,} rows have other keys than their samples, first that at position"
                yield _wrong(manifest, f"{what} {first + wrong[0]}")
                return
    except MissingDependencyError:
        return
    except ShardpackError as error:
        yield problem_of(error, file_path(manifest.table[0]))


def _wrong(manifest: Manifest, what: str) -> Problem:
    return Problem("table", file_path(manifest.table[0]), f"label table: {what}; {_ADVICE}")
