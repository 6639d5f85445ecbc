"""Folders that are named like splits: `train/...` and `val/...`, or `images/train/...`, or `cat/train/...`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from shardpack.sources.listing import Listing
from shardpack.sources.splits import SPLIT_NAMES, with_splits
from shardpack.sources.tree import Tree


def image_folders(tree: Tree) -> list[str]:
    """Return the paths of the folders that have images, in the order of the tree."""
    return [path for path, folder in tree.folders.items() if folder.num_images]


def split_level(folders: Collection[Sequence[str]]) -> int | None:
    """Return the number of the component that is the name of a split in all paths, or None if none is.

    Args:
        folders: Paths of the folders with images, each as its components.
    """
    depth = min(map(len, folders), default=0)
    return next(
        (level for level in range(depth) if all(parts[level].lower() in SPLIT_NAMES for parts in folders)), None
    )


def mixed_splits(folders: Collection[Sequence[str]]) -> tuple[list[str], list[str]] | None:
    """Return (folders named like splits, the others) of the first level where there are two splits and something else.

    One folder named like a split among others may be a class: trains, and tests.
    """
    for level in range(min(map(len, folders), default=0)):
        names = {parts[level] for parts in folders}
        splits = {name for name in names if name.lower() in SPLIT_NAMES}
        if len({SPLIT_NAMES[name.lower()] for name in splits}) > 1:
            others = names - splits
            return (sorted(splits), sorted(others)) if others else None
    return None


def split_by_folder(listing: Listing, tree: Tree, *, without: Collection[str] = ()) -> Listing:
    """Return the listing with the splits that its folders are named like, if all images are in such folders.

    Args:
        listing: The samples.
        tree: The files.
        without: Paths of folders of which the listing has no images.
    """
    level = split_level([path.split("/") if path else [] for path in image_folders(tree) if path not in without])
    if level is None:
        return listing
    return with_splits(listing, [key.split("/", level + 1)[level] for key in listing.keys])
