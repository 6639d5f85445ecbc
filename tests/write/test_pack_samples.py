"""Packing iterables: accepted items, refused options, and progress."""

from __future__ import annotations

import numpy as np
import pytest

import shardpack
from shardpack.errors import OptionError, SourceError
from tests.fakes import contents

SAMPLES = [(f"{i:04d}", {"bin": bytes(100)}) for i in range(600)]


def test_progress_is_told(tmp_path):
    calls = []
    report = shardpack.pack(SAMPLES, tmp_path / "out", progress=lambda *call: calls.append(call))
    assert calls == [("pack", 25_600, 0), ("pack", 51_200, 0), ("pack", 60_000, 0)]
    assert (report.num_samples, report.payload_bytes, report.out) == (600, 60_000, str(tmp_path / "out"))


def upper(fields):
    """Transform: drop every fifth sample, make two of every seventh, fail for one, and encode a value."""
    number = int(fields["__key__"])
    if number == 33:
        raise ValueError("bad sample")
    if number % 5 == 0:
        return None
    made = {"txt": fields["txt"].upper(), "json": {"seed": fields["__seed__"]}}
    return [made, made] if number % 7 == 0 else made


TEXTS = [(f"{i:04d}", {"txt": f"text {i}".encode()}) for i in range(200)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_jobs_change_no_byte(tmp_path, jobs):
    options = {"transform": upper, "on_error": "skip", "max_shard_samples": 50, "rename_field": {"txt": "x.txt"}}
    report = shardpack.pack(iter(TEXTS), tmp_path / "out", jobs=jobs, **options)
    assert (report.source_samples, report.dropped, report.num_shards) == (200, 40, 4)
    assert report.rejected == (("0033", "transform raised ValueError: bad sample"),)
    assert report.num_samples == 200 - 40 - 1 + sum(i % 7 == 0 and i % 5 > 0 for i in range(200))
    assert report.counts == {"encoded.json": 182}
    assert report.kept == 159
    assert report.source_bytes == sum(len(fields["txt"]) for _, fields in TEXTS)
    shardpack.pack(TEXTS, tmp_path / "same", jobs=3 - jobs, **options)
    assert contents(tmp_path / "same") == contents(tmp_path / "out")
    ds = shardpack.open(tmp_path / "out")
    assert ds["0007-1"]["x.txt"] == b"TEXT 7"
    assert [info.name for info in ds.shards] == [f"shard-{i:06d}.tar" for i in range(4)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failure_names_the_sample(tmp_path, jobs):
    with pytest.raises(SourceError, match=r"transform raised ValueError: bad sample; .*key='0033'"):
        shardpack.pack(TEXTS, tmp_path / "out", transform=upper, jobs=jobs)
    with pytest.raises(shardpack.ShardpackError):
        shardpack.open(tmp_path / "out")


def test_jobs_encode_values_as_this_process_does(tmp_path):
    """Also where the iterable fills the same memory again, or yields views."""
    array = np.zeros(4, np.int64)

    def samples():
        for i in range(150):
            array[:] = i
            yield f"{i}", {"npy": array, "json": {"i": i}, "bin": memoryview(b"%d" % i)}

    for jobs, name in [(1, "one"), (2, "two")]:
        shardpack.pack(samples(), tmp_path / name, jobs=jobs, threads_per_job=1 if jobs > 1 else None)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    assert shardpack.open(tmp_path / "two")["149"].decode("npy").tolist() == [149] * 4


def test_a_stream_a_view_and_a_mix_pass_through_a_transform(tmp_path):
    shardpack.pack(TEXTS, tmp_path / "source")
    ds = shardpack.open(tmp_path / "source")

    def mark(fields):
        return {"txt": fields["txt"] + b"!"}

    for number, source in enumerate([ds, ds.select(range(0, 200, 2)), ds.stream(), shardpack.mix({ds: 1.0})]):
        out = tmp_path / f"out{number}"
        shardpack.pack(source, out, transform=mark, jobs=2)
        assert all(sample["txt"] == ds[sample.key]["txt"] + b"!" for sample in shardpack.open(out))
    assert len(shardpack.open(tmp_path / "out1")) == 100


def test_samples_that_cannot_be_stored_are_skipped_if_asked_for(tmp_path):
    items = [("a", {"txt": "x"}), ("b.c", {"txt": "x"}), ("d", {"jpg": 3}), ("e", {"bin": bytes(5000)})]
    report = shardpack.pack(items, tmp_path / "out", on_error="skip", max_shard_bytes=4096)
    assert [name for name, _ in report.rejected] == ["b.c", "d", "e"]
    assert shardpack.open(tmp_path / "out").keys() is not None
    assert len((tmp_path / "out/.shardpack/rejected.jsonl").read_text().splitlines()) == 3
    renamed = shardpack.pack(items, tmp_path / "renamed", on_error="skip", rename_keys=True)
    assert [name for name, _ in renamed.rejected] == ["d"]


def test_options_that_need_a_list_are_refused(tmp_path):
    with pytest.raises(OptionError, match="shuffle_seed is not for an iterable"):
        shardpack.pack(TEXTS, tmp_path / "out", shuffle_seed=3)


def test_classes_are_kept(tmp_path):
    report = shardpack.pack(SAMPLES[:3], tmp_path / "out", classes=["a", "b"])
    assert report.classes == shardpack.open(tmp_path / "out").classes == ("a", "b")


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([("a", {"bin": b""}), "b"], "item 1 of the iterable is a str, expected"),
        ([{"bin": b""}], "item 0 of the iterable is a dict"),
        ([("a", {"bin": b""}, 3)], "item 0 of the iterable is a tuple"),
    ],
)
def test_items_that_are_not_samples_are_named(tmp_path, items, says):
    with pytest.raises(OptionError, match=says):
        shardpack.pack(items, tmp_path / "out")
    with pytest.raises(shardpack.ShardpackError):
        shardpack.open(tmp_path / "out")


@pytest.mark.parametrize("mixed", [False, True])
def test_a_stream_is_not_packed_over_its_own_tars(tmp_path, mixed):
    shardpack.pack([("a", {"txt": "1"}), ("b", {"txt": "2"})], tmp_path)
    ds = shardpack.open(tmp_path)
    stream = shardpack.mix({ds: 1}) if mixed else ds.stream()
    with pytest.raises(OptionError, match="source and target are the same"):
        shardpack.pack(stream, tmp_path, force=True)
    assert shardpack.open(tmp_path)["b"]["txt"] == b"2"


@pytest.mark.parametrize("compress", [["shards"], 0, "zstd:3", 5, {"shards": None}])
def test_a_compress_that_is_not_understood_is_refused(tmp_path, compress):
    with pytest.raises(OptionError, match=r"compress is .*; expected a mapping|unknown compression None"):
        shardpack.pack([("a", {"txt": "1"})], tmp_path / "out", compress=compress)
    assert not (tmp_path / "out").exists()
