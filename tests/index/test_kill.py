"""`kill -9` at every step of indexing: the same command gives the same result, and leaves nothing behind."""

from __future__ import annotations

import itertools
import os
import shutil
from contextlib import suppress

import pytest

import shardpack
from shardpack.format.layout import MANIFEST_PATH
from tests.fakes import contents, write_files
from tests.write.test_kill import zygote  # noqa: F401 - a fixture

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(scope="module")
def tars(tmp_path_factory):
    """A folder of existing tars."""
    folder = tmp_path_factory.mktemp("tars")
    source = write_files(folder / "source", {f"{i}": {"jpg": bytes([i + 1]) * 2000} for i in range(6)})
    shardpack.pack(source, folder / "out", max_shard_samples=2, layout="files", jobs=1)
    (folder / "tars").mkdir()
    for path in (folder / "out").glob("*.tar"):
        shutil.copy2(path, folder / "tars" / path.name.replace("shard", "train"))
    return folder / "tars"


def killed(tars, tmp_path, zygote, *, every, **options):  # noqa: F811
    """Yield a folder of the tars for each step at which indexing was killed, until it takes no more steps."""
    for step in itertools.count(1, every):
        out = tmp_path / f"killed-{step}"
        shutil.copytree(tars, out)
        ended = zygote.run({"action": "index", "options": options}, "", out, kill_at=step)
        if not ended["killed"]:
            assert "error" not in ended
            assert step > 20  # the steps were seen
            return
        yield out


@pytest.fixture(
    params=[pytest.param(7, marks=pytest.mark.subset), pytest.param(1, marks=pytest.mark.every_step)],
    ids=["some", "all"],
)
def every(request):
    return request.param


def test_the_same_command_ends_the_same(tars, tmp_path, zygote, every):  # noqa: F811
    shutil.copytree(tars, tmp_path / "whole")
    shardpack.index(tmp_path / "whole", jobs=1)
    whole, resumed = contents(tmp_path / "whole"), set()
    for out in killed(tars, tmp_path, zygote, every=every):
        complete = (out / MANIFEST_PATH).exists()
        report = shardpack.index(out, jobs=1, force=complete)
        resumed.add(report.resumed)
        assert contents(out) == whole
        assert shardpack.verify(out, full=True).ok
    assert max(resumed) == 3, "tars that were indexed are not read again"


def test_indexing_again_by_force_may_be_killed_too(tars, tmp_path, zygote, every):  # noqa: F811
    shutil.copytree(tars, tmp_path / "whole")
    shardpack.index(tmp_path / "whole", jobs=1)
    whole = contents(tmp_path / "whole")
    for out in killed(tmp_path / "whole", tmp_path, zygote, every=every, force=True):
        shardpack.index(out, jobs=1, force=True)
        assert contents(out) == whole
        assert shardpack.verify(out, full=True).ok


def test_a_changed_tar_is_indexed_again(tars, tmp_path, zygote, every):  # noqa: F811
    for out in killed(tars, tmp_path, zygote, every=every):
        path = out / "train-000000.tar"
        path.write_bytes(path.read_bytes().replace(b"\x01" * 2000, b"\x09" * 2000))
        shardpack.index(out, jobs=1, force=True)
        assert shardpack.open(out)[0]["jpg"] == b"\x09" * 2000
        assert shardpack.verify(out, full=True).ok


def test_packing_into_what_was_cut_off_deletes_no_tar(tars, tmp_path, zygote, every):  # noqa: F811
    for out in killed(tars, tmp_path, zygote, every=every):
        before = {path.name: path.read_bytes() for path in out.glob("*.tar")}
        with suppress(shardpack.ShardpackError):
            shardpack.pack([("x", {"bin": b"1"})], out)
        assert {name: (out / name).read_bytes() for name in before} == before
