"""`info`, `ls`, `cat`, `bench`: what they print as text and as JSON."""

from __future__ import annotations

import gzip
import json
import shutil

import pytest

import shardpack
from tests.cli.conftest import program
from tests.edits import edited_files
from tests.edits import write as write_files
from tests.read.damage import flip
from tests.read.datasets import numbered
from tests.read.datasets import packed as files_of

KEYS = [f"{name}/{i:02d}" for name in ("dress", "hat", "t-shirt") for i in range(1, 5)]


def lines(done):
    return [json.loads(line) for line in done.out.splitlines()]


def test_info_of_encoded_images(run, images, tmp_path):
    assert run("pack", images, tmp_path / "out", "--encode", "png", "--resize", "long=8", "--jobs", 1).code == 0
    lines = dict(line.split("  ", 1) for line in run("info", tmp_path / "out").out.splitlines())
    assert "resize=long=8, encode=png" in lines["packed with"]
    assert "versions" not in lines["packed with"]
    assert "pillow " in lines["libraries"]


def test_info(run, packed):
    done = run("info", packed)
    assert (done.code, done.err) == (0, "")
    pairs = dict(line.split(maxsplit=1) for line in done.out.replace(" bytes  ", "_bytes  ").splitlines())
    assert pairs["location"] == str(packed)
    assert pairs["samples"] == "12"
    assert pairs["fields"] == "jpg 12, json 12"
    assert pairs["classes"] == "3: dress, hat, t-shirt"
    assert pairs["tar_bytes"].endswith(f"({sum(path.stat().st_size for path in packed.glob('*.tar')):,} bytes)")
    assert pairs["index_bytes"].endswith(f"({sum(path.stat().st_size for path in packed.rglob('*.index')):,} bytes)")
    assert "max_shard_bytes=65536" in done.out
    assert "shard-000000.tar" not in done.out


def test_an_earlier_generation(run, packed, tmp_path):
    folder = shutil.copytree(packed, tmp_path / "two")
    shardpack.index(folder, force=True, ignore=["*.json"])
    assert run("info", folder, "--json").json["samples_per_field"] == {"jpg": 12}
    assert run("info", folder, "--json", "--generation", "1").json["samples_per_field"] == {"jpg": 12, "json": 12}
    assert "json" in run("ls", folder, "-l", "-n", "1", "--generation", 1).out
    assert "json" in run("cat", folder, "hat/02", "--generation", 1).out
    assert "json" not in run("cat", folder, "hat/02").out
    run("extract", folder, tmp_path / "files", "--generation", 1, "--field", "json")
    assert len(list((tmp_path / "files").rglob("*.json"))) == 12
    for name in ("order", "bench"):
        assert run(name, folder, "--generation", 3).code == 2
    missing = run("info", folder, "--generation", "3")
    assert missing.code == 2
    assert "has no generation 3; the newest is generation 2, open that or an earlier one" in missing.err


def test_info_names_layers(run, packed, tmp_path):
    folder = shutil.copytree(packed, tmp_path / "ds")
    with shardpack.ShardWriter(tmp_path / "more") as writer:
        writer.write("hat/02", {"txt": "a hat"})
    shardpack.attach(folder, tmp_path / "more")
    assert "layer        txt from ../more\n" in run("info", folder).out
    found = run("info", folder, "--json").json
    assert found["layers"] == [{"location": "../more", "fields": ["txt"]}]
    assert found["samples_per_field"] == {"jpg": 12, "json": 12}


def test_info_lists_shards(run, packed):
    table = run("info", packed, "--shards").out.partition("\n\n")[2].splitlines()
    assert table[0].split() == ["shard", "samples", "bytes", "crc32c"]
    assert [line.split()[0] for line in table[1:]] == sorted(path.name for path in packed.glob("*.tar"))
    assert len({len(line) for line in table[1:]}) == 1, "columns are aligned"


def test_info_as_json(run, packed):
    ds = shardpack.open(packed)
    found = run("info", packed, "--json", "--shards").json
    assert found["num_samples"] == 12
    assert found["samples_per_field"] == {"jpg": 12, "json": 12}
    assert found["classes"] == ["dress", "hat", "t-shirt"]
    assert found["unique_keys"] is True
    assert found["fingerprint"] == ds.fingerprint
    assert [shard["name"] for shard in found["shards"]] == [info.name for info in ds.shards]
    assert found["num_bytes"] == sum(shard["num_bytes"] for shard in found["shards"])
    assert found["index_bytes"] == sum(path.stat().st_size for path in packed.rglob("*.index"))
    assert found["packed_with"]["shardpack"] == shardpack.__version__
    assert "shards" not in run("info", packed, "--json").json


def test_info_of_tars_of_others_says_that_keys_repeat(run, tmp_path):
    folder = tmp_path / "x"
    with shardpack.ShardWriter(folder) as writer:
        writer.write("a", {"txt": "1"})
    shutil.copy(folder / "shard-000000.tar", folder / "again.tar")
    shardpack.index(folder, on_duplicate="keep", force=True)
    assert "keys         some name two samples; look those up by position" in run("info", folder).out
    assert run("info", folder, "--json").json["unique_keys"] is False


def test_ls(run, packed):
    done = run("ls", packed)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == KEYS
    assert run("ls", packed, "-n", "2").out.splitlines() == KEYS[:2]
    assert run("ls", packed, "-n", "0").out == ""
    assert run("ls", packed, "--match", "hat/*").out.splitlines() == KEYS[4:8]
    assert run("ls", packed, "--match", "*/01", "--limit", "2").out.splitlines() == ["dress/01", "hat/01"]
    assert run("ls", packed, "--match", "nobody") == (0, "", "no key matches 'nobody'\n")


def test_ls_long(run, packed):
    line = run("ls", packed, "-l", "--match", "hat/02").out
    jpg, label = (len(shardpack.open(packed)["hat/02"][field]) for field in ("jpg", "json"))
    assert line == f"        5  hat/02  {_shard_of(packed, 'hat/02')}  jpg {jpg}  json {label}\n"


def _shard_of(packed, key):
    return next(entry.shard for entry in shardpack.open(packed).entries() if entry.key == key)


def test_ls_as_json_leads_to_the_bytes(run, packed):
    ds = shardpack.open(packed)
    found = lines(run("ls", packed, "--json"))
    assert [entry["key"] for entry in found] == KEYS
    for entry in found:
        assert list(entry) == ["key", "position", "shard", "fields"]
        data = (packed / entry["shard"]).read_bytes()
        for field, span in entry["fields"].items():
            payload = data[span["offset"] : span["offset"] + span["size"]]
            assert payload == ds[entry["position"]][field]
            assert len(span["crc32c"]) == 8
    assert lines(run("ls", packed, "--json", "-n", "1")) == found[:1]


@pytest.fixture
def with_splits(tmp_path):
    with shardpack.ShardWriter(tmp_path / "splits", max_shard_samples=2) as writer:
        for key, split in zip("abcdefg", ["train"] * 3 + ["val"] * 2 + [None, "train"], strict=True):
            writer.write(key, {"txt": key}, split=split)
    return tmp_path / "splits"


def test_splits_are_shown(run, with_splits, packed):
    assert "splits       train 4, val 2\n" in run("info", with_splits).out
    assert run("info", with_splits, "--json").json["splits"] == {"train": 4, "val": 2}
    assert "splits" not in run("info", packed).out
    assert run("info", packed, "--json").json["splits"] == {}


def test_the_samples_and_shards_of_a_split(run, with_splits):
    assert run("ls", with_splits, "--split", "train").out.split() == ["a", "b", "c", "g"]
    assert [line.split()[0] for line in run("ls", with_splits, "--split", "val", "-l").out.splitlines()] == ["3", "4"]
    urls = run("info", with_splits, "--urls", "--split", "train").out.splitlines()
    assert [url.rpartition("/")[2] for url in urls] == [f"train-{n:06d}.tar" for n in range(3)]
    assert run("info", with_splits, "--urls", "--split", "val", "--json").json == [str(with_splits / "val-000000.tar")]


def test_urls_of_tars_that_hold_deleted_samples_come_with_a_note(run, with_splits):
    before = run("info", with_splits, "--urls")
    assert not before.err
    shardpack.delete(with_splits, ["a"])
    after = run("info", with_splits, "--urls")
    assert (after.code, after.out) == (0, before.out)
    assert "urls name whole tars, and 1 deleted sample is still in these; pack what is visible" in after.err


def test_a_split_that_is_not_there(run, with_splits, packed):
    for command in (("ls", with_splits), ("info", with_splits, "--urls")):
        done = run(*command, "--split", "test")
        assert done.code == 2
        assert "no split 'test'; the dataset has: train, val" in done.err
    assert "has no splits" in run("ls", packed, "--split", "train").err
    assert "--split is for --urls" in run("info", with_splits, "--split", "train").err


def test_cat_prints_a_field_as_it_was_packed(packed, images):
    done = program("cat", packed, "hat/01", "jpg", text=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == (images / "hat" / "01.jpg").read_bytes()
    assert program("cat", packed, "hat/01", "json").stdout == '{"label":1,"class":"hat"}', "no line feed of its own"


def test_cat_shows_compressed_labels(run, tmp_path):
    stored = gzip.compress(b'{"label": 3}')
    with shardpack.ShardWriter(tmp_path / "out") as writer:
        writer.write("a", {"json.gz": stored})
    assert run("cat", tmp_path / "out", "a").out.splitlines()[-1].split(maxsplit=1) == ["json.gz", '{"label": 3}']
    assert run("cat", tmp_path / "out", "a", "--json").json["values"] == {"json.gz": {"label": 3}}
    assert program("cat", tmp_path / "out", "a", "json.gz", text=False).stdout == stored, "as it was packed"


def test_cat_without_a_field_shows_what_there_is(run, packed, odd):
    size = len(shardpack.open(packed)["hat/01"]["jpg"])
    assert run("cat", packed, "hat/01").out.splitlines() == [
        "key       hat/01",
        "position  4",
        f"jpg       {size:,} bytes",
        'json      {"label": 1, "class": "hat"}',
    ]
    assert run("cat", packed, "4", "--position") == run("cat", packed, "hat/01")
    assert run("cat", packed, "--position", "--", "-8") == run("cat", packed, "hat/01")
    broken = run("cat", odd, "broken")
    assert broken.code == 0
    assert "json      1 byte, damaged: does not decode" in broken.out
    assert "bin       3,000 bytes" in broken.out
    long = run("cat", odd, "long").out.splitlines()
    assert long[2].endswith(f"... ({len(shardpack.open(odd)['long']['json']):,} bytes)")
    assert len(long[2]) < 250
    assert long[3] == "meta.json  [1]" or "[1]" in long[3]
    assert '"line one\\nline two"' in run("cat", odd, "nan").out


def test_cat_as_json(run, packed, odd):
    found = run("cat", packed, "hat/01", "--json").json
    assert found["key"] == "hat/01"
    assert found["position"] == 4
    assert found["values"] == {"json": {"label": 1, "class": "hat"}}
    assert found["sizes"]["jpg"] == len(shardpack.open(packed)["hat/01"]["jpg"])
    one = run("cat", packed, "hat/01", "json", "--json").json
    assert (one["sizes"].keys(), one["values"]) == ({"json"}, found["values"])
    assert run("cat", odd, "broken", "--json").json["values"] == {"cls": None, "json": None}
    nan = run("cat", odd, "nan", "--json")
    assert nan.json["values"]["json"] == {"a": [None, None, 1]}
    assert "NaN" not in nan.out, "which is not JSON"
    assert run("cat", odd, "long", "--json").json["values"]["meta.json"] == [1]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["hat/99"], 1, "no such key: 'hat/99'; list them with \"shardpack ls\""),
        (["hat/01", "png"], 1, "no field 'png'; the dataset has: jpg, json"),
        (["12", "--position"], 1, "position 12 is out of range: the dataset has 12 samples"),
        (["hat", "--position"], 2, "not a position: 'hat'; leave out --position to look up a key"),
        (["-x"], 2, 'write "--" before a key that starts with "-"'),
    ],
)
def test_cat_of_what_is_not_there(run, packed, arguments, code, text):
    done = run("cat", packed, *arguments)
    assert (done.code, done.out) == (code, "")
    assert text in done.err
    assert done.err.count("\n") == 1


def test_cat_names_the_fields_that_a_sample_has(run, odd):
    done = run("cat", odd, "long", "txt")
    assert done.code == 1
    assert done.err == "shardpack: no field 'txt'; the sample has: json, meta.json (key='long')\n"


def test_cat_of_a_key_that_looks_like_an_option(run, odd):
    done = run("cat", odd, "--", "-x", "txt")
    assert done.code == 0
    assert "minus" in done.out


def test_cat_checks_what_it_prints(run, dataset):
    entry = next(iter(shardpack.open(dataset).entries()))
    flip(dataset / entry.shard, entry.fields["jpg"].offset + 100)
    done = run("cat", dataset, entry.key, "jpg")
    assert (done.code, done.out) == (1, "")
    assert "field 'jpg' is damaged: expected CRC32C" in done.err
    assert f"key={entry.key!r}" in done.err


def test_bench(run, packed):
    done = run("bench", packed, "--seconds", "0.02")
    assert done.code == 0
    header, *rows = done.out.splitlines()
    assert header.split() == ["samples/s", "MB/s", "us/sample"]
    assert [row[:24].strip() for row in rows] == [
        "stream, stored order",
        "stream, shards shuffled",
        "ds[i], random",
        "ds[key], random",
        "get_many(256), random",
    ]
    assert all(float(number.replace(",", "")) > 0 for row in rows for number in row[24:].split())
    assert "warm page cache, one process" in done.err
    assert run("bench", packed, "--seconds", "0.01", "--quiet").err == ""


def test_bench_as_json(run, packed):
    found = run("bench", packed, "--seconds", "0.02", "--json").json
    assert (found["location"], found["seconds"], len(found["figures"])) == (str(packed), 0.02, 5)
    for figure in found["figures"]:
        assert figure["seconds"] >= 0.02
        assert figure["samples_per_second"] == pytest.approx(figure["num_samples"] / figure["seconds"])
        assert figure["bytes_per_second"] == pytest.approx(figure["num_bytes"] / figure["seconds"])
        mean = figure["num_bytes"] / figure["num_samples"]
        assert 10_000 < mean < 20_000, "bytes are those of the samples that were read"


def test_deleted_samples_are_counted_and_not_shown(run, tmp_path):
    samples = numbered(6)
    folder = write_files(tmp_path / "ds", edited_files(files_of(samples, max_shard_samples=2), delete=[0, 3]))
    left = [key for at, key in enumerate(samples) if at not in {0, 3}]
    info = run("info", folder, "--json").json
    assert [info[name] for name in ("num_samples", "num_deleted", "generation", "num_shards")] == [4, 2, 2, 3]
    pairs = dict(line.split(maxsplit=1) for line in run("info", folder).out.splitlines())
    assert (pairs["samples"], pairs["generation"]) == ("4 (2 deleted)", "2")
    assert run("info", folder, "--json", "--generation", 1).json["num_deleted"] == 0
    assert run("ls", folder).out.split() == left
    assert [(line["position"], line["key"]) for line in lines(run("ls", folder, "--json"))] == list(enumerate(left))
    assert [line.split()[:2] for line in run("ls", folder, "-l", "-n", 2).out.splitlines()] == [
        ["0", left[0]],
        ["1", left[1]],
    ]
    cat = run("cat", folder, "--position", "2", "--json").json
    assert (cat["position"], cat["key"]) == (2, left[2])
    assert run("cat", folder, "--position", "2", "bin").out == samples[left[2]]["bin"].decode()
    assert "no such key: 'k/0003'" in run("cat", folder, "k/0003").err
    assert run("extract", folder, tmp_path / "files", "--match", "k/000[0-4]").code == 0
    assert sorted(path.name for path in (tmp_path / "files").rglob("*.json")) == [f"000{n}.json" for n in (1, 2, 4)]
    assert "k/0000" not in run("order", folder, "--json", "--batch-size", 2).out


def test_a_pattern_that_matches_nothing_is_told(run, packed, tmp_path):
    for options in ([], ["-l"], ["--json"]):
        done = run("ls", packed, "--match", "zzz*", *options)
        assert (done.code, done.out, done.err) == (0, "", "no key matches 'zzz*'\n")
    assert run("ls", packed, "--match", "hat/*", "-n", 0).err == ""
    done = run("extract", packed, tmp_path / "files", "--match", "zz*")
    assert (done.code, done.err.splitlines()[0]) == (0, "no key matches 'zz*'")
    assert run("extract", packed, tmp_path / "files", "--match", "zz*", "--quiet").err == ""
