"""Which annotation files of COCO a tree has, which of them describe the same images, and where these may be.

annotations/instances_train2017.json        one group: the images of train2017, the split train
annotations/captions_train2017.json
annotations/panoptic_train2017.json         and its masks in annotations/panoptic_train2017/ or panoptic_train2017/
train2017/000000000009.jpg                  or images/train2017/, images/, data/, or beside the annotations

annotations_trainval2017/annotations/...    as its archive is called: the images are in folders beside it

train/_annotations.coco.json                Roboflow's: a group for each folder
annotations.json                            in the root: all images
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from shardpack.format.split_names import is_split_name
from shardpack.sources.layouts.data_yaml import SPLITS
from shardpack.sources.tree import Tree

ROBOFLOW = "_annotations.coco.json"
_USUAL = re.compile(r"(instances|captions|person_keypoints|keypoints|panoptic|image_info)_(.+)\.json")
_PLAIN = re.compile(rf"(?:annotations|labels|instances|coco|{'|'.join(SPLITS)})\.json")
_YEAR = re.compile(rf"({'|'.join(SPLITS)})[-_]?[0-9]{{4}}", re.IGNORECASE)
_LISTS = tuple(re.compile(rb'"%b"\s*:\s*\[' % name) for name in (b"images", b"annotations"))
_MAX_PLAIN = 16  # files of other names that are opened to see whether they are COCO's
_IMAGE_FOLDERS = ("", "images", "data", "imgs")


@dataclass(frozen=True, slots=True)
class CocoGroup:
    """Annotation files that describe the same images.

    Attributes:
        files: Their names in the tree; a path outside of it for a file that the user named.
        folder: The folder that they are in, "" for the root; None outside of the tree.
        base: The folder below which the images are.
        suffix: What their names end with: "train2017"; "" without.
        split: The split of the images, or None.
        up: How names in the source may begin if they are relative to a file outside: the path back to the source.
    """

    files: tuple[str, ...]
    folder: str | None
    base: str = ""
    suffix: str = ""
    split: str | None = None
    up: str = ""

    def paths_of(self, file_name: str) -> list[str]:
        """Return the paths in the tree that a name in the files may stand for, likelier ones first."""
        if self.folder is None:
            return [file_name, posixpath.normpath(file_name).removeprefix(self.up)]
        beside = [posixpath.join(self.folder, file_name), file_name]
        if ".." in file_name.split("/"):
            return beside
        names = [f"{self.suffix}/{file_name}"] if self.suffix else []
        if self.split not in (None, self.suffix):
            names.append(f"{self.split}/{file_name}")
        names.append(file_name)
        places = [posixpath.join(self.base, images, name) for name in names for images in _IMAGE_FOLDERS]
        return [*dict.fromkeys([*places, *beside])]

    def masks_of(self, file_name: str) -> list[str]:
        """Return the paths in the tree that the name of a panoptic image may stand for."""
        folder = self.folder or ""
        places = (folder, posixpath.dirname(folder))
        return [posixpath.join(place, f"panoptic_{self.suffix}", file_name) for place in places]

    @property
    def is_panoptic(self) -> bool:
        """Whether one of the files describes panoptic images."""
        return any(_kind(name) == "panoptic" for name in self.files)


def find_groups(tree: Tree) -> list[CocoGroup]:
    """Return the annotation files by the images they describe. Opens only files whose names do not tell."""
    usual: dict[tuple[str, str], list[str]] = {}
    roboflow: list[CocoGroup] = []
    plain: list[str] = []
    for path in tree.folders:
        if tree.has(name := f"{path}/{ROBOFLOW}".lstrip("/")):
            split = next((part for part in reversed(path.split("/")) if part.lower() in SPLITS), None)
            roboflow.append(CocoGroup((name,), path, _base(tree, path), split=split))
        is_annotations = posixpath.basename(path).lower() == "annotations"
        for name in _json_files(tree, path) if is_annotations or not path else ():
            if match := _USUAL.fullmatch(posixpath.basename(name)):
                usual.setdefault((path, match[2]), []).append(name)
            elif is_annotations or _PLAIN.fullmatch(name):
                plain.append(name)
    named = {suffix: _split_of(suffix) for _, suffix in usual}
    clear = len(set(named.values())) == len(named)  # train2014 and train2017 keep their years
    groups = [
        CocoGroup(tuple(sorted(files, key=_rank)), path, _base(tree, path), suffix, named[suffix] if clear else suffix)
        for (path, suffix), files in usual.items()
    ]
    if plain and len(plain) <= _MAX_PLAIN:
        for name in plain:
            if looks_like_coco(tree.read(name)):
                suffix = posixpath.basename(name).removesuffix(".json")
                is_split = suffix.lower() in SPLITS
                folder, named_by = posixpath.dirname(name), suffix if is_split else ""
                groups.append(CocoGroup((name,), folder, _base(tree, folder), named_by, _split_of(suffix)))
    return [*groups, *roboflow]


def given_group(tree: Tree, path: str, name: str | None) -> CocoGroup:
    """Return the group of a file that the user named.

    Args:
        tree: The images.
        path: Its path, as the user gave it.
        name: Its name in the tree, or None outside.
    """
    if name is not None:
        match = _USUAL.fullmatch(posixpath.basename(name))
        suffix = match[2] if match else ""
        folder = posixpath.dirname(name)
        return CocoGroup((name,), folder, _base(tree, folder), suffix)
    root, folder = os.path.abspath(tree.files.root), os.path.dirname(os.path.abspath(path))
    try:
        up = os.path.relpath(root, folder).replace(os.sep, "/") + "/"
    except ValueError:  # two drives
        up = ""
    return CocoGroup((path,), None, up=up)


def looks_like_coco(data: bytes) -> bool:
    """Return whether a JSON file has lists of images and annotations."""
    return all(each.search(data) for each in _LISTS)


def _base(tree: Tree, folder: str) -> str:
    """Return the folder of a set: the one above annotations/, or if no image is below that, the one above it.

    What lies in annotations/ itself are panoptic masks, no images of the set.
    """
    base, last = posixpath.split(folder)
    base = base if last.lower() in ("annotations", "labels", "coco") else folder
    masks = f"{folder}/" if last.lower() == "annotations" else None
    below = (
        each.num_images
        for path, each in tree.folders.items()
        if f"{path}/".startswith(f"{base}/") and (masks is None or not f"{path}/".startswith(masks))
    )
    return base if not base or any(below) else posixpath.dirname(base)


def _json_files(tree: Tree, path: str) -> Iterator[str]:
    folder = tree.folders[path]
    if "json" in folder.extensions:
        yield from (name for name in tree.files.names[folder.first : folder.stop] if name.endswith(".json"))


def _kind(name: str) -> str:
    match = _USUAL.fullmatch(posixpath.basename(name))
    return match[1] if match else ""


def _rank(name: str) -> tuple[int, str]:
    """Order files: key points first, as they are joined with the instances of the same id."""
    return 0 if "keypoints" in _kind(name) else 1, name


def _split_of(suffix: str) -> str | None:
    """Return the split that a file's name says: "train" for "train2017", None for CVAT's "default"."""
    if match := _YEAR.fullmatch(suffix):
        return match[1].lower()
    if suffix.lower() in SPLITS:
        return suffix
    is_name = is_split_name(suffix) and suffix.lower() not in ("default", "all", "annotations", "labels", "coco")
    return suffix if is_name and suffix != "instances" else None
