"""Other programs read packed images sample for sample, byte for byte."""

from __future__ import annotations

import subprocess
import tarfile
import warnings
from io import BytesIO

import pytest
from PIL import Image

import shardpack
from tests.conftest import IMAGES, judge

SOURCE = {
    path.relative_to(IMAGES).as_posix()[:-4]: path.read_bytes()
    for path in sorted(IMAGES.rglob("*.jpg"), key=lambda path: path.relative_to(IMAGES).as_posix()[:-4])
}
CLASSES = sorted({key.split("/")[0] for key in SOURCE})


@pytest.fixture(scope="module", params=["planned", "shuffled", "written"])
def out(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("judged") / "out"
    if request.param == "written":
        ds = shardpack.open(shardpack.pack(IMAGES, tmp_path_factory.mktemp("plain") / "out").out)
        shardpack.pack(((sample.key, dict(sample)) for sample in ds), out, max_shard_bytes="150KiB")
    else:
        shuffle = 5 if request.param == "shuffled" else None
        shardpack.pack(IMAGES, out, max_shard_bytes="150KiB", shuffle_seed=shuffle)
    return out


@pytest.fixture(scope="module")
def tars(out):
    tars = sorted(out.glob("*.tar"))
    assert len(tars) > 3
    assert all(path.stat().st_size <= 150 << 10 for path in tars)
    return tars


@pytest.fixture(scope="module")
def members(out):
    """Return (name, payload) of every member, in order, as shardpack reads them."""
    return [(f"{sample.key}.{field}", payload) for sample in shardpack.open(out) for field, payload in sample.items()]


def test_our_own_reader_has_the_images(out, members):
    assert {name[:-4]: payload for name, payload in members if name.endswith(".jpg")} == SOURCE
    ds = shardpack.open(out)
    assert ds.classes == tuple(CLASSES) or ds.classes is None
    for key in SOURCE:
        assert ds[key].decode("json")["label"] == CLASSES.index(key.split("/")[0])


def test_tarfile(tars, members):
    found = []
    for path in tars:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                assert (member.mode, member.uid, member.gid, member.mtime) == (0o644, 0, 0, 0)
                assert (member.uname, member.gname, member.isreg()) == ("", "", True)
                found.append((member.name, archive.extractfile(member).read()))
    assert found == members


@pytest.mark.parametrize("program", ["tar", "bsdtar"])
def test_listing(tars, members, program):
    found: list[str] = []
    for path in tars:
        done = subprocess.run([judge(program), "tf", path], check=True, capture_output=True, text=True)
        assert done.stderr == ""
        found += done.stdout.splitlines()
    assert found == [name for name, _ in members]


@pytest.mark.parametrize("program", ["tar", "bsdtar"])
def test_extraction(tars, members, program, tmp_path):
    for path in tars:
        done = subprocess.run([judge(program), "xf", path, "-C", tmp_path], check=True, capture_output=True, text=True)
        assert done.stderr == ""
    found = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == dict(members)


def test_webdataset(tars, members):
    wds = pytest.importorskip("webdataset")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # webdataset's own
        found = list(wds.WebDataset([str(path) for path in tars], shardshuffle=False))
    flat = [
        (f"{sample['__key__']}.{field}", payload)
        for sample in found
        for field, payload in sample.items()
        if not field.startswith("__")
    ]
    assert flat == members
    assert len(found) == len(SOURCE)


def test_webdataset_decodes_the_images(tars):
    wds = pytest.importorskip("webdataset")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pairs = list(
            wds.WebDataset([str(path) for path in tars], shardshuffle=False).decode("pil").to_tuple("jpg", "json")
        )
    assert len(pairs) == len(SOURCE)
    keys = [sample.key for sample in shardpack.open(tars[0].parent)]
    for key, (image, found) in zip(keys, pairs, strict=True):
        with Image.open(BytesIO(SOURCE[key])) as expected:
            assert image.tobytes() == expected.convert("RGB").tobytes()
        assert found["label"] == CLASSES.index(key.split("/")[0])
