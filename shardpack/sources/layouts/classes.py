"""Class folders: each image gets the class of its folder, and the split, if folders are named like splits.

cat/0001.jpg, dog/deep/0002.jpg    labels {"label":0,"class":"cat"} and {"label":1,"class":"dog"}
"""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from itertools import pairwise

from shardpack.errors import SourceError
from shardpack.format.naming import escape_key
from shardpack.sources.image_files import group_files
from shardpack.sources.json_labels import attach_labels, compact_json
from shardpack.sources.layouts.class_folders import FolderClasses, folder_classes
from shardpack.sources.layouts.layout import BY_FOLDERS, Found, LayoutOptions
from shardpack.sources.layouts.split_folders import split_by_folder, split_level
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.splits import SPLIT_NAMES
from shardpack.sources.tree import Tree


class ClassFolders:
    """Folders called like the class of the images in them."""

    name = "classes"

    def find(self, tree: Tree, options: LayoutOptions) -> Found | None:
        """Return the classes that folders are named like; see `class_folders.py` and `Layout.find`."""
        classes = folder_classes(tree, asked=options.asked)
        if classes is None and options.asked:
            classes = FolderClasses(misplaced=frozenset(tree.folders))
        if classes is None:
            return None
        return Found(
            layout=self.name,
            rank=BY_FOLDERS,
            title="class folders",
            label="label and class",
            question=classes.question,
            memory=classes,
        )

    def list(self, tree: Tree, found: Found, problems: Problems, options: LayoutOptions) -> Listing:
        """Return the images with the class of their folder; see `add_class_labels`."""
        listing = group_files(tree.files, problems, rename_keys=options.rename_keys)
        _note_unknown(tree, found.memory, problems)
        listing = add_class_labels(listing, found.memory, problems)
        return split_by_folder(listing, tree, without=found.memory.misplaced)


def _note_unknown(tree: Tree, folders: FolderClasses, problems: Problems) -> None:
    """Note how many images are of classes that the split for training lacks: a misspelt folder, perhaps."""
    level = split_level([path.split("/") for path in folders.class_of])
    if level is None:
        return
    trained = {
        name
        for path, name in folders.class_of.items()
        if SPLIT_NAMES[path.split("/")[level].lower()] == "train" and name is not None
    }
    unknown = {path: name for path, name in folders.class_of.items() if name is not None and name not in trained}
    if trained and unknown:
        count = sum(tree.folders[path].num_images for path in unknown)
        problems.note(f"of a class that no image for training has, such as {min(unknown.values())!r}", count)


def add_class_labels(listing: Listing, folders: FolderClasses, problems: Problems) -> Listing:
    """Return the samples with a JSON field {"label": number, "class": name} made from their folders.

    Classes are numbered in ascending order of their names. Images beside class folders, and images
    with a .json file of their own, are rejected. If the name of a folder is not UTF-8, the class
    name is escaped by `escape_key`, so that the label is valid JSON.

    Args:
        listing: Samples whose keys are not escaped.
        folders: The class of each folder.
        problems: Receives the rejected samples.

    Raises:
        SourceError: Two classes would have the same name, or look the same.
    """
    outside = {
        sample: "is not in a class folder; move it into one, or choose the layout 'files' (--layout files)"
        for sample, key in enumerate(listing.keys)
        if key.rpartition("/")[0] in folders.misplaced
    }
    listing = problems.reject_samples(listing, outside)
    class_of = [folders.class_of[key.rpartition("/")[0]] for key in listing.keys]
    name_of_folder = {folder: _class_name(folder) for folder in set(class_of) if folder is not None}
    classes = tuple(sorted(name_of_folder.values()))
    twice = [name for name, other in pairwise(classes) if name == other]
    if twice:
        raise SourceError(f"two class folders would both be called {twice[0]!r}; rename one")
    form_of = {unicodedata.normalize("NFC", name): name for name in classes}
    alike = set(classes).difference(form_of.values())
    if alike:
        raise SourceError(
            f"two class folders are called {min(alike)!r} and differ in how Unicode writes it, composed or decomposed; "
            "give both one name"
        )
    label_of = {name: compact_json({"label": number, "class": name}) for number, name in enumerate(classes)}
    labels = [None if folder is None else label_of[name_of_folder[folder]] for folder in class_of]
    listing = attach_labels(listing, labels, problems, missing=None)
    return replace(listing, classes=classes, by_class=len(classes) > 1)


def _class_name(folder: str) -> str:
    try:
        folder.encode()
    except UnicodeEncodeError:
        return escape_key(folder)
    return folder
