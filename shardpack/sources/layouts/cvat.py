"""CVAT for images 1.1: annotations.xml beside the images or images/, its subsets being splits."""

from __future__ import annotations

import posixpath

from shardpack.errors import DecodeError, SourceError
from shardpack.sources.annotations.cvat_xml import CvatClasses, looks_like_cvat, parse_cvat
from shardpack.sources.layouts.by_name import LabelsByName
from shardpack.sources.layouts.layout import BY_ANNOTATIONS, Found, LayoutOptions
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.tree import Tree

_HEAD = 1 << 16
_MAX_FILES = 8


class Cvat:
    """XML files that describe many images each."""

    name = "cvat"

    def find(self, tree: Tree, options: LayoutOptions) -> Found | None:
        """Return the files, which are called annotations.xml or lie in the root; see `Layout.find`."""
        names = [
            name
            for path, folder in tree.folders.items()
            if 0 < folder.extensions.get("xml", 0) <= _MAX_FILES
            for name in tree.files.names[folder.first : folder.stop]
            if (name.lower().endswith(".xml") and not path) or posixpath.basename(name) == "annotations.xml"
        ]
        found = [name for name in names[:_MAX_FILES] if looks_like_cvat(tree.read(name)[:_HEAD])]
        if not found:
            if options.asked:
                raise SourceError(
                    f"no annotations of CVAT in {tree.files.root!r}: expected annotations.xml, as CVAT for images 1.1 "
                    "exports it; export the task again"
                )
            return None
        uses = frozenset(found)
        return Found(layout=self.name, rank=BY_ANNOTATIONS, title="CVAT", label="shapes", uses=uses, memory=found)

    def list(self, tree: Tree, found: Found, problems: Problems, options: LayoutOptions) -> Listing:
        """Return the annotated images. Rejected: those with a shape that labels have no place for."""
        samples = LabelsByName(tree, found.uses, problems, options)
        classes: list[str] = []
        for path in found.memory:
            try:
                for element in parse_cvat(tree.read(path)):
                    if isinstance(element, CvatClasses):
                        classes += [name for name in element.names if name not in classes]
                        continue
                    subset = None if element.subset in (None, "default") else element.subset
                    places = _places(posixpath.dirname(path), element.name, element.subset)
                    where = f"{path}: image {element.name!r}"
                    sample = samples.find(where, element.name, places)
                    if sample is None:
                        continue
                    samples.add(sample, element.label, where=where, split=subset)
                    if element.problem:
                        samples.refuse(sample, f"{path}: {element.problem}")
            except DecodeError as error:
                raise SourceError(f"{path}: {error}") from error
        return samples.finish(missing="an image without annotations", classes=classes)


def _places(folder: str, name: str, subset: str | None) -> list[str]:
    """Return where below the root an image may be: CVAT writes images/, and images/<subset>/."""
    names = [name, *([f"{subset}/{name}"] if subset else [])]
    if ".." in name.split("/"):
        names = []
    return [posixpath.join(folder, place, each) for each in names for place in ("images", "")] + [name]
