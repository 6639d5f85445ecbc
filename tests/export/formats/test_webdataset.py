"""Tars under other names: the members of the shards, read by tarfile, by webdataset and by us."""

from __future__ import annotations

import tarfile

import pytest

import shardpack
from shardpack.errors import OptionError
from tests.export.datasets import classified, dataset, files


def members(folder):
    """Return what each tar holds, in order."""
    found = {}
    for path in sorted(folder.rglob("*.tar")):
        with tarfile.open(path) as archive:
            found[path.relative_to(folder).as_posix()] = {
                info.name: archive.extractfile(info).read() for info in archive.getmembers()
            }
    return found


def test_members_are_those_of_the_shards(pets, tmp_path):
    shardpack.export(pets, tmp_path / "out", to="webdataset", max_file_samples=4, jobs=1)
    found = members(tmp_path / "out")
    assert list(found) == ["train-000000.tar", "train-000001.tar"]
    assert [name for tar in found.values() for name in tar] == [
        f"{sample.key}.{field}" for sample in pets for field in sample
    ]
    assert found["train-000000.tar"]["dog/0001.jpg"] == pets[1]["jpg"]
    shards = sorted(name for name in files(pets.location) if name.endswith(".tar"))
    assert [files(tmp_path / "out")[name] for name in found] == [files(pets.location)[name] for name in shards]


def test_indexing_it_gives_the_same_samples(pets, tmp_path):
    shardpack.export(pets, tmp_path / "out", to="webdataset", jobs=1)
    again = shardpack.open(tmp_path / "out", index="memory")
    assert [(sample.key, dict(sample)) for sample in again] == [(sample.key, dict(sample)) for sample in pets]


def test_compressed_shards_become_plain_tars(tmp_path):
    samples = classified()
    shardpack.pack(samples.items(), tmp_path / "ds", compress={"shards": "zstd:3"})
    ds = shardpack.open(tmp_path / "ds")
    shardpack.export(ds, tmp_path / "out", to="webdataset", jobs=1)
    [tar] = members(tmp_path / "out").values()
    assert tar["cat/0000.jpg"] == samples["cat/0000"]["jpg"]


def test_fields_and_views(pets, tmp_path):
    report = shardpack.export(
        pets.select([5, 1]), tmp_path / "out", to="webdataset", fields=["jpg"], pattern="a/%d.tar", jobs=1
    )
    assert {name: list(tar) for name, tar in members(tmp_path / "out").items()} == {
        "a/0.tar": ["dog/0005.jpg", "dog/0001.jpg"]
    }
    assert report.left_out == {"json": 2}


def test_long_names(tmp_path):
    key = "/".join(["k" * 90] * 4)
    shardpack.export(dataset(tmp_path / "ds", {key: {"bin": b"1"}}), tmp_path / "out", to="webdataset", jobs=1)
    [tar] = members(tmp_path / "out").values()
    assert tar == {f"{key}.bin": b"1"}


@pytest.mark.parametrize(
    "pattern", ["a.tar", "%d", "%d-%d.tar", "%s%.tar", "%(x)d.tar", "%06d.tar.gz", "{spilt}-%d.tar", ""]
)
def test_wrong_patterns_are_refused(pets, tmp_path, pattern):
    with pytest.raises(OptionError, match="expected a name with one number"):
        shardpack.export(pets, tmp_path / "out", to="webdataset", pattern=pattern)


@pytest.mark.parametrize("pattern", ["../%d.tar", "/%d.tar"])
def test_patterns_do_not_lead_outside(pets, tmp_path, pattern):
    with pytest.raises(OptionError, match=r"pattern is '.*'; expected names of files below the folder"):
        shardpack.export(pets, tmp_path / "out", to="webdataset", pattern=pattern)


def test_labels_stay_as_they_are(pets, tmp_path):
    with pytest.raises(OptionError, match="drop does not apply"):
        shardpack.export(pets, tmp_path / "out", to="webdataset", drop=["label"])
