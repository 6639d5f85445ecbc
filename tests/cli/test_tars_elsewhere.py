"""`index` with --out and --no-checksums, and what the other commands print about such datasets."""

from __future__ import annotations

import json

import pytest

import shardpack
from tests.buckets import FakeBucket, serve
from tests.index.test_remote import photo_tar


@pytest.fixture
def tars(tmp_path):
    (tmp_path / "tars").mkdir()
    for number in range(3):
        (tmp_path / "tars" / f"{number}.tar").write_bytes(photo_tar(10 * number, 10))
    return tmp_path / "tars"


def test_from_indexing_to_verifying(run, tars, tmp_path):
    out = tmp_path / "idx"
    done = run("index", "--no-checksums", "--out", out, tars / "{0..1}.tar", tars / "2.tar")
    assert done.code == 0
    assert "indexed 30 samples (jpg 30, json 30) in 3 tars, 2.1 MiB, in " in done.err
    assert "3 tars without checksums" in done.err
    info = run("info", out, "--shards").out
    assert "tars at       ../tars\n" in info
    assert f"location      {out}\n" in info
    assert 'no checksums  3 shards: indexed without reading payloads; run "shardpack index --checksums --force"' in info
    assert info.splitlines()[-1].endswith("--------")
    found = run("info", out, "--json", "--shards").json
    assert (found["locations"], found["without_checksums"], found["shards"][0]["crc32c"]) == (["../tars"], 3, None)
    first = json.loads(run("ls", out, "--json", "-n", 1).out)
    jpg = first["fields"]["jpg"]
    assert jpg == {"url": str(tmp_path / "tars" / "0.tar"), "offset": 512, "size": 70_000, "crc32c": None}
    assert run("cat", out, "00012", "json").out == '{"i":12}'
    for options in ([], ["--full"]):
        done = run("verify", out, *options)
        assert (done.code, done.out) == (0, "")
        assert "3 shards without checksums: indexed without reading payloads" in done.err
        assert run("verify", out, "--json", *options).json["without_checksums"] == 3
    assert run("index", "--checksums", "--force", "--out", out, tars).code == 0
    assert run("verify", out, "--json", "--full").json["without_checksums"] == 0
    assert shardpack.open(out).shards[0].crc32c is not None
    assert sorted(path.name for path in tars.iterdir()) == ["0.tar", "1.tar", "2.tar"]


def test_verify_notices_a_tar_that_changed(run, tars, tmp_path):
    out = tmp_path / "idx"
    run("index", "--no-checksums", "--out", out, tars)
    data = (tars / "1.tar").read_bytes()
    (tars / "1.tar").write_bytes(data.replace(b"00015.json", b"0001x.json"))
    done = run("verify", out)
    assert done.code == 1
    assert "1.tar" in done.out


def test_a_web_server_is_told_where_else_to_write(run):
    done = run("index", "https://localhost/train-{000..001}.tar")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert "a web server takes no files; name a folder or bucket for the indexes: out= (--out)" in done.err


@pytest.fixture
def in_two_buckets(monkeypatch):
    """A dataset whose tars are in another bucket than its manifest."""
    index = FakeBucket("s3://mine/set")
    tars = FakeBucket("s3://other/tars", {f"{number}.tar": photo_tar(10 * number, 10, size=100) for number in range(2)})
    serve(monkeypatch, index, tars)
    shardpack.index("s3://other/tars/{0..1}.tar", out="s3://mine/set")
    return "s3://mine/set"


@pytest.mark.parametrize(
    "command",
    [
        *("info", "ls", "cat DS 00000", "verify", "order", "bench DS --seconds 0.01"),
        *("copy DS OUT", "extract DS OUT", "pack DS OUT"),
    ],
)
def test_tars_in_another_bucket_are_read_where_the_user_says_so(run, in_two_buckets, tmp_path, command):
    name, *rest = command.split()
    given = {"DS": in_two_buckets, "OUT": tmp_path / "out"}
    arguments = [name, *[given.get(word, word) for word in rest or ["DS"]]]
    done = run(*arguments)
    assert done.code == 2
    assert "--allow-locations s3://other/tars" in done.err
    assert run(*arguments, "--allow-locations", "s3://elsewhere", "--allow-locations", "s3://other/tar").code == 2
    done = run(*arguments, "--allow-locations", "s3://elsewhere", "--allow-locations", "s3://other/tars/")
    assert done.code == 0, done.err
    if "OUT" not in rest:
        assert run(*arguments, "--allow-locations", "all").code == 0
