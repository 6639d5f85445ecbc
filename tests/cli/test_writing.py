"""`pack`, `index`, `extract`, `verify`: what they write, print and refuse."""

from __future__ import annotations

import json
import random
import re
import shutil

import numpy as np
import pytest

import shardpack
from tests.fakes import contents, write_files
from tests.format.builders import entry, judge_module
from tests.read.damage import flip
from tests.sidecars import key_index

FOUND = "class folders: 12 samples; a sample is jpg + json (label and class; 3 classes: dress, hat, t-shirt)\n"


def files_of(folder):
    return {name: data for name, data in contents(folder).items() if data is not None}


def test_pack(run, images, packed, tmp_path):
    done = run("pack", images, tmp_path / "out", "--max-shard-bytes", "64KiB", "--jobs", "2", "--threads-per-job", "2")
    assert (done.code, done.out) == (0, "")
    shards = len(list(packed.glob("*.tar")))
    assert done.err.startswith(f"{FOUND}packed 12 samples (jpg 12, json 12) into {shards} shards, ")
    assert "  payload " in done.err
    assert "layout: classes, 3 classes" in done.err
    assert done.err.endswith(
        "samples are sorted by class, so readers that shuffle locally see few classes at a time; "
        "consider --shuffle-seed 0\n"
    )
    assert files_of(tmp_path / "out") == files_of(packed)


@pytest.mark.parametrize("how", [[], ["--resize", "short=16", "--encode", "png"]], ids=["as is", "resized"])
def test_pack_in_parts(run, images, tmp_path, how):
    options = [*how, "--max-shard-samples", "3", "--jobs", "1"]
    assert run("pack", images, tmp_path / "whole", *options).code == 0
    first = run("pack", images, tmp_path / "out", "--part", "2/2", *options)
    assert (first.code, first.out) == (0, "")
    assert first.err == FOUND + (
        "this part is finished; of 4 shards, 2 are still missing: the part that finishes last publishes the dataset\n"
    )
    second = run("pack", images, tmp_path / "out", "--part", "1/2", *options)
    assert second.err.startswith(FOUND + "packed 12 samples (")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    again = run("pack", images, tmp_path / "out", "--part", "1/2", *options)
    assert again.code == 0
    assert ("already finished by an earlier run: 4 shards" in again.err) or "complete already: 12 samples" in again.err
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_pack_of_a_dataset_packs_its_samples(run, packed, tmp_path):
    done = run("pack", packed, tmp_path / "out", "--max-shard-samples", "5")
    assert done.code == 0
    assert done.err.startswith(
        f"{packed} is a dataset: 12 samples; a sample is jpg + json (3 classes: dress, hat, t-shirt)\n"
        "packed 12 samples (jpg 12, json 12)"
    )
    source, made = shardpack.open(packed), shardpack.open(tmp_path / "out")
    assert [(sample.key, dict(sample)) for sample in made] == [(sample.key, dict(sample)) for sample in source]
    assert made.classes == source.classes
    assert run("pack", packed, tmp_path / "quiet", "--quiet") == (0, "", "")
    assert run("pack", packed, tmp_path / "json", "--json").json["layout"] == "dataset"


def test_pack_of_a_dataset_as_a_folder_is_asked_for_by_its_layout(run, packed, tmp_path):
    done = run("pack", packed, tmp_path / "out", "--layout", "files")
    assert done.code == 0
    assert done.err.startswith('4 archives (to use them as they are, without a copy: "shardpack index"): images with')
    assert shardpack.open(tmp_path / "out").classes is None


def test_pack_as_json_and_quiet(run, images, tmp_path):
    done = run("pack", images, tmp_path / "a", "--json", "--shuffle-seed", "7", "--max-shard-samples", "5")
    assert (done.code, done.err) == (0, "")
    report = done.json
    assert (report["num_samples"], report["num_shards"], report["dry_run"]) == (12, 3, False)
    assert report["classes"] == ["dress", "hat", "t-shirt"]
    assert report["num_bytes"] == report["payload_bytes"] + report["overhead_bytes"]
    assert run("pack", images, tmp_path / "b", "--quiet") == (0, "", "")


def test_pack_compressed(run, images, tmp_path):
    judge_module("zstandard")
    done = run("pack", images, tmp_path / "out", "--compress", "shards=zstd:1", "--frame-bytes", "64KiB", "--json")
    assert done.code == 0
    report = done.json
    assert 0.5 < report["ratio"] < 1
    assert report["overhead_bytes"] == report["tar_bytes"] - report["payload_bytes"]
    recorded = shardpack.open(tmp_path / "out").manifest.packed_with["options"]
    assert (recorded["compress"], recorded["frame_bytes"]) == ({"shards": "zstd:1"}, 65536)
    done = run("pack", images, tmp_path / "out", "--compress", "shards=zstd", "--force")
    assert "  compressed to 8" in done.err
    assert "hardly pays" not in done.err
    assert run("verify", tmp_path / "out", "--full").code == 0
    assert run("extract", tmp_path / "out", tmp_path / "files").code == 0
    for path in images.rglob("*.jpg"):
        assert (tmp_path / "files" / path.relative_to(images)).read_bytes() == path.read_bytes()
    assert run("copy", tmp_path / "out", tmp_path / "copy").code == 0
    assert files_of(tmp_path / "copy") == files_of(tmp_path / "out")
    assert run("copy", tmp_path / "out", tmp_path / "copy", "--force").code == 0


def test_pack_says_where_compression_hardly_pays(run, tmp_path):
    judge_module("zstandard")
    write_files(tmp_path / "photos", {f"{i}": {"jpg": random.Random(i).randbytes(30_000)} for i in range(9)})
    done = run("pack", tmp_path / "photos", tmp_path / "out", "--compress", "shards=zstd")
    assert "  compressed to 9" in done.err
    assert "this hardly pays: leave out --compress" in done.err


def test_pack_of_images_that_are_resized_and_encoded(run, images, tmp_path):
    done = run("pack", images, tmp_path / "out", "--resize", "exact=16x12", "--encode", "jpg:q=5")
    assert (done.code, done.out) == (0, "")
    assert "\n  images: 12 encoded, " in done.err
    assert " images/s\n" in done.err
    assert shardpack.open(tmp_path / "out")[0].decode("jpg").size == (16, 12)
    report = run("pack", images, tmp_path / "png", "--encode", "*=webp", "--encode", "jpg=png", "--json").json
    assert report["counts"]["image.encoded"] == report["counts"]["image.grown"] == 12
    assert report["samples_per_field"] == {"json": 12, "png": 12}
    recorded = shardpack.open(tmp_path / "png").manifest.packed_with["options"]
    assert recorded["encode"] == {"*": "webp:q=85", "jpg": "png"}
    done = run("pack", images, tmp_path / "kept", "--resize", "short=999", "--keep", "json", "--first-frame")
    assert "  images: 12 small enough already, " in done.err


def test_pack_says_that_rows_of_arrays_are_not_resized(run, tmp_path):
    np.savez(tmp_path / "digits.npz", images=np.zeros((3, 8, 8), np.uint8), labels=np.arange(3))
    done = run("pack", tmp_path / "digits.npz", tmp_path / "out", "--resize", "short=4", "--encode", "jpg")
    assert "\n  no sample has an image, so --resize and --encode changed none; arrays in npy stay" in done.err
    assert shardpack.open(tmp_path / "out")[0].decode("npy").shape == (8, 8)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--compress", "zstd:3"], "is not WHAT=CODEC"),
        (["--compress", "shards=zstd", "--compress", "shards=zstd"], "each WHAT once"),
        (["--compress", "shards=gzip"], "expected zstd"),
        (["--rename-field", "json"], "is not OLD=NEW"),
        (["--fields", ""], "expected names of fields"),
        (["--sample-timeout", "3"], "sample_timeout is for payloads that change"),
        (["--sample-timeout", "0"], "0.0 is not in the range"),
        (["--frame-bytes", "1KiB"], "frame_bytes is for compressed shards"),
        (["--resize", "256"], "unknown resize '256'; expected short=N"),
        (["--encode", "gif"], "unknown codec 'gif'; choose one of jpg"),
        (["--encode", "jpg", "--encode", "png"], "each FIELD once"),
        (["--encode", "jpg="], "is not [FIELD=]CODEC"),
        (["--keep", "jpg"], "keep is for resize and encode"),
        (["--labels", "keep"], "labels is for resize and encode"),
        (["--resize", "short=9", "--labels", "drop"], "'drop' is not one of"),
    ],
)
def test_pack_refuses_options_that_mean_nothing(run, images, tmp_path, options, reason):
    done = run("pack", images, tmp_path / "out", *options)
    assert done.code in {1, 2}
    assert reason in done.err
    assert not (tmp_path / "out").exists()


def test_pack_dry_run_writes_nothing(run, images, tmp_path):
    done = run("pack", images, tmp_path / "out", "--dry-run", "--max-shard-bytes", "64KiB")
    assert done.code == 0
    assert done.err.startswith(FOUND + "would pack 12 samples")
    assert done.err.endswith('  t-shirt/04\n    jpg   12.6 KiB\n    json  29 B  {"label":2,"class":"t-shirt"}\n')
    assert not (tmp_path / "out").exists()
    report = run("pack", images, tmp_path / "out", "--dry-run", "--json").json
    assert report["dry_run"] is True
    assert report["found"] == FOUND.strip()
    assert [(sample["key"], sample["labels"]) for sample in report["preview"]] == [
        ("dress/01", {"json": '{"label":0,"class":"dress"}'}),
        ("hat/02", {"json": '{"label":1,"class":"hat"}'}),
        ("t-shirt/04", {"json": '{"label":2,"class":"t-shirt"}'}),
    ]


@pytest.mark.parametrize(
    ("size", "num_bytes"), [("65536", 65536), ("64KiB", 65536), ("0.1MB", 100_000), ("1 GB", 10**9)]
)
def test_pack_takes_sizes_as_people_write_them(run, images, tmp_path, size, num_bytes):
    run("pack", images, tmp_path / "out", "--max-shard-bytes", size)
    recorded = json.loads((tmp_path / "out" / ".shardpack/manifest.json").read_text())["packed_with"]["options"]
    assert recorded["max_shard_bytes"] == num_bytes


@pytest.mark.parametrize("check", [["--check-images"], ["--check-images", "decode"], ["--check-images=signature"]])
def test_pack_check_needs_no_value(run, images, tmp_path, check):
    source = shutil.copytree(images, tmp_path / "photos")
    assert run("pack", *check, source, tmp_path / "good").code == 0
    (source / "hat" / "01.jpg").write_bytes(b"not an image")
    done = run("pack", *check, source, tmp_path / "bad")
    assert (done.code, done.out) == (1, "")
    assert "hat/01.jpg" in done.err
    assert done.err.removeprefix(FOUND).count("\n") == 1
    assert not (tmp_path / "bad" / ".shardpack/manifest.json").exists()
    skipped = run("pack", *check, source, tmp_path / "bad", "--on-error", "skip")
    assert skipped.code == 0
    assert "skipped 1 sample (rejected.jsonl), the first: 'hat/01" in skipped.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--max-shard-bytes", "100"], (2, "max_shard_bytes")),
        (["--max-shard-bytes", "4KiB"], (1, "--allow-oversized")),
        (["--layout", "table"], (1, "metadata")),
        (["--annotations", "nowhere.json"], (1, "nowhere.json")),
    ],
)
def test_pack_says_what_is_wrong(run, images, tmp_path, options, said):
    done = run("pack", images, tmp_path / "out", *options)
    assert (done.code, done.out) == (said[0], "")
    assert done.err.removeprefix(FOUND).count("\n") == 1
    assert said[1] in done.err
    assert not (tmp_path / "out" / ".shardpack/manifest.json").exists()


def test_pack_says_what_is_left_out_before_it_packs(run, images, tmp_path):
    source = shutil.copytree(images, tmp_path / "photos")
    (source / "notes.md").write_text("x")
    (source / "labels.csv").write_text("x")
    done = run("pack", source, tmp_path / "out")
    assert (done.code, done.out) == (1, "")
    assert "'labels.csv'; use them (--table labels.csv), or pack without them (--ignore labels.csv;" in done.err
    assert not (tmp_path / "out").exists()
    done = run("pack", source, tmp_path / "out", "--ignore", "*.csv")
    assert done.err.startswith(FOUND + "left out 2 files: 'labels.csv', 'notes.md'\npacked 12 samples")
    done = run("pack", source, tmp_path / "new", "--ignore", "*.csv", "--ignore", "nothing/", "--ignore", "*.zzz")
    assert "\nno file matches 'nothing/', '*.zzz'\npacked 12 samples" in done.err
    assert "ignore has the pattern ''" in run("pack", source, tmp_path / "third", "--ignore", "").err


def test_pack_refuses_to_overwrite(run, images, dataset):
    before = contents(dataset)
    done = run("pack", images, dataset)
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith(
        'already holds a dataset; add to it with "shardpack append", choose another folder, or pass force=True '
        "(--force), which deletes its 12 samples\n"
    )
    assert contents(dataset) == before
    assert run("pack", images, dataset, "--force").code == 0


def test_index(run, packed, tmp_path):
    for path in packed.glob("*.tar"):
        shutil.copy(path, tmp_path)
    done = run("index", tmp_path / "*.tar")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("indexed 12 samples (jpg 12, json 12) in ")
    assert done.err.endswith(f": {tmp_path}\n")
    again = run("index", tmp_path)
    assert (again.code, again.out) == (1, "")
    assert again.err.endswith(
        "already holds .shardpack/manifest.json; pass force=True (--force) to index its tars again\n"
    )
    assert run("index", tmp_path, "--force", "--quiet") == (0, "", "")
    report = run("index", *sorted(tmp_path.glob("*.tar")), "--force", "--json", "-j", "1").json
    assert (report["num_samples"], report["repeated"], report["ignored"]) == (12, [], {})
    assert run("verify", tmp_path, "--full").code == 0


def test_a_tar_that_is_indexed_anew_is_said_to_be_written_again(run, packed, tmp_path):
    folder = shutil.copytree(packed, tmp_path / "ds")
    with (folder / "shard-000000.tar").open("ab") as tar:
        tar.write(bytes(512))
    assert run("index", folder, "--force").code == 0
    assert run("log", folder).out.splitlines()[0].endswith("  tars that were written again")
    assert "tars at" not in run("info", folder).out


def test_index_says_that_a_label_table_is_dropped(run, packed, tmp_path):
    folder = shutil.copytree(packed, tmp_path / "ds")
    assert run("table", folder).code == 0
    assert "label table" not in run("index", folder, "--force").err
    (folder / "x.tar").write_bytes(entry(b"new.jpg", b"1") + bytes(1024))
    said = f'  the label table is not that of these tars, and dropped; anew: "shardpack table {folder}"\n'
    assert said in run("index", folder, "--force").err
    assert run("index", folder, "--force", "--json").json["table_dropped"] is False


def test_index_tells_what_it_ignored(run, tmp_path):
    data = b"".join(entry(b"a/%s%d.jpg" % (dot, i), b"1") for i in range(1200) for dot in (b"._", b""))
    (tmp_path / "x.tar").write_bytes(data + entry(b"README", b"1") + bytes(1024))
    done = run("index", tmp_path)
    assert "\n  ignored 1,200 members: ._* (AppleDouble)\n  1 file not part of any sample" in done.err
    done = run("index", tmp_path, "--force", "--ignore", "._*", "--ignore", "*9.jpg", "--ignore", "*.txt", "--json")
    assert (done.json["ignored"], done.json["without_key"]) == ({"*9.jpg": 120, "._*": 1200}, 1)
    assert (
        "  ignored no member: *.txt\n" in run("index", tmp_path, "--force", "--ignore", "._*", "--ignore", "*.txt").err
    )
    assert run("index", tmp_path, "--force", "--ignore", "").err.endswith("expected patterns such as '._*'\n")


def test_index_of_keys_that_come_back(run, packed, tmp_path):
    shutil.copy(packed / "shard-000000.tar", tmp_path / "a.tar")
    shutil.copy(packed / "shard-000000.tar", tmp_path / "b.tar")
    done = run("index", tmp_path)
    assert (done.code, done.out) == (1, "")
    assert "'dress/01' in 'b.tar' at 0, after 'a.tar' at 0" in done.err
    assert "--on-duplicate keep" in done.err
    kept = run("index", tmp_path, "--on-duplicate", "keep")
    assert kept.code == 0
    assert "  key names two samples: 'dress/01' in 'b.tar' at 0, after 'a.tar' at 0\n" in kept.err
    report = run("index", tmp_path, "--on-duplicate", "keep", "--force", "--json").json
    assert report["repeated"][0] == {
        "key": "dress/01",
        "shard": "b.tar",
        "offset": 0,
        "first_shard": "a.tar",
        "first_offset": 0,
    }


def test_index_notes_tars_that_changed(run, dataset):
    shutil.copy(dataset / "shard-000001.tar", dataset / "shard-000000.tar")
    done = run("index", dataset, "--force", "--on-duplicate", "keep")
    assert done.code == 0
    assert "  1 tar changed since the previous manifest: shard-000000.tar\n" in done.err


def test_extract(run, packed, images, tmp_path):
    done = run("extract", packed, tmp_path / "out")
    assert (done.code, done.out) == (0, "")
    assert done.err == f"extracted 12 samples, 24 files to {tmp_path / 'out'}\n"
    found = files_of(tmp_path / "out")
    assert {name: data for name, data in found.items() if name.endswith(".jpg")} == files_of(images)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--match", "hat/*", "--field", "json"], [f"hat/{i:02d}.json" for i in range(1, 5)]),
        (["--key", "hat/01", "--key", "dress/02"], ["dress/02.jpg", "dress/02.json", "hat/01.jpg", "hat/01.json"]),
        (["--key", "hat/01", "--match", "hat/0[12]", "--field", "jpg"], ["hat/01.jpg", "hat/02.jpg"]),
        (["--match", "nobody"], []),
    ],
)
def test_extract_some(run, packed, tmp_path, options, expected):
    planned = run("extract", packed, tmp_path / "out", *options, "--dry-run", "--json").json
    assert not (tmp_path / "out").exists()
    done = run("extract", packed, tmp_path / "out", *options, "--json")
    assert (done.code, done.err) == (0, "" if expected else "no key matches 'nobody'\n")
    assert sorted(files_of(tmp_path / "out")) == expected
    assert done.json == {**planned, "dry_run": False}
    assert done.json["num_files"] == len(expected)


def test_extract_refusals(run, packed, tmp_path):
    run("extract", packed, tmp_path / "out")
    done = run("extract", packed, tmp_path / "out")
    assert (done.code, done.out) == (1, "")
    assert "dress/01.jpg'; choose an empty folder, or pass force=True (--force)" in done.err
    assert run("extract", packed, tmp_path / "out", "--force", "-q") == (0, "", "")
    for options in (["--key", "nobody"], ["--field", "png"], ["--field", "png", "--dry-run"]):
        refused = run("extract", packed, tmp_path / "other", *options)
        assert refused.code == 1
        assert not (tmp_path / "other").exists()


def test_extract_unescape(run, tmp_path):
    with shardpack.ShardWriter(tmp_path / "ds", rename_keys=True) as writer:
        writer.write("v1.0 final/a.b", {"txt": "x"})
    run("extract", tmp_path / "ds", tmp_path / "as-packed")
    run("extract", tmp_path / "ds", tmp_path / "as-it-was", "--unescape")
    assert list(files_of(tmp_path / "as-packed")) == ["v1.0%20final/a%2Eb.txt"]
    assert list(files_of(tmp_path / "as-it-was")) == ["v1.0 final/a.b.txt"]


@pytest.mark.parametrize("how", [[], ["--full"], ["--full", "--jobs", "2"]])
def test_verify_of_a_good_dataset(run, packed, how):
    done = run("verify", packed, *how)
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("ok: 12 samples in ")
    assert run("verify", packed, *how, "--quiet") == (0, "", "")
    report = run("verify", packed, *how, "--json").json
    assert (report["ok"], report["problems"], report["full"]) == (True, [], "--full" in how)


def test_verify_of_a_damaged_dataset(run, dataset):
    entry = next(iter(shardpack.open(dataset).entries()))
    flip(dataset / entry.shard, entry.fields["json"].offset)
    (keys := key_index(dataset)).unlink()
    (dataset / "shard-000099.tar").write_bytes(b"")
    quick = run("verify", dataset)
    assert quick.code == 1
    assert [line.split(":")[:2] for line in quick.out.splitlines()] == [
        ["missing", f" {keys.relative_to(dataset)}"],
        ["stray", " shard-000099.tar"],
    ]
    assert quick.err.startswith("2 problems: 12 samples in ")
    full = run("verify", dataset, "--full", "--quiet")
    assert (full.code, full.err) == (1, "")
    first = full.out.splitlines()[0]
    assert first.startswith(
        f"damaged: {entry.shard}, key 'dress/01', offset {entry.fields['json'].offset}: field 'json'"
    )
    report = run("verify", dataset, "--full", "--json").json
    assert report["ok"] is False
    assert report["problems"][0]["key"] == "dress/01"
    assert report["problems"][0]["offset"] == entry.fields["json"].offset
    assert [problem["kind"] for problem in report["problems"]] == ["damaged", "missing", "stray"]


def test_verify_compares_with_the_source_and_decodes(run, dataset, tmp_path):
    assert run("verify", dataset, "--source", dataset, "--images", "--quiet").code in (0, 1)
    shardpack.pack(shardpack.open(dataset).select(range(3)), tmp_path / "few", jobs=1)
    report = run("verify", tmp_path / "few", "--source", dataset, "--json")
    assert report.code == 1
    assert {(problem["kind"], problem["command"]) for problem in report.json["problems"]} == {("absent", "append")}


def test_verify_with_a_damaged_manifest(run, dataset):
    (dataset / ".shardpack/manifest.json").write_text("{")
    done = run("verify", dataset)
    assert done.code == 1
    assert done.out.startswith("damaged: .shardpack/manifest.json: ")
    assert '"shardpack repair" makes it again' in done.out


def test_pack_says_what_became_of_samples_and_bytes(run, images, tmp_path):
    judge_module("zstandard")
    done = run("pack", images, tmp_path / "out", "--compress", "json=zstd:9", "--jobs", "1")
    assert done.code == 0, done.err
    assert re.search(r"in [0-9.]+ s \([0-9,]+ samples/s, ", done.err)
    assert re.search(r"  of 12 samples 12 kept, 0 dropped; payload .* -> .* \([0-9.]+ %\)", done.err)
    assert run("info", tmp_path / "out", "--urls").out.endswith("shard-000000-00.tar\n")
    report = run("pack", images, tmp_path / "again", "--compress", "json=zstd:9", "--json").json
    assert (report["source_samples"], report["kept"], report["dropped"]) == (12, 12, 0)
    assert report["samples_per_second"] > 0
    assert run("info", tmp_path / "again", "--urls", "--json").json == [str(tmp_path / "again/shard-000000-00.tar")]
    assert report["source_bytes"] != report["payload_bytes"]


def test_pack_selects_and_renames_fields(run, images, tmp_path):
    options = ("--fields", "jpg, json", "--rename-field", "json=label.json", "--rename-field", "jpg=image.jpg")
    assert run("pack", images, tmp_path / "out", *options).code == 0
    assert run("info", tmp_path / "out", "--json").json["samples_per_field"] == {"image.jpg": 12, "label.json": 12}
    assert run("info", tmp_path / "out", "--urls").out.endswith("shard-000000.tar\n")
    assert run("pack", tmp_path / "out", tmp_path / "again", "--fields", "label.json").code == 0
    assert run("info", tmp_path / "again", "--json").json["samples_per_field"] == {"label.json": 12}
    done = run("pack", images, tmp_path / "other", "--fields", "jpg,nothing")
    assert (done.code, "no sample has a field 'nothing'; the fields are" in done.err) == (2, True)


def test_export(run, packed, tmp_path):
    done = run("export", packed, tmp_path / "out", "--to", "folder", "--jobs", "1")
    assert (done.code, done.out) == (0, "")
    said, exported = done.err.splitlines()
    assert said == "folder: images in the folders of 3 classes, labels (json) in metadata.csv"
    assert re.fullmatch(r"exported 12 samples, .* KiB, to .*/out as folder: 14 files in .* s", exported)
    done = run("export", packed, tmp_path / "out", "--to", "folder")
    assert done.code == 1
    assert "choose an empty folder, or pass force=True (--force)" in done.err
    done = run("export", packed, tmp_path / "out", "--to", "folder", "--force", "--fields", "jpg", "--flat", "--json")
    assert (done.json["num_samples"], done.json["left_out"]) == (12, {"json": 12})
    assert (done.json["to"], done.json["splits"], done.json["dry_run"]) == ("folder", [], False)
    done = run("export", packed, tmp_path / "two", "--to", "folder", "--fields", "jpg", "--flat", "--dry-run")
    assert done.err.startswith("folder: images by key, labels (none) in metadata.csv; left out: json of 12 samples\n")
    assert "would export 12 samples" in done.err
    assert "  left out: json 12\n" in done.err
    assert not (tmp_path / "two").exists()


def test_export_says_what_is_wrong(run, packed, tmp_path):
    assert run("export", packed, tmp_path / "out", "--to", "paper").code == 2
    assert run("export", packed, tmp_path / "out").code == 2
    done = run("export", packed, "--to", "folder")
    assert (done.code, done.err) == (2, "shardpack: folder is written to a folder: name it, OUT\n")
    done = run("export", packed, tmp_path / "out", "--to", "folder", "--task", "pose")
    assert (done.code, done.err) == (2, "shardpack: task does not apply to folder; leave it out\n")


def test_pack_says_the_splits_and_packs_one(run, images, tmp_path):
    for split in ("train", "val"):
        shutil.copytree(images, tmp_path / "photos" / split)
    done = run("pack", tmp_path / "photos", tmp_path / "out", "--jobs", 1)
    assert done.code == 0
    assert "splits: train 12, val 12" in done.err
    done = run("pack", tmp_path / "photos", tmp_path / "one", "--jobs", 1, "--split", "val")
    assert (done.code, "splits:" in done.err) == (0, False)
    assert len(shardpack.open(tmp_path / "one")) == 12
    done = run("pack", tmp_path / "photos", tmp_path / "none", "--split", "test")
    assert done.code == 2
    assert "no split 'test'; choose one of 'train', 'val'" in done.err
