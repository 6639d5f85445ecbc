"""Several images a sample: parallel folders whose names belong together, with the same stems.

    rgb/0001.jpg     depth/0001.png         sample 0001 with the fields rgb.jpg and depth.png
    train/lr/1.png   train/hr/1.png         sample train/1 with the fields lr.png and hr.png

left/ and right/, before/ and after/ may be classes as well, and so may folders that share only some stems: a question.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

from shardpack.errors import SourceError
from shardpack.sources.image_rows import ImageRow, cut_extension, is_image_file, listing_of, usable_rows
from shardpack.sources.layouts.layout import BY_NAME, Found, LayoutOptions
from shardpack.sources.layouts.per_image import split_in
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.tree import Tree

_MAY_BE_CLASSES = (("left", "right"), ("before", "after"), ("low", "high"))
_SETS = (
    *_MAY_BE_CLASSES,
    ("rgb", "depth"),
    ("color", "depth"),
    ("colour", "depth"),
    ("lr", "hr"),
    ("blur", "sharp"),
    ("noisy", "clean"),
    ("input", "target"),
    ("image_2", "image_3"),
)


@dataclass(frozen=True, slots=True)
class _Views:
    """Folders that show the same things: the one above them, and their names, the first being the image's."""

    above: str
    names: tuple[str, ...]


class Views:
    """Parallel folders with the same stems."""

    name = "views"

    def find(self, tree: Tree, options: LayoutOptions) -> Found | None:
        """Return the folders whose names belong together and which have a stem in common; see `Layout.find`."""
        found = [views for views in _views(tree) if _common_stems(tree, views)]
        if not found:
            if options.asked:
                pairs = ", ".join("/ and ".join(names) + "/" for names in _SETS)
                raise SourceError(f"no parallel folders in {tree.files.root!r}: expected {pairs}; rename them")
            return None
        title = f"images in parallel folders ({', '.join(dict.fromkeys(n for views in found for n in views.names))})"
        question = "" if options.asked else _question(tree, found)
        return Found(layout=self.name, rank=BY_NAME, title=title, question=question, memory=found)

    def list(self, tree: Tree, found: Found, problems: Problems, options: LayoutOptions) -> Listing:  # noqa: ARG002
        """Return the stems with an image in each folder. Rejected: images that lack the other."""
        rows = [row for views in found.memory for row in _rows(tree, views, problems)]
        return listing_of(usable_rows(rows, tree.files, problems), tree.files)


def _question(tree: Tree, found: list[_Views]) -> str:
    """Return what to ask if the folders may be classes; "" if they are not."""
    for views in found:
        equal = len({frozenset(_images(tree, views, name)) for name in views.names}) == 1
        if tuple(name.lower() for name in views.names) in _MAY_BE_CLASSES or not equal:
            folders = " and ".join(repr(posixpath.join(views.above, name)) for name in views.names)
            return (
                f"{folders} may be two images of each sample, or two classes; say which: --layout views or "
                "--layout classes"
            )
    return ""


def _views(tree: Tree) -> Iterator[_Views]:
    below: dict[str, dict[str, str]] = {}
    for path, folder in tree.folders.items():
        if folder.num_images and path:
            above, name = posixpath.split(path)
            below.setdefault(above, {})[name.lower()] = name
    for above, names in below.items():
        for each in _SETS:
            if set(each) == names.keys():  # among further folders they may be classes
                yield _Views(above, tuple(names[name] for name in each))


def _images(tree: Tree, views: _Views, name: str) -> dict[str, int]:
    """Return the number of each image of a folder by its stem."""
    folder = tree.folders[posixpath.join(views.above, name)]
    files = tree.files.names
    return {
        posixpath.basename(cut_extension(files[i])[0]): i
        for i in range(folder.first, folder.stop)
        if is_image_file(files[i])
    }


def _common_stems(tree: Tree, views: _Views) -> set[str]:
    return set.intersection(*(set(_images(tree, views, name)) for name in views.names))


def _rows(tree: Tree, views: _Views, problems: Problems) -> Iterator[ImageRow]:
    of_name = {name: _images(tree, views, name) for name in views.names}
    for stem in sorted(set().union(*of_name.values())):
        missing = next((name for name, images in of_name.items() if stem not in images), None)
        numbers = {name: images[stem] for name, images in of_name.items() if stem in images}
        if missing is not None:
            one = tree.files.names[next(iter(numbers.values()))]
            problems.reject(
                one, f"has no counterpart in {posixpath.join(views.above, missing)!r}; add it, or remove it"
            )
            continue
        files = {f"{name.lower()}.{cut_extension(tree.files.names[i])[1]}": i for name, i in numbers.items()}
        key = posixpath.join(views.above, stem)
        yield ImageRow(key, files, split_in(tree.files.names[next(iter(numbers.values()))]))
