"""From what users pass to `shardpack.open` to the stores of a dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from shardpack.errors import DatasetNotFoundError, OptionError
from shardpack.format.layout import MANIFEST_PATH
from shardpack.read.open_dataset import missing_dataset
from shardpack.storage.adapter import adapt, can_adapt
from shardpack.storage.locations import LocationOptions
from shardpack.storage.open import open_store, with_cache
from shardpack.storage.protocols import RangeReader, Store
from shardpack.storage.url import is_url, local_path

Path = str | os.PathLike[str]


def open_location(
    location: Path | Sequence[Path] | RangeReader, options: LocationOptions, *, sidecars: Path | RangeReader | None
) -> tuple[Store, Store | None]:
    """Return the store of a dataset, and that of its sidecars if it is another one; makes no request.

    Args:
        location: A folder, a URL, or a store.
        options: Of these, storage options and cache apply to URLs.
        sidecars: The folder, URL or store with the manifest and indexes, if they are not at `location`.

    Raises:
        DatasetNotFoundError: A local folder has no manifest, or `location` is a list of tars.
        OptionError: `location` is of another kind, or an option does not fit it.
    """
    sidecar_store = None if sidecars is None else _open_sidecars(sidecars, options)
    if isinstance(location, (str, os.PathLike)):
        path = local_path(os.fspath(location)) or os.fspath(location)
        if is_url(path):
            return _open_url(path, options), sidecar_store
        if sidecar_store is None and not os.path.exists(os.path.join(path, MANIFEST_PATH)):
            open_store(path, options.storage_options)  # refuses options for a folder
            raise missing_dataset(path)
        return open_store(path), sidecar_store
    if isinstance(location, (list, tuple)):
        raise DatasetNotFoundError(
            'a list of tars has no index; make one with "shardpack index TAR...", or pass index="memory"'
        )
    if isinstance(location, (Mapping, Sequence)) or not can_adapt(location):
        raise OptionError(f"cannot open {location!r}: expected a folder, a URL, a list of tars, or a store")
    return adapt(location), sidecar_store


def _open_url(url: str, options: LocationOptions) -> Store:
    store = open_store(url, options.storage_options)
    return with_cache(store, options.cache_dir, options.cache_bytes, options.storage_options)


def _open_sidecars(sidecars: Path | RangeReader, options: LocationOptions) -> Store:
    if not isinstance(sidecars, (str, os.PathLike)):
        return adapt(sidecars)
    storage_options = options.storage_options if is_url(sidecars) else None
    store = open_store(sidecars, storage_options)
    return with_cache(store, options.cache_dir, options.cache_bytes, storage_options) if store.remote else store


def check_index_option(index: object, ignore: object, for_datasets: Mapping[str, object]) -> None:
    """Check the options of `shardpack.open` that concern plain tars.

    Args:
        index, ignore: The options.
        for_datasets: Options that are for datasets only, None where they are not given.

    Raises:
        OptionError: An option is wrong, or options contradict each other.
    """
    if index not in ("memory", None):
        raise OptionError(f"index is {index!r}; choose 'memory', or leave it out")
    given = [name for name, value in for_datasets.items() if value is not None] if index == "memory" else []
    if given:
        raise OptionError(
            f'index="memory" is for plain tars, {" and ".join(given)} for datasets; leave one of them out'
        )
    if index is None and ignore is not None:
        raise OptionError('ignore is for plain tars; pass index="memory" as well, or leave it out')
