"""Edits that were begun and have not ended: which of them may go on, and which are given up.

An edit is given up when nothing was written for it for so long as files are kept that nobody needs. In a folder a lock
tells that none is under way; in a bucket only time does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shardpack.commit.edit_folder import folder_of_edit, read_note
from shardpack.commit.target import Target
from shardpack.format.layout import generation_of, tag_of_shard
from shardpack.storage.protocols import Listed


@dataclass(frozen=True, slots=True)
class UnfinishedEdits:
    """What was found.

    Attributes:
        generation: Number of the generation that edits are to make.
        tags: Parts of the names of all files of edits that may go on.
        given_up: Folders of edits that are given up.
        tags_given_up: Parts of the names of all files of these.
    """

    generation: int
    tags: frozenset[str]
    given_up: frozenset[str]
    tags_given_up: frozenset[str]

    def may_use(self, path: str) -> bool:
        """Return whether an edit that may go on may use a file; of the generation to be made, any edit may use all."""
        is_awaited = bool(self.tags) and generation_of(path) == self.generation
        return is_awaited or any(tag in path for tag in self.tags)

    def gave_up(self, path: str) -> bool:
        """Return whether a file is in the folder of an edit that is given up, or a tar that such an edit made."""
        return folder_of_edit(path) in self.given_up or tag_of_shard(path) in self.tags_given_up


def find_unfinished_edits(
    target: Target, listed: Sequence[Listed], is_given_up: Callable[[Listed], bool], *, generation: int
) -> UnfinishedEdits:
    """Return the edits that a dataset's folder tells of; they are given up if all of their files are.

    Files of the generation that edits are to make may be of any of them, as not all have a tag in their names.
    """
    awaited = [one for one in listed if generation_of(one.path) == generation]
    folders: dict[str, list[Listed]] = {}
    for one in listed:
        if (folder := folder_of_edit(one.path)) is not None:
            folders.setdefault(folder, []).append(one)
    tags, given_up, tags_given_up = set[str](), set[str](), set[str]()
    for folder, files in sorted(folders.items()):
        note = read_note(target, folder)
        tag = set() if note is None else {note.tag}
        tagged = [one for one in listed if note is not None and note.tag in one.path]
        if all(map(is_given_up, [*files, *tagged, *awaited])):
            given_up.add(folder)
            tags_given_up |= tag
        else:
            tags |= tag
    return UnfinishedEdits(generation, frozenset(tags), frozenset(given_up), frozenset(tags_given_up - tags))
