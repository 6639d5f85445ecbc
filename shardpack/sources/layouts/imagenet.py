"""ImageNet as people have it: folders called by wnids, with the files that name them, and flat validation images.

    ILSVRC/Data/CLS-LOC/train/n01440764/n01440764_18.JPEG     as Kaggle has it; keys keep the path
    ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000001.JPEG      its class is in LOC_val_solution.csv
    LOC_synset_mapping.txt                                    names and order of the classes: synsets.py

    -> json {"label":0,"class":"tench, Tinca tinca","wnid":"n01440764"}

Kaggle's tree has a box for many images, too: Annotations/CLS-LOC/*.xml. They are counted as left out, as this layout is
about classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from shardpack.errors import SourceError
from shardpack.sources.image_files import group_files
from shardpack.sources.json_labels import attach_labels, compact_json
from shardpack.sources.layouts.layout import BY_ITS_OWN_NAMES, Found, LayoutOptions
from shardpack.sources.layouts.split_folders import image_folders, split_by_folder
from shardpack.sources.layouts.synsets import WNID, Synsets, find_synsets
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.tree import Tree

_VAL_LABELS = "LOC_val_solution.csv"
_NUMBERS = "ILSVRC2012_validation_ground_truth.txt"
# Files of Kaggle's tree that say nothing more about classes.
_KNOWN = ("LOC_train_solution.csv", "LOC_sample_submission.csv")
_MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class _Memory:
    synsets: Synsets | None
    val_labels: str | None
    boxes: tuple[str, ...]


class ImageNet:
    """Folders called by wnids, and Kaggle's tree."""

    name = "imagenet"

    def find(self, tree: Tree, options: LayoutOptions) -> Found | None:
        """Return the wnids and what they mean; see `Layout.find`."""
        wnids = {wnid for path in image_folders(tree) if (wnid := _wnid_of(path)) is not None}
        val_labels = _named(tree, _VAL_LABELS)
        synsets = find_synsets(tree) if wnids or val_labels is not None else None
        if (synsets is None and val_labels is None) or not (wnids or val_labels):
            if options.asked and not wnids:
                raise SourceError(
                    f"no folders like n01440764 in {tree.files.root!r}, and no {_VAL_LABELS}; choose another layout"
                )
            if not options.asked:
                return None
        numbers = _named(tree, _NUMBERS)
        boxes = tuple(
            name
            for folder in tree.folders.values()
            if "/Annotations/CLS-LOC" in f"/{folder.path}"
            for name in tree.files.names[folder.first : folder.stop]
        )
        lists = [
            name
            for folder in tree.folders.values()
            if "/ImageSets/CLS-LOC" in f"/{folder.path}"
            for name in tree.files.names[folder.first : folder.stop]
        ]
        known = [name for each in _KNOWN if (name := _named(tree, each)) is not None]
        uses = {*known, *lists, *([val_labels] if val_labels else []), *([synsets.path] if synsets else [])}
        return Found(
            layout=self.name,
            rank=BY_ITS_OWN_NAMES,
            title="ImageNet",
            label="label, class, wnid",
            uses=frozenset(uses),
            question=_about_numbers(numbers) if numbers is not None and val_labels is None else "",
            memory=_Memory(synsets, val_labels, boxes),
        )

    def list(self, tree: Tree, found: Found, problems: Problems, options: LayoutOptions) -> Listing:
        """Return the images; those of a split without class folders get the class of the list, or no label."""
        memory: _Memory = found.memory
        for name in memory.boxes:
            problems.leave_out(name, "boxes, which --layout voc reads")
        others = tree.files.without({*found.uses, *memory.boxes})
        listing = group_files(others, problems, rename_keys=options.rename_keys)
        stated = {} if memory.val_labels is None else _val_labels(memory.val_labels, tree)
        wnids = [_wnid_of(key.rpartition("/")[0]) or stated.get(key.rpartition("/")[2]) for key in listing.keys]
        present = {wnid for wnid in wnids if wnid is not None}
        classes = (
            {wnid: wnid for wnid in sorted(present)} if memory.synsets is None else memory.synsets.classes(present)
        )
        labels = {
            wnid: compact_json({"label": number, "class": name, "wnid": wnid})
            for number, (wnid, name) in enumerate(classes.items())
        }
        problems.note("images without a class", wnids.count(None))
        listing = attach_labels(
            listing, [None if wnid is None else labels[wnid] for wnid in wnids], problems, missing=None
        )
        listing = replace(listing, classes=tuple(classes.values()), by_class=len(present) > 1)
        return split_by_folder(listing, tree)


def _wnid_of(folder: str) -> str | None:
    """Return the wnid in the path of a folder, or None."""
    return next((part for part in folder.split("/") if WNID.fullmatch(part)), None)


def _named(tree: Tree, last: str) -> str | None:
    """Return the file with this last component of its name, in the first folder that has one."""
    paths = (f"{folder}/{last}" if folder else last for folder in tree.folders)
    return next((path for path in paths if tree.has(path)), None)


def _val_labels(path: str, tree: Tree) -> Mapping[str, str]:
    """Return the stem of an image -> its wnid, of lines like "ILSVRC2012_val_00048981,n03995372 85 1 499 272"."""
    labels = {}
    lines = tree.read(path, max_bytes=_MAX_BYTES).decode("utf-8-sig", errors="replace").splitlines()
    for number, line in enumerate(lines[1:], start=2):
        stem, _, boxes = line.partition(",")
        wnid = boxes.partition(" ")[0]
        if not line.strip():
            continue
        if not WNID.fullmatch(wnid):
            raise SourceError(f"{path}:{number}: expected an image and a wnid, got {line[:60]!r}; restore it")
        labels[stem] = wnid
    return labels


def _about_numbers(path: str) -> str:
    return (
        f"{path} numbers the classes in the order of ILSVRC2012's meta.mat, which no file here says, so its labels "
        f"cannot be told; put {_VAL_LABELS} of Kaggle beside it, or the images into folders called by wnids, or pack "
        f"them without labels (--ignore {path})"
    )
