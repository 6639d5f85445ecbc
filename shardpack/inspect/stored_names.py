"""Which files are where a dataset is, as far as the store lists names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

from shardpack.errors import StorageError
from shardpack.format.layout import FOLDER
from shardpack.storage.protocols import Store


def stored_names(store: Store, tars: Iterable[str]) -> list[str]:
    """Return the names of files in `.shardpack`, and of those beside tars; none if the store does not list names."""
    if store.folder is None:
        list_names = getattr(store, "names", None)
        with suppress(StorageError):
            return [] if list_names is None else list(list_names())
        return []
    names: list[str] = []
    for below in sorted({"", *(name.rpartition("/")[0] for name in tars)}):
        with suppress(OSError):
            entries = sorted(os.listdir(os.path.join(store.folder, below)))
            names.extend(f"{below}/{entry}" if below else entry for entry in entries)
    for path, _, files in os.walk(os.path.join(store.folder, FOLDER)):
        below = os.path.relpath(path, store.folder).replace(os.sep, "/")
        names.extend(f"{below}/{name}" for name in sorted(files))
    return names
