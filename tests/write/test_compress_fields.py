"""Compressed fields: `zstd -d` opens what is in the tar, readers get values, versions that decide bytes are kept."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tarfile

import numpy as np
import pytest

import shardpack
from shardpack.codecs.zstd import zstandard, zstd_versions
from shardpack.errors import MissingDependencyError, OptionError
from shardpack.write.compress_fields import CompressFields
from shardpack.write.transform import Counts
from tests.fakes import contents

module = pytest.importorskip("zstandard", reason="zstandard is not installed")

LABEL = {"label": 3, "caption": "a red hat " * 50}
NINE = {"json": "zstd:9", "emb.npy": "zstd"}


def sample(i):
    return {"json": LABEL | {"number": i}, "emb.npy": np.full((8, 8), i, np.float32), "txt": str(i)}


def write(out, **options):
    with shardpack.ShardWriter(out, **options) as writer:
        for i in range(5):
            writer.write(f"{i}", sample(i))
    return shardpack.open(out)


def test_fields_are_stored_compressed_and_decoded(tmp_path):
    ds = write(tmp_path / "out", compress=NINE)
    assert ds.fields == ("emb.npy.zst", "json.zst", "txt")
    found = ds[2]
    assert module.ZstdDecompressor().decompress(found["json.zst"]).startswith(b'{"label":3')
    assert len(found["json.zst"]) < 100
    assert found.decode("json.zst") == sample(2)["json"]
    assert ds.decode(found)["emb.npy.zst"].tolist() == sample(2)["emb.npy"].tolist()
    assert ds[0]["txt"] == b"0"


def test_the_loader_decompresses(tmp_path):
    ds = write(tmp_path / "out", compress=NINE)
    (batch,) = ds.loader(5, decode="rgb8")
    assert [label["number"] for label in batch["json.zst"]] == list(range(5))
    assert batch["emb.npy.zst"].shape == (5, 8, 8)
    assert batch["emb.npy.zst"][:, 0, 0].tolist() == list(range(5))


def test_the_program_zstd_opens_a_member(tmp_path):
    write(tmp_path / "out", compress=NINE)
    with tarfile.open(tmp_path / "out" / "shard-000000.tar") as tar:
        (tmp_path / "1.json.zst").write_bytes(tar.extractfile("1.json.zst").read())
    try:
        done = subprocess.run(["zstd", "-dc", tmp_path / "1.json.zst"], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("the program zstd is not installed")
    assert done.stdout.startswith(b'{"label":3')


def test_bytes_are_the_same_for_values_and_payloads(tmp_path):
    write(tmp_path / "values", compress=NINE)
    samples = [(s.key, dict(s)) for s in write(tmp_path / "plain")]
    shardpack.pack(samples, tmp_path / "payloads", compress=NINE)
    assert contents(tmp_path / "payloads") == contents(tmp_path / "values")


def test_options_and_versions_are_kept(tmp_path):
    ds = write(tmp_path / "out", compress=NINE)
    options = ds.manifest.packed_with["options"]
    assert options["compress"] == {"emb.npy": "zstd:3", "json": "zstd:9"}
    assert options["versions"] == zstd_versions()
    plain = write(tmp_path / "plain").manifest.packed_with["options"]
    assert not {"compress", "versions"} & plain.keys()


def test_versions_of_encoders_are_kept_where_they_were_used(tmp_path):
    def versions(**fields):
        with shardpack.ShardWriter(tmp_path / "out", force=True) as writer:
            writer.write("a", fields)
        return shardpack.open(tmp_path / "out").manifest.packed_with["options"].get("versions", {})

    image = np.zeros((4, 4, 3), np.uint8)
    assert "pillow" in versions(png=image)
    assert versions(png=b"as it is", json={}, npy=image) == {}
    assert versions(**{"json.zst": {}}) == zstd_versions()


def test_a_sample_may_lack_the_field(tmp_path):
    with shardpack.ShardWriter(tmp_path / "out", compress={"json": "zstd"}, rename_keys=True) as writer:
        writer.write("a.b", {"txt": "x"})
        writer.write("b", {"json": 1})
    assert [sorted(sample) for sample in shardpack.open(tmp_path / "out")] == [["txt"], ["json.zst"]]


def test_a_field_that_is_there_already_is_refused_and_the_writer_goes_on(tmp_path):
    with shardpack.ShardWriter(tmp_path / "out", compress={"json": "zstd"}) as writer:
        with pytest.raises(OptionError, match=r"a sample has both 'json' and 'json\.zst'"):
            writer.write("a", {"json": {}, "json.zst": {}})
        writer.write("a", {"json": {}})
    assert len(shardpack.open(tmp_path / "out")) == 1


@pytest.mark.parametrize(
    ("compress", "says"),
    [
        ({"json": "lz4"}, "unknown compression 'lz4'"),
        ({"json": 3}, "unknown compression 3"),
        ({"json.zst": "zstd"}, "compress names 'json.zst', expected a field that is not compressed yet"),
        ({3: "zstd"}, "compress names 3"),
        ("zstd", "compress is 'zstd', expected a dict"),
    ],
)
def test_bad_options_are_refused_before_anything_is_touched(tmp_path, compress, says):
    before = contents(write(tmp_path / "out").location)
    with pytest.raises(OptionError, match=says):
        shardpack.ShardWriter(tmp_path / "out", compress=compress, force=True)
    assert contents(tmp_path / "out") == before


def test_a_missing_library_is_told_before_anything_is_touched(tmp_path, monkeypatch):
    zstandard.cache_clear()
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingDependencyError, match=r"shardpack\[zstd\]"):
        shardpack.ShardWriter(tmp_path / "out", compress={"json": "zstd"})
    assert not (tmp_path / "out").exists()


def test_folders_and_datasets_are_compressed_in_chunks(tmp_path):
    ds = write(tmp_path / "out")
    report = shardpack.pack(ds, tmp_path / "again", compress={"json": "zstd:9"})
    assert [info.name for info in shardpack.open(tmp_path / "again").shards] == ["shard-000000-00.tar"]
    assert report.samples_per_field == {"emb.npy": 5, "json.zst": 5, "txt": 5}
    assert (report.source_samples, report.source_bytes) == (5, sum(len(v) for s in ds for v in s.values()))
    stream = shardpack.pack(ds.stream(), tmp_path / "stream", compress={"json": "zstd:9"})
    assert stream.payload_bytes == report.payload_bytes < report.source_bytes
    options = shardpack.open(tmp_path / "again").manifest.packed_with["options"]
    assert (options["compress"], options["versions"]) == ({"json": "zstd:9"}, zstd_versions())
    assert "transform" not in options


def test_it_is_a_transform_that_pickles():
    step = pickle.loads(pickle.dumps(CompressFields.parse({"json": "zstd:9"})))
    ((key, fields),) = step("a", {"json": b"{}", "txt": b"x"}, Counts())
    assert (key, fields["txt"], module.ZstdDecompressor().decompress(fields["json.zst"])) == ("a", b"x", b"{}")
    assert step.describe()["fields"]["json"]["level"] == 9
