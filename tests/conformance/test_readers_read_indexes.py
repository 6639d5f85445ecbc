"""The programs whose indexes we write read them: ratarmount, webshart, wids, hfutils, mlcroissant, Hugging Face.

What DALI's, Energon's, wids' and hfutils' own tools write is recorded in tests/export/indexes/golden/.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import shardpack
from tests.conftest import make_jpeg, reader

pytestmark = pytest.mark.slow
SAMPLES = {
    f"{name}/{i:04d}": {"jpg": make_jpeg(seed=i), "json": json.dumps({"label": label, "i": i}).encode()}
    for label, name in enumerate(("cat", "dog"))
    for i in range(5 * label, 5 * label + 5)
}
CARD = """
import json, sys, datasets
loaded = datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2])
for split, rows in loaded.items():
    for row in rows.cast_column("jpg", datasets.Image(decode=False)):
        print(json.dumps([split, row["__key__"], row["jpg"]["bytes"].hex(), row["json"]]))
"""


@pytest.fixture
def folder(tmp_path):
    """A dataset of two splits, and a field that only some samples have."""
    with shardpack.ShardWriter(tmp_path / "ds", max_shard_samples=4) as writer:
        for number, (key, fields) in enumerate(SAMPLES.items()):
            more = {"txt": "a caption"} if number == 1 else {}
            writer.write(key, {**fields, **more}, split="train" if number < 8 else "test")
    return tmp_path / "ds"


def payloads(folder):
    with shardpack.open(folder) as ds:
        return {f"{sample.key}.{field}": bytes(data) for sample in ds for field, data in sample.items()}


@pytest.fixture
def photos(photographs, tmp_path):
    """A folder of two hundred photographs, for indexes beside their tars."""
    shardpack.copy(photographs.location, tmp_path / "photos")
    return tmp_path / "photos"


def test_ratarmount_reads_no_tar(photos, capfd):
    factory = reader("ratarmountcore.mountsource.factory")
    shardpack.export(shardpack.open(photos), to="ratarmount")
    found = {}
    for tar in sorted(photos.glob("*.tar")):
        with factory.open_mount_source(str(tar)) as source:
            _walk(source, "/", found)
    assert found == payloads(photos)
    assert "Creating" not in capfd.readouterr().out


def test_ratarmount_reads_compressed_shards(photographs, tmp_path):
    """It needs no index of ours: the frames and the seek table are those of the seekable format."""
    factory = reader("ratarmountcore.mountsource.factory")
    reader("indexed_zstd")
    shardpack.pack(photographs, tmp_path / "out", compress={"shards": "zstd:3"}, jobs=1)
    found = {}
    for tar in sorted((tmp_path / "out").glob("*.tar.zst")):
        with factory.open_mount_source(str(tar), writeIndex=False) as source:
            _walk(source, "/", found)
    assert found == payloads(tmp_path / "out")


def _walk(source, path, found):
    for name in source.list(path):
        info = source.lookup(f"{path}{name}")
        if info.mode & 0o040000:
            _walk(source, f"{path}{name}/", found)
        else:
            with source.open(info) as file:
                found[f"{path}{name}".lstrip("/")] = file.read()


def test_webshart(photos):
    webshart = reader("webshart")
    shardpack.export(shardpack.open(photos), to="webshart")
    dataset = webshart.discover_dataset(str(photos))
    found = {}
    for number in range(dataset.num_shards):
        shard = dataset.open_shard(number)
        found.update({name: bytes(shard.read_file(at)) for at, name in enumerate(shard.filenames())})
    assert found == payloads(photos)


def test_wids(photos):
    wids = reader("wids")
    shardpack.export(shardpack.open(photos), to="wids", hashes=True)
    for split, name in ((None, "shardindex.json"), ("val", "shardindex-val.json")):
        expected = shardpack.open(photos) if split is None else shardpack.open(photos).split(split)
        index = json.loads((photos / name).read_text())
        tars = {shard["url"]: str(photos / shard["url"]) for shard in index["shardlist"]}
        found = wids.ShardListDataset(str(photos / name), localname=lambda url: url, transformations=[], keep=True)
        assert tars
        assert len(found) == len(expected)
        for one, sample in zip(found, expected, strict=True):
            assert one["__key__"] == sample.key
            assert {f".{field}": payload for field, payload in sample.items()} == {
                field: file.read() for field, file in one.items() if field.startswith(".")
            }


def test_hfutils(photos, tmp_path):
    hfutils = reader("hfutils.index")
    shardpack.export(shardpack.open(photos), to="hfutils", hashes=True)
    found = {}
    for tar in sorted(map(str, photos.glob("*.tar"))):
        hfutils.tar_create_index(tar, str(tmp_path / "theirs.json"), with_hash=True, silent=True)
        assert Path(tar).with_suffix(".json").read_bytes() == (tmp_path / "theirs.json").read_bytes()
        for name in hfutils.tar_list_files(tar):
            file = io.BytesIO()
            hfutils.tar_file_write_bytes(tar, name, file)
            found[name] = file.getvalue()
    assert found == payloads(photos)


@pytest.mark.parametrize("hashes", [False, True])
def test_croissant(folder, hashes):
    mlcroissant = reader("mlcroissant")
    shardpack.export(shardpack.open(folder), to="croissant", hashes=hashes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        described = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
        for field in ("json", "txt"):
            found = {row[f"{field}/key"].decode(): row[f"{field}/content"] for row in described.records(field)}
            expected = {name: data for name, data in payloads(folder).items() if name.endswith(field)}
            assert {f"{key}.{field}": content for key, content in found.items()} == expected
        assert sum(1 for _ in described.records("jpg")) == len(SAMPLES)
        assert [row["splits/name"] for row in described.records("splits")] == ["train", "test"]


def test_a_card_among_indexes_of_all_kinds(folder, tmp_path):
    """Without the card the other files would be taken for data, and the field of one sample would be an error."""
    reader("datasets")
    for to in ("dali", "energon", "wids", "hfutils", "ratarmount", "croissant", "hf-card"):
        shardpack.export(shardpack.open(folder), to=to)
    command = [sys.executable, "-c", CARD, str(folder), str(tmp_path / "cache")]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert [row[0] for row in rows] == ["train"] * 8 + ["test"] * 2
    expected = {key: (fields["jpg"].hex(), json.loads(fields["json"])) for key, fields in SAMPLES.items()}
    assert {key: (image, label) for _, key, image, label in rows} == expected
    assert Path(folder, "README.md").exists()
