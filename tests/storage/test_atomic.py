"""A file is whole under its name, or not there; what the system refuses is one clear line."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OutputExistsError, StorageError
from shardpack.storage.atomic import NewFile, make_folder, storage_errors, sync_folder, write_file
from tests.forks import in_child
from tests.storage.test_local import counts_descriptors, num_open


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def failing(number, *, after=0):
    """Return a system call that fails with this errno, after some calls that do nothing but count."""
    calls = iter(range(after))

    def call(*_):
        if next(calls, None) is None:
            raise OSError(number, os.strerror(number))

    return call


def test_a_file_appears_whole(tmp_path):
    file = NewFile(str(tmp_path / "x.tmp"))
    file.write(b"abc")
    file.write(memoryview(bytearray(b"defg"))[1:])
    assert names(tmp_path) == ["x.tmp"]
    file.move_to(str(tmp_path / "x"))
    assert names(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"abcefg"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_deletes_nothing(tmp_path):
    file = NewFile(str(tmp_path / "x.tmp"))
    file.write(b"ab")
    assert in_child(file.discard) == "None"
    file.write(b"c")
    file.move_to(str(tmp_path / "x"))
    assert (tmp_path / "x").read_bytes() == b"abc"


def test_an_older_file_stays_until_then(tmp_path):
    (tmp_path / "x").write_bytes(b"old")
    file = NewFile(str(tmp_path / "x.tmp"))
    file.write(b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    file.move_to(str(tmp_path / "x"))
    assert (tmp_path / "x").read_bytes() == b"new"


@pytest.mark.parametrize("sync", [True, False])
def test_writes_are_synced_unless_told_not_to(tmp_path, monkeypatch, sync):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    write_file(str(tmp_path / "x"), [b"a"], sync=sync)
    assert (tmp_path / "x").read_bytes() == b"a"
    assert len(synced) == sync


def test_reserved_room_is_no_content(tmp_path):
    file = NewFile(str(tmp_path / "x"), expected_bytes=10_000)
    file.write(bytes(10_000))
    file.close()
    assert (tmp_path / "x").stat().st_size == 10_000


@given(st.lists(st.binary(max_size=50)), st.integers(1, 9))
def test_writes_cut_short_are_continued(tmp_path_factory, parts, at_most):
    path = tmp_path_factory.mktemp("files") / "x"
    real = os.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:at_most]))
        write_file(str(path), parts)
    assert path.read_bytes() == b"".join(parts)


def test_write_file_takes_a_temporary_name(tmp_path):
    seen = []

    def parts():
        seen.extend(names(tmp_path))
        yield b"a"

    write_file(str(tmp_path / "x"), parts(), temporary=str(tmp_path / "t"))
    assert seen == ["t"]
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch, call):
    (tmp_path / "x").write_bytes(b"old")
    monkeypatch.setattr(os, call, failing(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        write_file(str(tmp_path / "x"), [b"new"])
    assert names(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"old"


def test_an_interrupt_leaves_nothing(tmp_path):
    def parts():
        yield b"a"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(str(tmp_path / "x"), parts())
    assert names(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="nothing can be reserved here")
class TestReserving:
    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
    def test_a_full_disk_is_found_at_once(self, tmp_path, monkeypatch, number):
        monkeypatch.setattr(os, "posix_fallocate", failing(number))
        with pytest.raises(OSError, match=os.strerror(number)):
            NewFile(str(tmp_path / "x"), expected_bytes=100)
        assert names(tmp_path) == []

    @pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL])
    def test_a_disk_that_cannot_is_written_all_the_same(self, tmp_path, monkeypatch, number):
        monkeypatch.setattr(os, "posix_fallocate", failing(number))
        file = NewFile(str(tmp_path / "x"), expected_bytes=100)
        file.write(b"abc")
        file.close()
        assert (tmp_path / "x").read_bytes() == b"abc"


@counts_descriptors
def test_a_forgotten_file_is_closed(tmp_path):
    file = NewFile(str(tmp_path / "x"))
    assert num_open(tmp_path) == 1
    del file
    assert num_open(tmp_path) == 0
    with pytest.raises(FileNotFoundError):
        NewFile(str(tmp_path / "nowhere" / "x"))
    file = NewFile(str(tmp_path / "y"))
    file.discard()
    file.discard()
    assert names(tmp_path) == ["x"]
    assert num_open(tmp_path) == 0


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "No space left on device; free some space, then run the same command"),
        (errno.EDQUOT, "free some of the quota"),
        (errno.EACCES, "Permission denied; choose another folder, or change its permissions"),
        (errno.EROFS, "Read-only file system; choose another folder"),
        (errno.ENOTDIR, "Not a directory; choose another folder"),
        (errno.EIO, "Input/output error; repair it, then run the same command"),
    ],
)
def test_system_errors_become_one_line(number, says):
    with pytest.raises(StorageError, match=says) as caught, storage_errors("write 'x'"):
        raise OSError(number, os.strerror(number), "x")
    assert str(caught.value).startswith("cannot write 'x': ")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__.errno == number


def test_our_own_errors_pass_though_they_are_system_errors():
    """OutputExistsError is a FileExistsError; it once came out as a StorageError with a second advice."""
    with pytest.raises(OutputExistsError, match=r"^is there$"), storage_errors("write"):
        raise OutputExistsError("is there")


def test_a_folder_is_made_while_others_remove_it(tmp_path):
    folder = tmp_path / "above" / "below"

    def make_and_remove():
        for _ in range(1000):
            make_folder(str(folder))
            with suppress(OSError):
                folder.rmdir()
                folder.parent.rmdir()

    with ThreadPoolExecutor(4) as threads:
        for made in [threads.submit(make_and_remove) for _ in range(4)]:
            made.result()


def test_a_file_in_the_place_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "x").touch()
    with pytest.raises(FileExistsError):
        make_folder(str(tmp_path / "x"))
    with pytest.raises(NotADirectoryError):
        make_folder(str(tmp_path / "x" / "y"))


def test_folders_can_be_synced(tmp_path):
    sync_folder(str(tmp_path))
