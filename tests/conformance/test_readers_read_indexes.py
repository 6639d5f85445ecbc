"""The programs whose indexes we write read them: ratarmount, webshart, mlcroissant, Hugging Face datasets.

What DALI's, Energon's, wids' and hfutils' own tools write is recorded in tests/export/indexes/golden/.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import shardpack
from tests.conftest import make_jpeg

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


def need(package):
    """Skip without a package, or fail where SHARDPACK_REQUIRE_READERS is set."""
    if importlib.util.find_spec(package) is None:
        reason = f"{package} is not installed; tools/test --readers brings it"
        if os.environ.get("SHARDPACK_REQUIRE_READERS"):
            pytest.fail(reason + ", and SHARDPACK_REQUIRE_READERS is set", pytrace=False)
        pytest.skip(reason)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        return importlib.import_module(package)


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


def test_ratarmount_reads_no_tar(folder, capfd):
    factory = need("ratarmountcore.mountsource.factory")
    shardpack.export(shardpack.open(folder), to="ratarmount")
    found = {}
    for tar in sorted(folder.glob("*.tar")):
        with factory.open_mount_source(str(tar)) as source:
            _walk(source, "/", found)
    assert found == payloads(folder)
    assert "Creating" not in capfd.readouterr().out


def _walk(source, path, found):
    for name in source.list(path):
        info = source.lookup(f"{path}{name}")
        if info.mode & 0o040000:
            _walk(source, f"{path}{name}/", found)
        else:
            with source.open(info) as file:
                found[f"{path}{name}".lstrip("/")] = file.read()


def test_webshart(folder):
    webshart = need("webshart")
    shardpack.export(shardpack.open(folder), to="webshart")
    dataset = webshart.discover_dataset(str(folder))
    found = {}
    for number in range(dataset.num_shards):
        shard = dataset.open_shard(number)
        found.update({name: bytes(shard.read_file(at)) for at, name in enumerate(shard.filenames())})
    assert found == payloads(folder)


@pytest.mark.parametrize("hashes", [False, True])
def test_croissant(folder, hashes):
    mlcroissant = need("mlcroissant")
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
    need("datasets")
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
