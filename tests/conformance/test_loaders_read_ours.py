"""Hugging Face datasets and Ray Data read our folders by their names alone: packed ones, and tars indexed in place.

Both list the folder that they are given and take what they find for data; they pass over `.shardpack/`.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest

import shardpack
from tests.conftest import make_jpeg

pytestmark = pytest.mark.slow
SCRIPTS = Path(__file__).parent / "loaders"
SAMPLES = {
    f"{name}/{i:04d}": {"jpg": make_jpeg(seed=i), "json": json.dumps({"label": label, "i": i}).encode()}
    for label, name in enumerate(("cat", "dog"))
    for i in range(5 * label, 5 * label + 5)
}
SPLITS = {"train": list(SAMPLES)[:5], "validation": list(SAMPLES)[5:8], "test": list(SAMPLES)[8:]}
HUGGING_FACE = [f"{how}, streaming={streaming}" for how in ("folder", "data_dir") for streaming in (False, True)]


def write_tars(folder: Path, per_tar: int) -> None:
    """Write the samples as somebody's own tool would."""
    folder.mkdir()
    keys = list(SAMPLES)
    for number, first in enumerate(range(0, len(keys), per_tar)):
        with tarfile.open(folder / f"part-{number}.tar", "w") as archive:
            for key in keys[first : first + per_tar]:
                for field, payload in SAMPLES[key].items():
                    info = tarfile.TarInfo(f"{key}.{field}")
                    info.size = len(payload)
                    archive.addfile(info, io.BytesIO(payload))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of ours by name: packed and indexed, of one shard and of several."""
    base = tmp_path_factory.mktemp("ours")
    for name, per_shard in (("one", 100), ("several", 4)):
        with shardpack.ShardWriter(base / f"packed-{name}", max_shard_samples=per_shard) as writer:
            for key, fields in SAMPLES.items():
                writer.write(key, fields)
        write_tars(base / f"indexed-{name}", per_shard)
        shardpack.index(base / f"indexed-{name}")
    with shardpack.ShardWriter(base / "packed-splits", max_shard_samples=2) as writer:
        for split, keys in SPLITS.items():
            for key in keys:
                writer.write(key, SAMPLES[key], split=split)
    return {path.name: path for path in sorted(base.iterdir())}


def run(package, script, scratch, folders):
    """Return what a loader found: {(folder's name, how): {key: fields}}."""
    if importlib.util.find_spec(package) is None:
        reason = f"{package} is not installed; tools/test --readers brings it"
        if os.environ.get("SHARDPACK_REQUIRE_READERS"):
            pytest.fail(reason + ", and SHARDPACK_REQUIRE_READERS is set", pytrace=False)
        pytest.skip(reason)
    command = [sys.executable, SCRIPTS / script, scratch, *folders.values()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[tuple[str, str], dict[str, dict[str, object]]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            row = json.loads(line)
            samples = found.setdefault((Path(row["folder"]).name, row["how"]), {})
            assert row["key"] not in samples, "a sample twice"
            tells = "split" in row and (row["split"] != "train" or "splits" in row["folder"])  # Ray knows none
            split = {"split": row["split"]} if tells else {}
            samples[row["key"]] = {"jpg": bytes.fromhex(row["jpg"]), "json": row["json"], **split}
    return found


@pytest.fixture(scope="module")
def hugging_face(folders, tmp_path_factory):
    return run("datasets", "huggingface.py", tmp_path_factory.mktemp("cache"), folders)


@pytest.fixture(scope="module")
def ray_data(folders):
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as scratch:  # short: it holds sockets
        yield run("ray", "ray_data.py", scratch, folders)


EXPECTED = {key: {"jpg": fields["jpg"], "json": json.loads(fields["json"])} for key, fields in SAMPLES.items()}
every_folder = pytest.mark.parametrize("name", ["indexed-one", "indexed-several", "packed-one", "packed-several"])


@every_folder
@pytest.mark.parametrize("how", HUGGING_FACE)
def test_hugging_face_datasets(hugging_face, name, how):
    assert hugging_face[name, how] == EXPECTED
    assert list(hugging_face[name, how]) == list(EXPECTED), "in our order"


@pytest.mark.parametrize("how", HUGGING_FACE)
def test_hugging_face_datasets_shows_our_splits(hugging_face, folders, how):
    split_of = {key: split for split, keys in SPLITS.items() for key in keys}
    assert hugging_face["packed-splits", how] == {key: {**EXPECTED[key], "split": split_of[key]} for key in EXPECTED}
    ds = shardpack.open(folders["packed-splits"])
    assert {name: list(ds.split(name).keys()) for name in ds.splits} == SPLITS


@every_folder
def test_ray_data(ray_data, name):
    assert ray_data[name, "read_webdataset"] == EXPECTED


@every_folder
def test_the_folder_is_a_dataset_of_ours(folders, name):
    ds = shardpack.open(folders[name])
    assert {sample.key: dict(sample) for sample in ds} == SAMPLES
    assert {path.suffix for path in folders[name].iterdir() if not path.name.startswith(".")} == {".tar"}
