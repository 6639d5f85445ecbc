"""Tars of edits that no manifest names: which are an edit's waste, and which a lost manifest may have committed.

`gc` deletes the one kind and spares the other; `verify` advises accordingly.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from shardpack.format.layout import FOLDER, generation_of, index_path, tag_of_shard


def is_edit_shard(path: str, paths: Collection[str]) -> bool:
    """Return whether an edit added a tar: it is named as they name them, and has an index, which comes first."""
    return tag_of_shard(path) is not None and index_path(path) in paths


def maybe_committed(
    shards: Collection[str],
    unnamed: Iterable[str],
    read: Callable[[str], bytes | None],
    *,
    newest: int,
    is_indexed: bool,
) -> set[str]:
    """Return the tars of edits that may have been committed by a manifest that is lost, and what tells of them.

    Where the sidecars were made of tars, all of them may. Elsewhere those may that a shard table of a generation behind
    the newest one names: an edit writes it right before its manifest. Earlier generations are known: the newest one
    names all of their tars.

    Args:
        shards: The tars of edits that no manifest names.
        unnamed: All files that no manifest names.
        read: Returns a file; None if it is missing.
        newest: Number of the newest generation.
        is_indexed: Whether the sidecars were made of tars.
    """
    if is_indexed:
        return {*shards, *map(index_path, shards)}
    found: set[str] = set()
    for path in sorted(unnamed) if shards else ():
        if not (path.startswith(f"{FOLDER}/shards-") and generation_of(path) > newest):
            continue
        data = read(path) or b""
        if named := {name for name in shards if name.encode() in data}:
            found |= {path, *named, *map(index_path, named)}
    return found
