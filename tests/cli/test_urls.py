"""Every command takes URLs; options of a store are passed with --storage-option, and never printed."""

from __future__ import annotations

import itertools

import click
import pytest

import shardpack
from shardpack.cli import ui
from shardpack.storage.open import open_store
from tests.conftest import IMAGES
from tests.fakes import contents, file_contents
from tests.read.datasets import packed as packed_objects
from tests.read.test_round_trips import WaveStore

_numbers = itertools.count()


@pytest.fixture
def url():
    """An empty place in memory."""
    return f"memory://cli-{next(_numbers)}"


@pytest.fixture
def filled(packed, url):
    """The images as a dataset at a URL."""
    shardpack.copy(packed, url)
    return url


def objects(url, options=None):
    store = open_store(url, options)
    return {name: bytes(store.get(name)) for name in store.names()}


def test_pack_from_a_url(run, filled, packed, tmp_path):
    done = run("pack", filled, tmp_path / "out", "--max-shard-bytes", "64KiB", "--storage-option", "max_requests=4")
    assert done.code == 0
    assert done.err.startswith(f"{filled} is a dataset: 12 samples; a sample is jpg + json (")
    tars = [name for name in contents(packed) if name.endswith(".tar")]
    assert [contents(tmp_path / "out")[name] for name in tars] == [contents(packed)[name] for name in tars]


def test_pack_to_a_url(run, images, packed, url, tmp_path):
    arguments = ["pack", images, url, "--max-shard-bytes", "64KiB", "--jobs", "2", "--work-dir", tmp_path / "work"]
    assert run(*arguments, "--dry-run").err.startswith("class folders: 12 samples; ")
    assert not objects(url)
    done = run(*arguments)
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("class folders: 12 samples; ")
    assert objects(url) == file_contents(packed)
    done = run(*arguments)
    assert (done.code, done.err) == (
        1,
        (
            f'shardpack: {url!r} already holds a dataset; add to it with "shardpack append", choose another folder, '
            "or pass force=True (--force), which deletes its 12 samples\n"
        ),
    )
    assert run(*arguments, "--force", "--json").json["out"] == url


def test_reading_commands_take_urls(run, packed, filled, tmp_path):
    for command, *more in (["ls", "-l"], ["cat", "hat/0000"], ["cat", "hat/0000", "json"]):
        assert run(command, filled, *more) == run(command, packed, *more)
    assert run("info", filled, "--json").json == {**run("info", packed, "--json").json, "location": filled}
    assert run("order", filled, "--json").json["location"] == filled
    assert run("extract", filled, tmp_path / "files").code == 0
    assert len([data for data in contents(tmp_path / "files").values() if data is not None]) == 24
    bench = run("bench", filled, "--seconds", "0.01")
    assert (bench.code, bench.err) == (0, f"{filled}, one process, all fields as bytes; 0.01 s per line\n")


@pytest.mark.parametrize("full", [[], ["--full"]])
def test_verify_takes_urls(run, filled, full):
    done = run("verify", filled, *full)
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("ok: 12 samples in ")
    store = open_store(filled)
    store.put("shard-000000.tar", b"short")
    store.delete(".shardpack/index/shard-000001.index")
    store.put("shard-000099.tar", b"stray")
    store.put(".shardpack/run.json", b"{}")
    found = run("verify", filled, "--json", *full)
    assert found.code == 1
    assert [(problem["kind"], problem["shard"]) for problem in found.json["problems"]] == [
        ("stale", "shard-000000.tar"),
        ("missing", ".shardpack/index/shard-000001.index"),
        ("stray", "shard-000099.tar"),
        ("unfinished", ".shardpack/run.json"),
    ]


def test_verify_reads_every_byte_of_a_url(run, filled):
    store = open_store(filled)
    tar = bytearray(store.get("shard-000000.tar"))
    tar[2000] ^= 1
    store.put("shard-000000.tar", bytes(tar))
    assert run("verify", filled).code == 0
    found = run("verify", filled, "--full", "--jobs", "2", "--json")
    assert (found.code, found.json["problems"][0]["kind"]) == (1, "damaged")


def test_verify_tells_of_shards_without_checksums(run, tmp_path):
    with shardpack.ShardWriter(tmp_path / "written") as writer:
        for number in range(20):
            writer.write(str(number), {"bin": bytes(500_000)})
    (tmp_path / "a.tar").write_bytes((tmp_path / "written" / "shard-000000.tar").read_bytes())
    done = run("index", tmp_path / "a.tar", "--no-checksums")
    assert (done.code, "  1 tar without checksums: " in done.err) == (0, True)
    done = run("verify", tmp_path, "--full")
    assert done.code == 0
    assert "  1 shard without checksums: indexed without reading payloads, so they cannot be checked" in done.err
    assert run("verify", tmp_path, "--json").json["without_checksums"] == 1


def test_index_elsewhere(run, packed, tmp_path):
    for path in packed.glob("*.tar"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    done = run("index", tmp_path, "--out", tmp_path / "indexes", "--checksums", "--json")
    assert (done.code, done.json["out"]) == (0, str(tmp_path / "indexes"))
    assert run("info", tmp_path / "indexes", "--json").json["num_samples"] == 12


# Copy


def test_copy(run, packed, url, tmp_path):
    shards = len(list(packed.glob("*.tar")))
    done = run("copy", packed, url, "--dry-run")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith(f"would copy {shards} shards, ")
    assert not objects(url)
    done = run("copy", packed, url, "--jobs", "2", "--work-dir", tmp_path / "work")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith(f"copied {shards} shards, ")
    assert objects(url) == file_contents(packed)
    assert run("copy", packed, url).err.endswith(f"; {shards} shards already there\n")
    done = run("copy", url, tmp_path / "back", "--json")
    assert (done.code, done.err) == (0, "")
    assert (done.json["source"], done.json["copied_shards"], done.json["dry_run"]) == (url, shards, False)
    assert contents(tmp_path / "back") == contents(packed)
    assert run("copy", url, tmp_path / "quiet", "--quiet") == (0, "", "")


def test_copy_over_another_dataset(run, packed, odd, url):
    shardpack.copy(odd, url)
    done = run("copy", packed, url)
    assert (done.code, done.err) == (
        1,
        (
            f"shardpack: {url!r} already holds a dataset; choose another folder, or pass force=True (--force), "
            "which deletes its 4 samples\n"
        ),
    )
    assert run("copy", packed, url, "--force").code == 0
    assert objects(url) == file_contents(packed)


# Options


def parsed(*given):
    context = click.Context(click.Command("x"))
    return ui._as_options(context, click.Option(["--storage-option"]), given)


def test_options_are_texts_but_for_what_cannot_be_one():
    assert parsed() is None
    assert parsed("region=eu-west-1", "access_key_id=12345", "token=a=b", "empty=") == {
        "region": "eu-west-1",
        "access_key_id": "12345",
        "token": "a=b",
        "empty": "",
    }
    assert parsed("skip_signature=true", "max_attempts=3", "connect_timeout_seconds=0.5") == {
        "skip_signature": True,
        "max_attempts": 3,
        "connect_timeout_seconds": 0.5,
    }
    assert parsed('headers={"X-Token": "1"}') == {"headers": {"X-Token": "1"}}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("s3cret", "expected KEY=VALUE, as in region=eu-west-1"),
        ("=s3cret", "expected KEY=VALUE"),
        ("max_attempts=s3cret", "the value of max_attempts is not a number"),
        ("headers={s3cret", "the value of headers is not JSON"),
    ],
)
def test_wrong_options_are_told_without_their_value(run, given, says):
    for command in (["info", "s3://b/x"], ["copy", "out", "s3://b/x"], ["pack", "in", "s3://b/x"]):
        done = run(*command, "--storage-option", given)
        assert done.code == 2
        assert says in done.err
        assert "s3cret" not in done.err
        assert done.err.count("\n") == 1


# Errors


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (
            ["info", "memory://nothing"],
            1,
            "no dataset in 'memory://nothing': .shardpack/manifest.json is missing; pack one",
        ),
        (["verify", "memory://nothing"], 1, "no dataset in 'memory://nothing'"),
        (["copy", "memory://nothing", "memory://other"], 1, "no dataset in 'memory://nothing'"),
        (["copy", "{packed}", "{packed}/."], 2, "source and target are the same: "),
        (["copy", "{packed}", "https://u:p@example.org/x?sig=1"], 2, "'https://example.org/x': a web server takes no"),
        (["pack", "{images}", "https://example.org/x"], 2, "a web server takes no files; name a folder or a bucket"),
        (["pack", "{images}", "{packed}", "--storage-option", "a=b"], 2, "storage_options are for URLs"),
        (["pack", "{images}", "out", "--work-dir", "x"], 2, "work_dir is for buckets"),
        (["extract", "{packed}", "s3://b/x"], 2, "extract writes to a folder; to fill a bucket, use: shardpack copy"),
    ],
)
def test_errors_are_one_line(run, packed, arguments, code, says):
    done = run(*(argument.format(packed=packed, images=IMAGES) for argument in arguments))
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("shardpack: ")
    assert done.err.count("\n") == 1
    assert says in done.err


def test_a_bucket_by_its_options(run, images, packed, s3_server, tmp_path):
    pytest.importorskip("obstore")
    given = {name: value for name, value in s3_server.options().items() if isinstance(value, str)}
    options = [text for name, value in given.items() for text in ("--storage-option", f"{name}={value}")]
    target_options = [text.replace("--storage", "--target-storage") for text in options]
    url = f"s3://{s3_server.new_bucket()}/train"
    assert run("pack", images, url, "--max-shard-bytes", "64KiB", *options).code == 0
    assert run("verify", url, "--full", *options).code == 0
    assert run("copy", url, url + "-2", *options, *target_options).code == 0
    assert objects(url + "-2", s3_server.options()) == file_contents(packed)
    assert run("extract", url, tmp_path / "files", "--field", "json", *options).code == 0
    done = run("info", url + "/none", *options)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert given["secret_access_key"] not in done.err
    done = run("info", "s3://bucket/x", *options, "--storage-option", "no_such_option=1")
    assert (done.code, done.err.count("\n")) == (2, 1)


def test_keys_to_extract_are_looked_up_together(run, monkeypatch, tmp_path):
    keys = [f"{number:04d}" for number in range(2_000)]
    store = WaveStore(packed_objects({key: {"txt": key.encode()} for key in keys}, max_shard_samples=500))
    monkeypatch.setattr("shardpack.read.open_location.open_store", lambda *_: store)
    named = [word for key in keys[::40] for word in ("--key", key)]
    assert run("extract", "s3://x", tmp_path / "out", *named).code == 0
    assert [path.read_text() for path in sorted((tmp_path / "out").iterdir())] == keys[::40]
    assert len(store.waves) < 10, "of 50 keys"
