"""Images with label files of the same stem, or with nothing: the files are the fields.

0001.jpg, 0001.json, 0001.seg.png    one sample "0001"
"""

from __future__ import annotations

from shardpack.codecs.field_types import IMAGE_EXTENSIONS, LABEL_FIELDS
from shardpack.sources.image_files import group_files, make_sample
from shardpack.sources.layouts.layout import BY_NAME, UNLABELLED, Found, LayoutOptions
from shardpack.sources.layouts.split_folders import split_by_folder
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.tree import Folder, Tree


class SidecarFiles:
    """Files that share a stem."""

    name = "files"

    def find(self, tree: Tree, options: LayoutOptions) -> Found:  # noqa: ARG002
        """Return label files beside images, or else images without labels; see `Layout.find`."""
        if any(_has_sidecars(tree, folder) for folder in tree.folders.values()):
            return Found(layout=self.name, rank=BY_NAME, title="images with label files")
        return Found(layout=self.name, rank=UNLABELLED, title="images")

    def list(self, tree: Tree, found: Found, problems: Problems, options: LayoutOptions) -> Listing:  # noqa: ARG002
        """Return the images, each with the other files of its stem."""
        return split_by_folder(group_files(tree.files, problems, rename_keys=options.rename_keys), tree)


def few_have_sidecars(tree: Tree) -> bool:
    """Return whether fewer than half of the images have a label of the same stem: then folders may be the classes."""
    images, labelled = set[str](), set[str]()
    for name in tree.files.names:
        folder, slash, last = name.rpartition("/")
        stem, _, field = last.partition(".")
        if field.lower() in IMAGE_EXTENSIONS:
            images.add(folder + slash + stem)
        elif field.lower() in LABEL_FIELDS:
            labelled.add(folder + slash + stem)
    return 2 * len(images & labelled) < len(images)


def _has_sidecars(tree: Tree, folder: Folder) -> bool:
    """Return whether a folder has an image, or several that are numbered, and a label of the same stem."""
    if not folder.num_images or LABEL_FIELDS.isdisjoint(folder.extensions):
        return False
    # The files of a stem are neighbours.
    stem, kinds = "", set[str]()
    for name in tree.files.names[folder.first : folder.stop]:
        other, _, field = name.rpartition("/")[2].partition(".")
        if other != stem:
            stem, kinds = other, set()
        kinds.add(field.lower())
        if not kinds.isdisjoint(LABEL_FIELDS) and make_sample(kinds):
            return True
    return False
