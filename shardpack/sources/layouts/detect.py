"""Decide which layout a tree has, and list its samples."""

from __future__ import annotations

from collections.abc import Iterable

from shardpack.errors import OptionError, SourceError
from shardpack.sources.layouts import LAYOUTS
from shardpack.sources.layouts.layout import Found, Layout, LayoutOptions
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.tree import Tree

AUTO = "auto"
_LAYOUTS: tuple[Layout, ...] = LAYOUTS
LAYOUT_CHOICES = (AUTO, *(layout.name for layout in _LAYOUTS))


def find_layout(tree: Tree, layout: str, options: LayoutOptions) -> Found:
    """Return what the named layout finds in a tree, or with "auto" the most specific one that fits.

    Raises:
        SourceError: The tree does not have the named layout, or may have two.
        OptionError: No layout has this name.
    """
    if layout != AUTO:
        found = _named(layout).find(tree, options)
        if found is None:
            raise SourceError(f"{tree.files.root!r} does not have the layout {layout!r}; leave out --layout")
        return found
    return choose(found for each in _LAYOUTS if (found := each.find(tree, options)) is not None)


def choose(candidates: Iterable[Found]) -> Found:
    """Return the most specific of what was found.

    Raises:
        SourceError: Nothing was found, or two that are equally specific.
    """
    found = sorted(candidates, key=lambda one: -one.rank)
    if not found:
        raise SourceError("no layout fits; name one with layout= (--layout)")
    best = [one for one in found if one.rank == found[0].rank]
    if len(best) > 1:
        titles = " or ".join(one.title for one in best)
        commands = " or ".join(f"--layout {one.layout}" for one in best)
        raise SourceError(f"the source may be {titles}; say which: {commands}")
    if best[0].question:
        raise SourceError(best[0].question)
    return best[0]


def list_tree(tree: Tree, found: Found, problems: Problems, options: LayoutOptions) -> Listing:
    """Return the samples of a tree, their payloads where they are; see `Layout.list`."""
    return tree.contents.locate(_named(found.layout).list(tree, found, problems, options))


def _named(layout: str) -> Layout:
    for each in _LAYOUTS:
        if each.name == layout:
            return each
    raise OptionError(f"layout is {layout!r}; expected one of {', '.join(LAYOUT_CHOICES)}")
