"""The files that no sample takes: counted by kind, and a question if they may hold labels.

A file is in a sample, or its layout understands it, or the user ignores it, or it is named here: none is lost in
silence. Files whose names begin like that of an image that was rejected or left out go with that image.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase, translate

from shardpack.errors import OptionError, SourceError
from shardpack.sources.layouts.layout import Found
from shardpack.sources.listing import Listing
from shardpack.sources.source import SHOWN, Problems
from shardpack.sources.tree import Tree

MAY_HOLD_LABELS = frozenset(("csv", "tsv", "jsonl", "ndjson", "json", "txt", "xml", "parquet", "yaml", "yml"))
_NO_LABELS = ("readme*", "license*", "licence*", ".*", "*.cache")  # by the last component, in lower case
# Extension -> how the files of that kind are used, in the order in which they are asked about.
_USED_BY = {
    **dict.fromkeys(("csv", "tsv", "parquet", "jsonl", "ndjson"), "--table {name}"),
    "json": "--annotations {name}",
    "xml": "--layout voc",
    **dict.fromkeys(("yaml", "yml"), "--layout yolo"),
    "txt": "--table {name} --key-column 0",
}
_RELABELLED_BY = ("csv", "tsv", "jsonl", "ndjson", "parquet", "json")  # kinds of files that `relabel` takes


def ignore_files(tree: Tree, patterns: Sequence[str], problems: Problems) -> Tree:
    """Return the tree without the files that match a pattern; `problems` gets these, and patterns that match none.

    A pattern with a slash is compared with the path, one with a slash at its end with the folders, and any other with
    the last component. `*` matches slashes, too.

    Raises:
        OptionError: A pattern is empty.
    """
    ignored: set[str] = set()
    for pattern in patterns:
        matching = matching_names(tree.files.names, pattern)
        if not matching:
            problems.without_match.append(pattern)
        ignored.update(matching)
    for name in tree.files.names if ignored else ():
        if name in ignored:
            problems.leave_out(name, "ignored")
    return tree.without(ignored)


def matching_names(names: Iterable[str], pattern: str) -> list[str]:
    """Return the names that match a pattern; raises as `ignore_files`, which says what patterns mean."""
    matches = re.compile(_expression(pattern)).match
    return [name for name in names if matches(name)]


def _expression(pattern: str) -> str:
    if not pattern.strip("/"):
        raise OptionError(f"ignore has the pattern {pattern!r}; expected patterns such as '*.csv'")
    if pattern.endswith("/"):
        return rf"(?s:(?:.*/)?){translate(pattern + '*')}"
    return translate(pattern) if "/" in pattern else rf"(?s:(?:.*/)?){translate(pattern)}"


def leftovers(tree: Tree, listing: Listing, found: Found, problems: Problems) -> list[str]:
    """Return the names of the files that no sample takes, in the order of the tree. Costs 0.2 us a file.

    Args:
        tree: The files.
        listing: The samples, whose payloads are names.
        found: The layout, with the files that it understands.
        problems: What was rejected and left out: the files of those samples are not named again.
    """
    taken = {payload for payload in listing.payload if isinstance(payload, str)}
    if len(taken) + len(found.uses) == len(tree.files.names):
        return []
    named = [name for name, _ in problems.rejected] + problems.left_out_names
    dropped = {name.rpartition(".")[0] for name in named}
    return [
        name
        for name in tree.files.names
        if name not in taken and name not in found.uses and not any(stem in dropped for stem in _stems(name))
    ]


def _stems(name: str) -> Iterable[str]:
    """Yield the beginnings of a name that may be the key of a sample that it is in."""
    dot = name.find(".", name.rfind("/") + 1)
    while dot >= 0:
        yield name[:dot]
        dot = name.find(".", dot + 1)


def leave_out(names: Iterable[str], problems: Problems) -> None:
    """Count files that no sample takes by their kind."""
    for name in names:
        kind = _extension(name)
        problems.leave_out(name, f"not in a sample, .{kind}" if kind else "not in a sample")


def ask_about_labels(names: Sequence[str], layout: str, *, layouts: Iterable[str], kept: Iterable[str] = ()) -> None:
    """Raise the question what to do with files that may hold labels, if there are such files.

    Args:
        names: Files that no sample takes.
        layout: The layout that does not understand them.
        layouts: Names of layouts that the question may offer.
        kept: The other files, which no pattern of the question may match.

    Raises:
        SourceError: There are such files; the message names the first, and the options that use or ignore them.
    """
    by_kind = _by_kind(names)
    if not by_kind:
        return
    asked = [kind for kind in _USED_BY if kind in by_kind]
    using = _USED_BY[asked[0]]
    if "--layout" in using and using.rpartition(" ")[2] not in layouts:
        using = "--layout files"
    name = _quoted(by_kind[asked[0]][0])
    raise SourceError(
        f"files that may hold labels are in no sample of the layout {layout!r}: {_shown(by_kind)}"
        f"; use them ({using.format(name=name)}), or pack without them ({_ignoring_all(by_kind, kept)})"
    )


def ask_about_unread(names: Sequence[str], *, kept: Iterable[str]) -> None:
    """Raise the question what to do with files beside those of a foreign format, if some of them may hold labels.

    Args:
        names: Files that the format does not read.
        kept: Those that it reads, which no pattern of the question may match.

    Raises:
        SourceError: There are such files; the message names the first, and the commands that leave out or use them.
    """
    by_kind = _by_kind(names)
    if not by_kind:
        return
    tables = [each for kind in _RELABELLED_BY for each in by_kind.get(kind, ())]
    using = f"; rows with keys become labels afterwards: shardpack relabel OUT {_quoted(tables[0])}" if tables else ""
    raise SourceError(
        f"files that may hold labels are beside the samples, and are not read: {_shown(by_kind)}"
        f"; pack without them ({_ignoring_all(by_kind, kept)}){using}"
    )


def _by_kind(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the files that may hold labels, by extension."""
    by_kind: dict[str, list[str]] = {}
    for name in names:
        if (kind := _extension(name)) in MAY_HOLD_LABELS and not _without_labels(name):
            by_kind.setdefault(kind, []).append(name)
    return {kind: by_kind[kind] for kind in sorted(by_kind, key=lambda kind: (-len(by_kind[kind]), kind))}


def _shown(by_kind: Mapping[str, Sequence[str]]) -> str:
    kinds = list(by_kind)
    more = sum(len(by_kind[kind]) for kind in kinds[SHOWN:])
    shown = ", ".join(_counted(kind, by_kind[kind]) for kind in kinds[:SHOWN])
    return shown + (f", and {more:,} more" if more else "")


def _counted(kind: str, names: Sequence[str]) -> str:
    return f"{names[0]!r}" if len(names) == 1 else f"{len(names):,} .{kind} files such as {names[0]!r}"


def _ignoring_all(by_kind: Mapping[str, Sequence[str]], kept: Iterable[str]) -> str:
    in_use = set(map(_extension, kept))
    options = " ".join(_ignoring(kind, names, in_use=kind in in_use) for kind, names in by_kind.items())
    return f"{options}; in Python ignore=[...]"


def _ignoring(kind: str, names: Sequence[str], *, in_use: bool) -> str:
    """Return the options that ignore files of a kind: by one pattern, unless other files of the kind are in use."""
    patterns = [*map(_quoted, names[:SHOWN])] if in_use or len(names) == 1 else [f"'*.{kind}'"]
    return " ".join(f"--ignore {pattern}" for pattern in patterns) + " ..." * (in_use and len(names) > SHOWN)


def _quoted(name: str) -> str:
    """Return a name as a shell takes it."""
    return name if re.fullmatch(r"[\w./+@%=:-]+", name, re.ASCII) else "'" + name.replace("'", "'\\''") + "'"


def _extension(name: str) -> str:
    last = name.rpartition("/")[2]
    return last.rpartition(".")[2].lower() if "." in last else ""


def _without_labels(name: str) -> bool:
    last = name.rpartition("/")[2].lower()
    return any(fnmatchcase(last, pattern) for pattern in _NO_LABELS)
