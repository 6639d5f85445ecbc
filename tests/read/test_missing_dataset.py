"""Every function that needs a dataset explains a missing one in the same words."""

from __future__ import annotations

import pytest

import shardpack
from shardpack.errors import DatasetNotFoundError
from shardpack.read.missing_dataset import missing_dataset


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere", "no such folder: .*; check the path"),
        ("file", r"not a folder: .*; open the folder that holds .shardpack/manifest.json$"),
        ("x.tar", 'not a folder: .*, or index the tar with "shardpack index"'),
        ("empty", 'no dataset in .*: it has no .shardpack/manifest.json; make one with "shardpack pack"'),
        ("unfinished", "is unfinished; run the same pack command again: it continues where it stopped"),
        ("shards", r"holds 1 shard\(s\), but .* are missing, .*sidecars="),
        ("tars", r'holds 1 tar\(s\) without an index; .*index="memory"'),
    ],
)
def test_every_reader_explains_it(tmp_path, name, says):
    for file in ("file", "x.tar"):
        (tmp_path / file).write_text("")
    for folder in ("empty", "shards", "tars", "unfinished/.shardpack/tmp"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "shards" / "shard-000000.tar").write_text("")
    (tmp_path / "tars" / "a.tar").write_text("")
    path = str(tmp_path / name)
    expected = str(missing_dataset(path))
    for read in (shardpack.open, shardpack.verify, lambda source: shardpack.copy(source, tmp_path / "target")):
        with pytest.raises(DatasetNotFoundError, match=says) as caught:
            read(path)
        assert str(caught.value) == expected
    assert not (tmp_path / "target").exists()


def test_compressed_tars_are_named_as_they_are(tmp_path):
    (tmp_path / "shard-000000.tar.zst").touch()
    message = str(missing_dataset(str(tmp_path)))
    assert message.endswith(f'"shardpack index {tmp_path / "*.tar.zst"}"')
    (tmp_path / "mine.tar").touch()
    assert f'"shardpack index {tmp_path / "*.tar"}"' in str(missing_dataset(str(tmp_path)))
