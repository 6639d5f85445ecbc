"""Labels and sizes of images are read in few requests, and never more of an image than its size takes."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image

import shardpack
from shardpack.errors import CorruptShardError
from shardpack.table import heads
from shardpack.table.heads import HEADS, FactFields, read_facts
from tests.conftest import make_jpeg
from tests.read.layered import layered
from tests.table.datasets import cache_of, positions


def facts_of(cache, *wanted):
    fields = FactFields.among(cache.manifest.fields)
    return [one for some in read_facts(cache, positions(*wanted), fields) for one in some]


def written(folder, *samples):
    with shardpack.ShardWriter(folder, max_shard_samples=3) as writer:
        for number, fields in enumerate(samples):
            writer.write(f"k{number}", fields)
    return folder


def image(kind, size=(30, 20), **options):
    file = io.BytesIO()
    Image.new("RGB", size).save(file, kind, **options)
    return file.getvalue()


def test_which_fields_are_read():
    fields = FactFields.among(
        ["a.png", "bin", "cls", "jpg", "json", "json.zst", "mask.png", "seg.png", "txt", "x.json"]
    )
    assert fields == FactFields(("cls", "json", "json.zst", "x.json"), ("jpg", "a.png"))


def test_facts_of_samples_in_several_shards(tmp_path):
    samples = [{"jpg": make_jpeg(20 + n, 9, n), "json": f"{n}".encode()} for n in range(7)]
    cache = cache_of(written(tmp_path / "ds", *samples))
    found = facts_of(cache, 0, 2, 3, 6)
    assert [one.key for one in found] == [b"k0", b"k2", b"k3", b"k6"]
    assert [(one.size.width, one.labels["json"], one.image_bytes) for one in found] == [
        (20 + n, f"{n}".encode(), len(samples[n]["jpg"])) for n in (0, 2, 3, 6)
    ]


def test_of_deleted_samples_only_keys_are_read(tmp_path):
    folder = written(tmp_path / "ds", *({"json": f"{n}".encode()} for n in range(7)))
    shardpack.delete(folder, ["k1", "k3", "k4", "k5"])
    (folder / "shard-000001.tar").unlink()  # no sample of it is visible
    found = facts_of(cache_of(folder), *range(7))
    assert [(one.key, dict(one.labels)) for one in found] == [
        (f"k{n}".encode(), {"json": f"{n}".encode()} if n in (0, 2, 6) else {}) for n in range(7)
    ]


def test_only_shards_that_are_read_are_asked_whether_all_of_them_is_deleted(tmp_path, monkeypatch):
    folder = written(tmp_path / "ds", *({"json": f"{n}".encode()} for n in range(30)))
    shardpack.delete(folder, [f"k{n}" for n in range(1, 30)])
    cache, trusted = cache_of(folder), []
    monkeypatch.setattr(cache, "trust_indexes", trusted.extend)
    facts_of(cache, 0, 2, 3)
    facts_of(cache, 4, 28, 29)
    assert trusted == [1, 1, 9]


def test_of_several_images_the_first_one(tmp_path):
    cache = cache_of(
        written(
            tmp_path / "ds",
            {"jpg": make_jpeg(20, 9), "a.png": image("PNG"), "seg.png": image("PNG")},
            {"a.png": image("PNG", (8, 9)), "seg.png": image("PNG")},
            {"seg.png": image("PNG")},
            {"txt": b"x"},
        )
    )
    assert [one.size and one.size.width for one in facts_of(cache, 0, 1, 2, 3)] == [20, 8, None, None]


def test_images_that_cannot_be_read_have_no_size(tmp_path):
    cut = make_jpeg(20, 9)[:100]
    cache = cache_of(written(tmp_path / "ds", {"jpg": b"text"}, {"jpg": b""}, {"png": cut}, {"jpg": make_jpeg()}))
    found = facts_of(cache, 0, 1, 2, 3)
    assert [one.size is None for one in found] == [True, True, True, False]
    assert [one.image_bytes for one in found][:3] == [4, 0, 100]


def late_jpeg(before):
    """Return a JPEG whose size stands behind so many bytes of comments."""
    content = make_jpeg(33, 22)
    comments = b"".join(b"\xff\xfe\xff\xff" + bytes(0xFFFD) for _ in range(before // 0xFFFF + 1))
    return content[:2] + comments + content[2:]


def test_no_more_is_read_than_tells_the_size(tmp_path):
    noise = Image.effect_noise((900, 900), 90).convert("RGB")
    file = io.BytesIO()
    noise.save(file, "PNG")
    large = file.getvalue()
    late = late_jpeg(100_000)
    tiff = image("TIFF", (40, 50))
    cache = cache_of(written(tmp_path / "ds", {"png": large}, {"jpg": late}, {"tif": tiff}))
    assert [one.size.width for one in facts_of(cache, 0)] == [900]
    used = cache.stores.stats().bytes_fetched
    assert used < 20_000 + HEADS[0]
    assert [(one.size.width, one.size.format) for one in facts_of(cache, 0, 1, 2)] == [
        (900, "PNG"),
        (33, "JPEG"),
        (40, "TIFF"),
    ]
    assert cache.stores.stats().bytes_fetched - used <= 3 * HEADS[0] + HEADS[1] + 2 * len(tiff) + len(late) + 2 * 65536


def test_what_is_long_is_read_in_parts(tmp_path, monkeypatch):
    samples = [{"jpg": make_jpeg(20 + n, 9), "json": b"[" + b" " * 5000 + b"]"} for n in range(7)]
    cache = cache_of(written(tmp_path / "ds", *samples))
    monkeypatch.setattr(heads, "_AT_ONCE_BYTES", 12_000)
    parts = list(read_facts(cache, positions(*range(7)), FactFields.among(cache.manifest.fields)))
    assert len(parts) > 2
    assert [one.size.width for part in parts for one in part] == [20 + n for n in range(7)]


def test_damaged_labels_are_told_where_payloads_are_checked(tmp_path):
    folder = written(tmp_path / "ds", *({"json": b'{"label": %d}' % number} for number in (1, 3, 5)))
    tar = folder / "shard-000000.tar"
    tar.write_bytes(tar.read_bytes().replace(b'{"label": 3}', b'{"label": 4}'))
    assert facts_of(cache_of(folder), 1)[0].labels["json"] == b'{"label": 4}'
    with pytest.raises(CorruptShardError, match="'json' is damaged"):
        facts_of(cache_of(folder, verify=True), 1)


def test_requests_are_planned(tmp_path):
    """Few requests, however many samples there are: small ones that follow one another are read together."""
    with shardpack.ShardWriter(tmp_path / "ds", max_shard_samples=50) as writer:
        for number in range(100):
            writer.write(f"{number:03d}", {"jpg": make_jpeg(), "json": b"{}"})
    cache = cache_of(tmp_path / "ds")
    cache.load([0, 1])
    before = cache.stores.stats().requests
    assert len(facts_of(cache, *range(100))) == 100
    assert cache.stores.stats().requests - before <= 8


def test_layers_replace_labels_and_images(tmp_path):
    base = {f"k{n}": {"png": image("PNG", (20 + n, 9)), "json": b'{"n": %d}' % n} for n in range(6)}
    labels = {f"k{n}": {"json": b'{"n": %d}' % (100 + n)} for n in (1, 2, 5)}
    images = {"k0": {"jpg": make_jpeg(50, 9)}, "k2": {"png": image("PNG", (60, 9)), "json": b'{"n": 7}'}}
    folder = layered(tmp_path / "ds", base, labels, images)
    for verify in (False, True):
        found = facts_of(cache_of(folder, verify=verify), 0, 1, 2, 4, 5)
        assert [json.loads(one.labels["json"])["n"] for one in found] == [0, 101, 7, 4, 105]
        assert [one.size.width for one in found] == [50, 21, 60, 24, 25]
