"""The `.lst` beside a `.rec`: lines of id, labels and path, parted by tabs."""

from __future__ import annotations

from shardpack.errors import SourceError
from shardpack.sources.formats.found_files import FoundFiles

MAX_LIST_BYTES = 512 << 20

_kept: dict[tuple[str, str], dict[int, str]] = {}  # of the list that was read last: rows of many chunks want it


def paths_of_list(found: FoundFiles, name: str, version: str) -> dict[int, str]:
    """Return id -> path; kept for the next call in this process.

    Raises:
        SourceError: A line is not of this form; or the file is longer than `MAX_LIST_BYTES`.
    """
    if (name, version) not in _kept:
        _kept.clear()
        _kept[name, version] = parse_list(found.read(name, max_bytes=MAX_LIST_BYTES), name)
    return _kept[name, version]


def parse_list(data: bytes, name: str) -> dict[int, str]:
    """Return id -> path of the lines of a list. Raises as `paths_of_list`."""
    paths: dict[int, str] = {}
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            first, *_, path = line.split(b"\t")
            identity = int(float(first))
            paths[identity] = path.decode()
        except (ValueError, OverflowError) as error:
            raise SourceError(f"line {number} is {line[:60]!r}, expected id, labels and path", path=name) from error
    return paths
