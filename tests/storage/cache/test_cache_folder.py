"""What a cache does to the disk: bounded, the least recently used goes first, and nothing of others is touched."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from shardpack.storage.cache import cache_folder as cache_files
from shardpack.storage.cache.cache_folder import CacheFolder
from shardpack.storage.lock import FolderLock
from tests.fakes import contents
from tests.strategies import examples

BLOCK = 4096
DATA = bytes(range(250)) * 16  # with its checksum, a block
SUFFIX = f"-{len(DATA):x}"
STEP = 10_000
OBJECT, VERSION = "a" * 32, "b" * 32
HOUR = 3600


@pytest.fixture
def make(tmp_path):
    """`make()` is the folder as a new process sees it, with room for ten entries."""
    return lambda max_bytes=10 * BLOCK: CacheFolder(str(tmp_path / "cache"), max_bytes)


def keep(folder, number, data=DATA, *, name=OBJECT, age=None):
    """Keep an entry that is told by its number; return its file."""
    entries = folder.entries(name, VERSION)
    folder.keep(entries, number * STEP, data)
    path = Path(entries.entry(number * STEP, len(data)))
    if age is not None:
        used = time.time() - age
        os.utime(path, (used, used))
    return path


def kept(folder):
    """Return the numbers of the entries, ascending."""
    names = (path.name for path in Path(folder.root).glob(f"{'?' * 32}/{VERSION}/*"))
    return sorted(int(name[: -len(SUFFIX)], 16) // STEP for name in names if name.endswith(SUFFIX))


def used(folder):
    return int(Path(folder.root, "used").read_text())


def test_an_entry_is_whole_and_nothing_else_is_left(make):
    folder = make()
    path = keep(folder, 7)
    names = {str(Path(name).relative_to(folder.root)) for name in (path, path.parent, path.parent.parent)}
    assert set(contents(Path(folder.root))) == {*names, "tmp", "used", "CACHEDIR.TAG"}
    assert path.read_bytes()[: len(DATA)] == DATA
    assert path.stat().st_size == len(DATA) + 4
    assert used(folder) == BLOCK
    keep(make(), 7)
    assert used(folder) == BLOCK  # it was there


@examples(30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 12_000), max_size=30))
def test_the_limit_is_kept(tmp_path_factory, sizes):
    folder = CacheFolder(str(tmp_path_factory.mktemp("bound")), 40_000)
    for number, size in enumerate(sizes):
        assert folder.has_room_for(size)
        path = keep(folder, number, bytes(size), age=1000 - number)
        assert path.exists()  # the newest stays
        taken = sum(-(-p.stat().st_size // BLOCK) * BLOCK for p in path.parent.parent.glob("*/*"))
        assert taken == used(folder) <= 40_000
    assert not folder.has_room_for(20_000)


def test_the_least_recently_used_goes_first(make):
    ages = {3: 50, 1: 40, 4: 90, 2: 20, 5: 80, 9: 10, 6: 70, 8: 60, 7: 30, 0: 15}
    for number, age in ages.items():
        keep(make(), number, age=age * HOUR)
    entries = make().entries(OBJECT, VERSION)
    assert entries.read(4 * STEP, 4000) == DATA  # the oldest is used now
    assert entries.read(5 * STEP + 100, 50) == DATA[100:150]  # and a part of the next
    keep(make(), 10)
    assert kept(make()) == [0, 1, 2, 3, 4, 5, 7, 9, 10]  # two went: room for one, and a tenth
    keep(make(), 11)
    assert len(kept(make())) == 10
    keep(make(), 12)
    assert kept(make()) == [0, 2, 4, 5, 7, 9, 10, 11, 12]


def test_a_use_is_written_down_once_a_minute(make):
    path = keep(make(), 0, age=1)
    entries = make().entries(OBJECT, VERSION)
    before = path.stat().st_mtime_ns
    entries.read(0, 4000)
    assert path.stat().st_mtime_ns == before
    keep(make(), 0, age=70)
    began = time.time()
    entries.read(0, 4000)
    assert path.stat().st_mtime > began - 30
    keep(make(), 0, age=-9000)  # another machine's clock
    entries.read(0, 4000)
    assert path.stat().st_mtime < time.time() + 30


def test_empty_folders_go_too(make):
    root = Path(make().root)
    for number in range(10):
        keep(make(), number, name=f"{number:032x}", age=HOUR - number)
    keep(make(), 10)
    emptied = [root / f"{number:032x}" / VERSION for number in range(2)]
    assert [list(folder.iterdir()) for folder in emptied] == [[], []]  # somebody may be about to fill them again
    os.utime(emptied[0], (0, 0))
    keep(make(), 11)
    keep(make(), 12)
    assert [folder.parent.exists() for folder in emptied] == [False, True]


def test_what_others_put_there_is_left_alone(make, tmp_path):
    folder = make()
    path = keep(folder, 0)
    root, outside = Path(folder.root), tmp_path / "outside"
    entry = f"{1:x}-{4000:x}"
    foreign = [
        root.parent / "thesis.tex",
        root / "notes.txt",
        root / entry,
        root / "tmp" / "mine.txt",
        root / "tmp" / ("f" * 15 + ".tmp"),
        root / "photos" / VERSION / entry,
        root / OBJECT / entry,
        root / OBJECT / "photos" / entry,
        path.parent / "cat.jpg",
        path.parent / f"{entry}.jpg",
        path.parent / "1-2-3",
        path.parent / "G-1",
        outside / VERSION / entry,
        outside / entry,
    ]
    for name in foreign:
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_bytes(b"mine" * 5000)
        os.utime(name, (0, 0))
    os.symlink(outside, root / ("c" * 32))
    os.symlink(outside, root / OBJECT / ("d" * 32))
    os.symlink(outside / entry, path.parent / "9-9")
    (path.parent / "8-8").mkdir()
    before = contents(tmp_path)
    for number in range(2, 40):
        keep(make(), number)
    assert kept(make())[-1] == 39
    after = contents(tmp_path)
    assert not path.exists()
    del before[str(path.relative_to(tmp_path))], before["cache/shardpack-cache-v1/used"]
    assert before.items() <= after.items()


def test_unfinished_files_are_swept_by_age(make):
    folder = make()
    keep(folder, 0)
    temporary = Path(folder.root, "tmp")
    for name, age in (("old", 2 * HOUR), ("new", 5)):
        path = temporary / f"{name.encode().hex():0>16}.tmp"
        path.write_bytes(DATA)
        os.utime(path, (time.time() - age,) * 2)
    keep(folder, 1)
    assert len(list(temporary.iterdir())) == 2  # not looked at each time
    keep(make(), 2)
    assert [path.name for path in temporary.iterdir()] == [f"{b'new'.hex():0>16}.tmp"]
    (temporary / f"{1:0>16}.tmp").touch()
    os.utime(temporary / f"{1:0>16}.tmp", (0, 0))
    for number in range(3, 12):
        keep(folder, number)
    assert len(list(temporary.iterdir())) == 1  # an eviction looks
    assert used(folder) == BLOCK * (1 + len(kept(folder)))  # what is being written counts


@pytest.mark.parametrize("text", [None, b"", b"12", b"x" * 20])
def test_a_lost_count_is_made_anew(make, text):
    for number in range(5):
        keep(make(), number)
    count = Path(make().root, "used")
    if text is None:
        count.unlink()
    else:
        count.write_bytes(text)
    keep(make(), 5)
    assert used(make()) == 6 * BLOCK


def test_a_count_too_high_is_mended_before_anything_is_deleted(make):
    """Processes that were killed after taking room leave it so."""
    for number in range(5):
        keep(make(), number)
    Path(make().root, "used").write_text(f"{10 * BLOCK:020}")
    keep(make(), 5)
    assert kept(make()) == [0, 1, 2, 3, 4, 5]
    assert used(make()) == 6 * BLOCK


@pytest.mark.skipif(sys.platform == "win32", reason="no locks there")
def test_nobody_waits_long_for_the_lock(make):
    folder = make()
    keep(folder, 0)
    with FolderLock(folder.root) as lock:
        assert lock.try_acquire()
        keep(make(), 1)  # returns, although the lock is not let go
        assert kept(folder) == [0]
    keep(make(), 1)
    assert kept(folder) == [0, 1]


def test_a_process_with_a_lower_limit_keeps_to_it(make):
    for number in range(10):
        keep(make(), number, age=1000 - number)
    keep(make(4 * BLOCK), 10)
    assert kept(make()) == [8, 9, 10]


def test_what_cannot_be_deleted_is_an_error(make, monkeypatch):
    for number in range(10):
        keep(make(), number)
    real = os.unlink

    def unlink(path):
        if not path.endswith(".tmp"):
            raise PermissionError(13, "Permission denied")
        real(path)

    monkeypatch.setattr(cache_files.os, "unlink", unlink)
    with pytest.raises(PermissionError):
        keep(make(), 10)
    assert kept(make()) == list(range(10))


def test_threads_share_a_folder(make):
    folder = make(20 * BLOCK)

    def work(number):
        entries = folder.entries(OBJECT, VERSION)
        for i in range(50):
            start = (7 * i + number) % 40
            data = entries.read(start, 4000)
            assert data in (None, DATA)
            folder.keep(entries, start, DATA)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(kept(folder)) <= 20 + 8
    assert list(Path(folder.root, "tmp").iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="permissions are another matter there")
def test_nobody_else_may_read_it(make):
    before = os.umask(0)
    try:
        folder = make()
        keep(folder, 7)
    finally:
        os.umask(before)
    for path in [Path(folder.folder), *Path(folder.folder).rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_in_the_place_of_its_account_is_an_error_at_once(make):
    folder = make()
    keep(folder, 7)
    Path(folder.root, "used").unlink()
    os.mkfifo(Path(folder.root, "used"))
    with pytest.raises(OSError, match="expected a file, got a pipe"):
        keep(folder, 8)
