"""Decide which layout a tree has, and list its samples."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from shardpack.errors import OptionError, SourceError
from shardpack.sources.class_list import MAX_BYTES, read_class_lists, with_class_list
from shardpack.sources.keys import check_names
from shardpack.sources.layouts import LAYOUTS
from shardpack.sources.layouts.classes import ClassFolders
from shardpack.sources.layouts.describe import describe
from shardpack.sources.layouts.layout import BY_NAME, Found, Layout, LayoutOptions
from shardpack.sources.layouts.leftovers import ask_about_labels, ignore_files, leave_out, leftovers
from shardpack.sources.layouts.sidecars import SidecarFiles, few_have_sidecars
from shardpack.sources.layouts.table import Table, says_no_class
from shardpack.sources.listing import Listing
from shardpack.sources.source import Listed, Problems
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
        if found.question:
            raise SourceError(found.question)
        return found
    candidates = [found for each in _LAYOUTS if (found := each.find(tree, options)) is not None]
    try:
        best = choose(candidates)
        _ask_about_classes(tree, best, candidates, options)
    except SourceError:
        if options.ask:
            raise
        return next(found for found in candidates if found.layout == SidecarFiles.name)
    return best


def _ask_about_classes(tree: Tree, best: Found, candidates: Iterable[Found], options: LayoutOptions) -> None:
    """Raise a question if class folders are beside the best, and that may not be meant to replace them.

    So it is with label files that fewer than half of the images have, and with tables that nobody named and that say
    splits, or values between spaces, but no class.
    """
    classes = next((one for one in candidates if one.layout == ClassFolders.name and not one.question), None)
    if classes is None or len({*classes.memory.class_of.values()} - {None}) < 2:
        return
    if best.layout == SidecarFiles.name and best.rank == BY_NAME and few_have_sidecars(tree):
        titles = f"{best.title}, which fewer than half of the images have, or {classes.title}"
    elif best.layout == Table.name and options.table is None and says_no_class(best):
        titles = f"{best.title}, which says no class, or {classes.title}"
    else:
        return
    raise SourceError(f"the source may be {titles}; say which: --layout {best.layout} or --layout {classes.layout}")


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


def read_tree(tree: Tree, layout: str, problems: Problems, options: LayoutOptions) -> Listed:
    """Return the samples of a tree, their payloads where they are.

    Files that no sample takes are counted by kind, unless `options.ignore` leaves them out.

    Args:
        tree: The files.
        layout: Name of the layout, or "auto".
        problems: Receives what is rejected or left out.
        options: What the user said about the layout.

    Raises:
        SourceError: No layout fits, or two do, a label file is unreadable, or there are files that may hold labels and
            that the layout does not understand.
    """
    tree = ignore_files(tree, options.ignore, problems)
    lists, classes = read_class_lists(tree.files.names, partial(tree.read, max_bytes=MAX_BYTES))
    tree = tree.without(lists)
    found = find_layout(tree, layout, options)
    listing = list_tree(tree, found, problems, options)
    listing = check_names(listing, problems, rename_keys=options.rename_keys)
    rest = leftovers(tree, listing, found, problems)
    if listing.num_samples and options.ask:
        others = set(rest)
        kept = (name for name in tree.files.names if name not in others)
        ask_about_labels(rest, found.layout, layouts=LAYOUT_CHOICES, kept=kept)
    leave_out(rest, problems)
    listing = tree.contents.locate(listing)
    if classes is not None:
        listing = with_class_list(listing, classes, problems)
    sentence = describe(listing, title=found.title, label=found.label, noted=problems.noted)
    return Listed(listing, found.layout, problems, sentence)


def list_tree(tree: Tree, found: Found, problems: Problems, options: LayoutOptions) -> Listing:
    """Return the samples of the layout that was found, with payloads that are names; see `Layout.list`."""
    return _named(found.layout).list(tree, found, problems, options)


def _named(layout: str) -> Layout:
    for each in _LAYOUTS:
        if each.name == layout:
            return each
    raise OptionError(f"layout is {layout!r}; expected one of {', '.join(LAYOUT_CHOICES)}")
