"""Images and their masks: in parallel folders with the same stems, or beside each other with a suffix.

    images/train/0001.jpg   masks/train/0001.png       fields jpg and mask.png of the sample train/0001
    train/0001.jpg          train_masks/0001_mask.png
    0001.jpg                0001_seg.png               field seg.png

The fields are called so that encodings know that their pixels are numbers: they are resized by nearest neighbour.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from shardpack.errors import SourceError
from shardpack.sources.image_rows import ImageRow, cut_extension, is_image_file, listing_of, usable_rows
from shardpack.sources.layouts.layout import BY_NAME, Found, LayoutOptions
from shardpack.sources.layouts.per_image import split_in, without_part
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.tree import Tree

_IMAGES = ("images", "image", "imgs", "img", "jpegimages", "inputs", "input")
# Folder or suffix in lower case -> the field's first part.
_MASKS = {
    **dict.fromkeys(("masks", "mask", "labels", "label", "annotations", "annotation"), "mask"),
    **dict.fromkeys(("gt", "gts", "ground_truth"), "mask"),
    **dict.fromkeys(("segmentations", "segmentation", "segmentationclass", "segs", "seg"), "seg"),
}
_WORDS = r"[_-](masks?|segs?|segmentations?|gt|labels?)"
_SUFFIX = re.compile(_WORDS + "$", re.IGNORECASE)
_SUFFIXES = re.compile(_WORDS + r"\.[^.\n]*$", re.IGNORECASE | re.MULTILINE)  # in many names, at 0.1 us each


@dataclass(frozen=True, slots=True)
class _Pair:
    """A folder with images, and the one with their masks; None for a folder of images that has none.

    Attributes:
        images, masks: The folders; equal where masks are told by a suffix.
        part: The folder name that is left out of keys; "" for none.
        field: First part of the masks' field.
    """

    images: str
    masks: str | None
    part: str = ""
    field: str = "mask"


class Masks:
    """A mask for each image."""

    name = "masks"

    def find(self, tree: Tree, options: LayoutOptions) -> Found | None:
        """Return the pairs of folders in which some stems are equal; see `Layout.find`."""
        pairs = [*_pairs(tree)]
        matching = [pair for pair in pairs if pair.masks is not None and _some_match(tree, pair)]
        if not matching:
            if options.asked:
                raise SourceError(
                    f"no masks in {tree.files.root!r}: expected images/ and masks/ with files of the same stems, or "
                    "names that end with _mask or _seg beside the images; name the folder that has them"
                )
            return None
        twice = [pair for pair in matching if sum(other.images == pair.images for other in matching) > 1]
        paired = {pair.images for pair in matching}
        bare = [pair for pair in pairs if pair.masks is None and pair.images not in paired]
        question = (
            f"the masks of {twice[0].images or 'the root'!r} may be those in {twice[0].masks!r} or in "
            f"{twice[1].masks!r}; leave one of them out (--ignore {twice[1].masks}/)"
            if twice
            else ""
        )
        outside = _outside(tree, pairs)
        if not question and not options.asked and outside:
            shown = ", ".join(repr(path or ".") for path in outside[:3])
            question = (
                f"there are masks, but none for the images of other folders ({len(outside):,}: {shown}); pack "
                "those with masks alone (--layout masks), or images with files of their stems (--layout files), "
                "or with their folders as classes (--layout classes)"
            )
        memory = [*matching, *bare]
        return Found(layout=self.name, rank=BY_NAME, title="images and masks", question=question, memory=memory)

    def list(self, tree: Tree, found: Found, problems: Problems, options: LayoutOptions) -> Listing:  # noqa: ARG002
        """Return the images with their masks. Rejected: images without a mask, in a folder that has masks."""
        rows: list[ImageRow] = []
        bare = 0
        for pair in found.memory:
            made = list(_rows(tree, pair, problems))
            bare += 0 if pair.masks is not None else len(made)
            rows += made
        problems.note("images in folders without masks", bare)
        return listing_of(usable_rows(rows, tree.files, problems), tree.files)


def _outside(tree: Tree, pairs: Collection[_Pair]) -> list[str]:
    """Return the folders with images that are in no pair, so that their images would be left out."""
    inside = {pair.images for pair in pairs} | {pair.masks for pair in pairs}
    return [path for path, folder in tree.folders.items() if folder.num_images and path not in inside]


def _pairs(tree: Tree) -> Iterator[_Pair]:
    by_lower = {path.lower(): path for path, folder in tree.folders.items() if folder.num_images}
    for path in by_lower.values():
        parts = path.split("/") if path else []
        level = next((i for i in range(len(parts) - 1, -1, -1) if parts[i].lower() in _IMAGES), None)
        others = (
            [] if level is None else [("/".join([*parts[:level], mask, *parts[level + 1 :]]), mask) for mask in _MASKS]
        )
        others += [(f"{path}_{mask}", mask) for mask in _MASKS] if parts else []
        found = [(by_lower[other.lower()], mask) for other, mask in others if other.lower() in by_lower]
        part = "" if level is None else parts[level]
        yield from (_Pair(path, masks, part, _MASKS[mask]) for masks, mask in dict(found).items())
        if not found and _has_suffixes(tree, path):
            yield _Pair(path, path)
        elif not found and level is not None:
            yield _Pair(path, None, part)


def _has_suffixes(tree: Tree, path: str) -> bool:
    folder = tree.folders[path]
    text = "\n".join(tree.files.names[folder.first : folder.stop])
    return _SUFFIXES.search(text) is not None and any(_suffix(name) for name in _images_in(tree, path))


def _images_in(tree: Tree, path: str) -> Iterator[str]:
    folder = tree.folders[path]
    return (name for name in tree.files.names[folder.first : folder.stop] if is_image_file(name))


def _suffix(name: str) -> str:
    """Return the word behind the last "_" of a stem that says that a file is a mask; "" for other files."""
    match = _SUFFIX.search(cut_extension(name)[0])
    return match[1].lower() if match else ""


def _stem(name: str, *, of_mask: bool) -> str:
    """Return the last component of a name without extension, of a mask without its suffix."""
    stem = cut_extension(name)[0].rpartition("/")[2]
    return _SUFFIX.sub("", stem) if of_mask else stem


def _some_match(tree: Tree, pair: _Pair) -> bool:
    return not {_stem(name, of_mask=False) for name in _photos(tree, pair)}.isdisjoint(_masks_by_stem(tree, pair))


def _photos(tree: Tree, pair: _Pair) -> Iterator[str]:
    names = _images_in(tree, pair.images)
    return (name for name in names if not _suffix(name)) if pair.images == pair.masks else names


def _masks_by_stem(tree: Tree, pair: _Pair) -> dict[str, str]:
    """Return the masks of a folder by the stems of their images: equal stems win over those with a suffix."""
    if pair.masks is None:
        return {}
    names = [*_images_in(tree, pair.masks)]
    found = {_stem(name, of_mask=True): name for name in names if _suffix(name)}
    return found if pair.images == pair.masks else {**found, **{_stem(name, of_mask=False): name for name in names}}


def _rows(tree: Tree, pair: _Pair, problems: Problems) -> Iterator[ImageRow]:
    folder = tree.folders[pair.images]
    number_of = {tree.files.names[i]: i for i in range(folder.first, folder.stop)}
    if pair.masks is not None:
        folder = tree.folders[pair.masks]
        number_of.update((tree.files.names[i], i) for i in range(folder.first, folder.stop))
    masks = _masks_by_stem(tree, pair)
    used = set()
    for name in _photos(tree, pair):
        stem, extension = cut_extension(name)
        mask = masks.get(_stem(name, of_mask=False))
        if mask is None and pair.masks is not None:
            problems.reject(name, f"has no mask in {pair.masks or 'the root'!r}; add it, or remove the image")
            continue
        files = {extension: number_of[name]}
        if mask is not None:
            used.add(mask)
            first = _MASKS.get(_suffix(mask), "mask") if pair.images == pair.masks else pair.field
            files[f"{first}.{cut_extension(mask)[1]}"] = number_of[mask]
        yield ImageRow(without_part(stem, pair.part) if pair.part else stem, files, split_in(name))
    for mask in dict.fromkeys(masks.values()):
        if mask not in used:
            problems.leave_out(mask, "a mask without an image")
