"""`advise`: its table and JSON, its command, and its refusals."""

from __future__ import annotations

import shlex

import pytest
from PIL import Image

import shardpack
from tests.inspect.test_encoding_trial import photo

FAST = ("--samples", 2, "--seconds", 0, "--train-size", 32, "--jobs", 1, "--disk", "1GB/s")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(4):
        path = folder / "in" / "cat" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(200 + number, 260)[1])
    return folder


def test_the_advice_can_be_typed(run, photos):
    done = run("advise", photos / "in", *FAST, "--network", "1Mbit")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].startswith("2 images of 4 tried, decoded to 32 x 32")
    (recommended,) = [line for line in lines if line.startswith("recommended: ")]
    assert "from a bucket an epoch takes" in recommended
    (typed,) = [shlex.split(line) for line in lines if "shardpack pack" in line]
    assert typed[:3] == ["shardpack", "pack", str(photos / "in")]
    out = photos / "out"
    assert run(*[out if word == "OUT" else word for word in typed[1:]], "--jobs", 1).code == 0
    assert len(shardpack.open(out)) == 4
    assert "disk 1 GB/s (given); network 125 kB/s (given); GPU never waited for (not given)" in done.err


def test_rows_of_a_foreign_format(run, photos):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    images = [{"bytes": photo(200 + number, 260)[1], "path": None} for number in range(3)]
    pq.write_table(pa.table({"image": images, "label": [0, 1, 0]}), path := photos / "rows.parquet")
    found = run("advise", path, *FAST, "--json").json
    assert (found["num_images"], found["num_tried"]) == (3, 2)
    assert run("advise", path, *FAST, "--from", "parquet").out.count(f"shardpack pack {path} OUT --from parquet ") == 1
    (rows := photos / "rows").mkdir()
    path.rename(rows / "rows.parquet")
    (rows / "labels.csv").write_text("name,label\na,1\n")  # nothing is lost by trying: it is no question yet
    assert run("advise", rows, *FAST, "--json").json["num_images"] == 3


def test_json_of_a_dataset(run, photos):
    shardpack.pack(photos / "in", photos / "as-is", jobs=1)
    found = run("advise", photos / "as-is", *FAST, "--gpu-images-per-second", 5, "--json").json
    assert (found["location"], found["place"], found["num_images"]) == (str(photos / "as-is"), "disk", 4)
    assert found["hardware"] == {"disk": 1e9, "network": 125e6, "gpu_images": 5}
    assert found["origins"]["network"] == "125 MB/s (not measured, assumed)"
    as_is = found["encodings"][0]
    assert (as_is["name"], as_is["psnr"], as_is["epochs"]["memory"]) == (
        "as is",
        None,
        {"seconds": pytest.approx(4 / 5), "bottleneck": "GPU"},
    )
    assert found["command"].startswith("shardpack pack ")
    assert {"reason", "recommended", "pack_seconds", "upload_seconds", "max_shard_bytes", "overhead"} <= found.keys()


def test_a_plot(run, photos):
    path = photos / "plot.png"
    assert run("advise", photos / "in", *FAST, "--plot", path).code == 0
    with Image.open(path) as image:
        assert image.format == "PNG"
    done = run("advise", photos / "in", *FAST, "--plot", path)
    assert done.code == 1
    assert "--force" in done.err
    done = run("advise", photos / "in", *FAST, "--plot", path.with_suffix(".jpg"))
    assert done.code == 2
    assert "--plot draws a PNG" in done.err


def test_wrong_arguments(run, photos, tmp_path):
    done = run("advise", photos / "in", "--network", "fast")
    assert done.code == 2
    assert "write it like 2GB/s" in done.err
    (tmp_path / "a.txt").write_text("x")
    assert "no images" in run("advise", tmp_path, *FAST).err
    assert run("advise", tmp_path / "nowhere", *FAST).code == 1
