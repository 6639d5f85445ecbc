"""Which folders of a tree are classes, decided by the names of folders and, where they may be hashes, of files.

cat/1.jpg, dog/2.jpg                       cat, dog
train/cat/1.jpg, val/cat/2.jpg             cat; the splits train and val
photos/cat/1.jpg, photos/dog/2.jpg         cat, dog: a folder around all others says nothing
train/cat/1.jpg, test/2.jpg                cat; the images of test have no class
images/1.jpg                               none: it says nothing, either
3f/3fa0c1.jpg, a0/a0b742.jpg               none: folders that are beginnings of hashes
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from shardpack.codecs.field_types import IMAGE_EXTENSIONS
from shardpack.sources.layouts.split_folders import image_folders, mixed_splits, split_level
from shardpack.sources.tree import Tree

Parts = tuple[str, ...]  # a path as its components

# Folders that hold all images of a place, in lower case: alone they are not classes.
SAY_NOTHING = frozenset((
    "all", "data", "dataset", "files", "frames", "image", "images", "img", "imgs", "jpeg", "jpegimages", "jpegs", "jpg",
    "photo", "photos", "pics", "picture", "pictures", "png", "raw", "samples", "test", "unknown", "unlabeled",
    "unlabelled",
))  # fmt: skip
# Folders that say what their files are, never of which class.
_ROLES = frozenset((
    "annotation", "annotations", "depth", "ground_truth", "gt", "gtcoarse", "gtfine", "image", "images", "img", "imgs",
    "jpegimages", "label", "labels", "leftimg8bit", "mask", "masks", "segmentation", "segmentationclass",
    "segmentationobject", "segmentations",
))  # fmt: skip
_HASH = re.compile(r"[0-9a-f][0-9a-f-]{5,}", re.IGNORECASE)
_PREFIX = re.compile(r"[0-9a-f]{1,4}", re.IGNORECASE)
_COMPARED = 1000  # images whose names are compared with those of their folders


@dataclass(frozen=True, slots=True)
class FolderClasses:
    """The class of each folder with images.

    Attributes:
        class_of: Path of a folder -> its class, or None if its images have none.
        misplaced: Paths of folders whose images are beside class folders instead of in one.
        question: Why the folders cannot be told from classes without asking; "" if they can.
    """

    class_of: Mapping[str, str | None] = field(default_factory=dict)
    misplaced: frozenset[str] = frozenset()
    question: str = ""


def folder_classes(tree: Tree, *, asked: bool = False) -> FolderClasses | None:
    """Return the classes of a tree, or None if its folders are not classes.

    Args:
        tree: The images.
        asked: Whether the user says that the folders are classes: nothing is asked then, and at least the first folder
            of a path is a class.
    """
    paths = image_folders(tree)
    folders = [tuple(path.split("/")) if path else () for path in paths]
    level = split_level(folders)
    if level is None and (apart := _apart_from_stray(tree, paths, asked=asked)) is not None:
        return apart
    # Without its split, a path is: folders around all images, the class, folders in the class.
    splits = ["" if level is None else parts[level] for parts in folders]
    rest = [parts if level is None else parts[:level] + parts[level + 1 :] for parts in folders]
    around = _common_length(rest)
    own = [parts[around : around + 1] for parts in rest]
    names = {name for part in own for name in part}
    if not names or (level is None and around and () in own):
        return _in_one_folder(paths, rest[0][around - 1] if around else "", asked=asked)
    if not asked:
        mixed = mixed_splits(folders) if level is None else None
        if question := _about_splits(*mixed) if mixed else _about_names(names, splits, own):
            return FolderClasses(question=question)
        if (level is None and () in own) or _beginnings_of_hashes(tree, zip(paths, own, strict=True), names):
            return None
    return _assigned(paths, own, splits)


def _apart_from_stray(tree: Tree, paths: Sequence[str], *, asked: bool) -> FolderClasses | None:
    """Return what is found if images beside all other folders hide two or more classes or splits; None if they do not.

    That is a question, or if asked, the classes in splits, and the root as misplaced.
    """
    parts = [tuple(path.split("/")) if path else () for path in paths]
    outer = "/".join(parts[0][: _common_length(parts)]) if parts else ""
    if outer not in paths or len(paths) < 3 or (asked and outer):
        return None
    stray = _images_in(tree, outer)
    level = split_level([part for path, part in zip(paths, parts, strict=True) if path != outer])
    splits = set() if level is None else {part[level].lower() for part in parts if len(part) > level}
    if asked and len(splits) < 2:
        return None
    inner = folder_classes(tree.without(set(stray)), asked=asked)
    if asked:
        return None if inner is None else FolderClasses(inner.class_of, inner.misplaced | {outer})
    classes = set() if inner is None else {name for name in inner.class_of.values() if name is not None}
    if len(classes) < 2 and len(splits) < 2:
        return None
    return FolderClasses(question=_about_stray(stray, classes or splits))


def _images_in(tree: Tree, path: str) -> list[str]:
    """Return the images that are in a folder itself."""
    folder = tree.folders[path]
    return [name for name in tree.files.names[folder.first : folder.stop] if _is_image(name)]


def _is_image(name: str) -> bool:
    return name.rpartition("/")[2].rpartition(".")[2].lower() in IMAGE_EXTENSIONS


def _common_length(paths: Sequence[Parts]) -> int:
    """Return the number of components that all paths begin with."""
    shortest, longest = min(paths, default=()), max(paths, default=())  # in order, these two differ first
    pairs = zip(shortest, longest, strict=False)
    return next((i for i, (one, other) in enumerate(pairs) if one != other), min(len(shortest), len(longest)))


def _in_one_folder(paths: Sequence[str], name: str, *, asked: bool) -> FolderClasses | None:
    """Return one class for all images, unless the name of their folder says nothing."""
    if not name or (not asked and name.lower() in SAY_NOTHING):
        return None
    return FolderClasses(dict.fromkeys(paths, name))


def _about_names(names: Collection[str], splits: Sequence[str], own: Sequence[Parts]) -> str:
    """Return the question about folders that may not be classes; "" if they may well be."""
    if len(names) < 2:
        return ""
    if not any(splits) and () in own:
        return _about_root(names)
    classless = _classless_splits(splits, own)
    asked = {name for split, part in zip(splits, own, strict=True) if split not in classless for name in part}
    roles = sorted(name for name in asked if name.lower() in _ROLES)
    return _about_roles(roles) if roles else ""


def _assigned(paths: Sequence[str], own: Sequence[Parts], splits: Sequence[str]) -> FolderClasses:
    """Return the first component as the class, or else the folder as misplaced."""
    classless = _classless_splits(splits, own)
    triples = list(zip(paths, own, splits, strict=True))
    classes = {path: None if split in classless or not part else part[0] for path, part, split in triples}
    misplaced = frozenset(path for path, part, split in triples if not part and split not in classless)
    return FolderClasses(classes, misplaced)


def _classless_splits(splits: Sequence[str], own: Sequence[Parts]) -> frozenset[str]:
    """Return the splits whose images are in no class folder, or all in one folder that says nothing."""
    names_of: dict[str, set[str]] = {}
    for split, part in zip(splits, own, strict=True):
        names_of.setdefault(split, set()).update(part)
    if len(names_of) < 2:
        return frozenset()
    return frozenset(
        split
        for split, names in names_of.items()
        if not names or (len(names) == 1 and next(iter(names)).lower() in SAY_NOTHING)
    )


def _beginnings_of_hashes(tree: Tree, folders: Iterable[tuple[str, Parts]], names: Collection[str]) -> bool:
    """Return whether folders are named like the beginnings of the names of the files in them: `3f/3fa0c1.jpg`."""
    if len(set(map(len, names))) > 1 or not all(map(_PREFIX.fullmatch, names)):
        return False
    compared = 0
    for path, part in folders:
        for stem in _image_stems(tree, path):
            if not part or not _HASH.fullmatch(stem) or not stem.startswith(part[0]):
                return False
            compared += 1
            if compared == _COMPARED:
                return True
    return True


def _image_stems(tree: Tree, path: str) -> Iterator[str]:
    folder = tree.folders[path]
    for name in tree.files.names[folder.first : folder.stop]:
        stem, _, extension = name.rpartition("/")[2].partition(".")
        if extension.lower() in IMAGE_EXTENSIONS:
            yield stem


def _listed(names: Iterable[str], shown: int = 3) -> str:
    names = sorted(names)
    return ", ".join(map(repr, names[:shown])) + (f" and {len(names) - shown:,} more" if len(names) > shown else "")


def _about_splits(splits: Sequence[str], others: Sequence[str]) -> str:
    ignore = " ".join(f"--ignore '{name}/'" for name in others[:3])
    return (
        f"the folders {_listed(splits)} are named like splits, and {_listed(others)} beside them are not; pack them "
        f"all as classes (--layout classes), or the splits alone ({ignore})"
    )


def _about_roles(roles: Sequence[str]) -> str:
    return (
        f"the folders {_listed(roles)} are not named like classes; pack the images without labels (--layout files), or "
        "with the folders as classes (--layout classes)"
    )


def _about_stray(stray: Sequence[str], names: Collection[str]) -> str:
    root = "/" not in stray[0]
    answers = ["leave them out (" + " ".join(f"--ignore {shlex.quote(name)}" for name in stray) + ")"]
    answers = answers if len(stray) <= 3 else ["move them elsewhere"]
    answers += ["pack those in folders with their classes (--layout classes --on-error skip)"] if root else []
    return (
        f"images ({len(stray):,}: {_listed(stray)}) are beside folders that may be classes or splits, "
        f"{_listed(names)}; {', or '.join(answers)}, or pack all without labels (--layout files)"
    )


def _about_root(names: Collection[str]) -> str:
    return (
        f"some images are in folders that may be classes, {_listed(names)}, and some beside them; pack all without "
        "labels (--layout files), or those in folders with their classes (--layout classes --on-error skip)"
    )
