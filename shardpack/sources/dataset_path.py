"""Whether a source is the folder or URL of a dataset, whose samples are packed again, or something else by a path."""

from __future__ import annotations

import os

from shardpack.errors import DatasetNotFoundError
from shardpack.format.layout import MANIFEST_PATH
from shardpack.sources.archives.open import is_archive
from shardpack.storage.url import is_url, local_path


def dataset_path(source: object) -> str | None:
    """Return the path or URL of the dataset that a source names; None if it names something else, or is not a path.

    A folder is one if it has a manifest; a URL is one unless it is that of an archive.
    """
    if not isinstance(source, (str, os.PathLike)):
        return None
    path = local_path(os.fspath(source)) or os.fspath(source)
    if is_archive(path) or (not is_url(path) and not os.path.exists(os.path.join(path, MANIFEST_PATH))):
        return None
    return path


def no_dataset_at(url: str) -> DatasetNotFoundError:
    """Return the error for a URL that was taken for that of a dataset: what else is packed by its URL."""
    return DatasetNotFoundError(
        f"no dataset is at {url!r}, and no other format is looked for behind a URL; say which one it is "
        "(--from NAME; in Python source_format), name an archive, or copy the folder here first"
    )
