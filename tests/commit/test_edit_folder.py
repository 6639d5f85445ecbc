"""Edits find their own folder again, and nobody takes it for that of a packer."""

from __future__ import annotations

from typing import get_args

import pytest

from shardpack.commit.bucket_target import BucketTarget
from shardpack.commit.edit_folder import NOTE, EditCommand, EditNote, edit_folder, folder_of_edit, new_tag, read_note
from shardpack.format.layout import WORK_FOLDER
from tests.commit.stores import WatchedStore


@pytest.mark.parametrize("command", get_args(EditCommand))
def test_the_folder_tells_command_and_input(command):
    folder = edit_folder(command, "run \udcff")
    assert folder == edit_folder(command, "run \udcff") != edit_folder(command, "other")
    assert folder.startswith(f"{WORK_FOLDER}/{command}-")
    assert folder_of_edit(f"{folder}/{NOTE}") == folder_of_edit(f"{folder}/more/files") == folder
    assert folder_of_edit(folder) is None


@pytest.mark.parametrize("name", ["lease.json", "parts/plan.json", "shard-000000.tar.done.json", "pack-0123abcd/x"])
def test_work_of_packers_is_not_that_of_an_edit(name):
    assert folder_of_edit(f"{WORK_FOLDER}/{name}") is None


def test_tags_differ_by_parent_and_run():
    tags = {
        new_tag("append", run, generation=generation, parent_crc32c=parent)
        for run in ("a", "b")
        for generation in (2, 3)
        for parent in (1, 2)
    }
    assert len(tags) == 8
    assert {tag[:8] for tag in tags} == {"g000002-", "g000003-"}


def test_a_note_comes_back():
    target = BucketTarget(WatchedStore(), shared=True)
    for note in (EditNote("g000002-0123abcd"), EditNote("g000002-0123abcd", (2, 7), {"deleted": 3})):
        target.put(f"folder/{NOTE}", [note.encode()])
        assert read_note(target, "folder") == note
    assert read_note(target, "other") is None
