"""Where the files of a dataset are whose names hold a checksum."""

from __future__ import annotations

from pathlib import Path


def key_index(folder: Path) -> Path:
    """The only segment of the key index."""
    (path,) = (Path(folder) / ".shardpack").glob("keys-*.index")
    return path


def shard_table(folder: Path) -> Path:
    """The only segment of the shard table."""
    (path,) = (Path(folder) / ".shardpack").glob("shards-*.index")
    return path


def plain(name: str) -> str:
    """A file's name with its checksum left out: ".shardpack/keys-000001-0badcafe.index" is "keys.index"."""
    folder, _, last = name.rpartition("/")
    what = last.partition("-")[0]
    return f"{what}.index" if folder == ".shardpack" and what in ("keys", "shards", "splits") else name
