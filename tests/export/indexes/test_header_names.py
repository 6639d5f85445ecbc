"""Names as they stand in tars of other tools."""

from __future__ import annotations

import io
import tarfile

import pytest

import shardpack
from shardpack.errors import StaleIndexError
from shardpack.export.indexes.header_names import left_out, with_stored_names
from shardpack.export.indexes.shard_members import members_of
from shardpack.storage.local import LocalStore
from tests.export.indexes.test_index_source import write_tar

NAMES = ["A/B.JPG", "A/B.Json", "p" * 90 + "/" + "q" * 90 + ".TXT", "x" * 150 + ".jpg", "é.JPG"]


def opened(folder, tar):
    shard = shardpack.open(folder, index="memory").stream_input().cache.get(0)
    return members_of(shard.index, tar), LocalStore(folder)


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_case_is_that_of_the_headers(tmp_path, kind):
    names = [name for name in NAMES if kind != tarfile.USTAR_FORMAT or len(name) < 100 or "/" in name]
    write_tar(tmp_path / "x.tar", dict.fromkeys(names, b"1"), format=kind)
    members, store = opened(tmp_path, "x.tar")
    assert members.names != names
    assert with_stored_names(members, store).names == names


def test_another_tar_in_its_place_is_noticed(tmp_path):
    write_tar(tmp_path / "x.tar", {"a.jpg": b"1"})
    members, store = opened(tmp_path, "x.tar")
    write_tar(tmp_path / "x.tar", {"b.jpg": b"1"})
    with pytest.raises(StaleIndexError, match=r"expected 'a.jpg', got 'b.jpg'"):
        with_stored_names(members, store)


def test_files_between_the_samples(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in ("README", "d", "d/a.jpg", "d/._a.jpg", "d/b.jpg", "LICENSE"):
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if name == "d" else tarfile.REGTYPE
            info.size = 0 if name == "d" else 700
            archive.addfile(info, io.BytesIO(bytes(info.size)))
    assert list(left_out(*opened(tmp_path, "x.tar"))) == ["README", "d/._a.jpg", "LICENSE"]
