from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.servers.client import ask
from tests.servers.process import Server, missing_server

DATA = bytes(range(256)) * 40
OTHER = '"00000000000000000000000000000000"'


def check_ranges(get):
    """Half a range request, an open one, a suffix, one that ends too late, one that starts too late."""
    for text, start, stop in (
        ("100-299", 100, 300),
        ("10000-", 10000, 10240),
        ("-5", 10235, 10240),
        ("10000-99999", 10000, 10240),
        ("0-0", 0, 1),
    ):
        answer = get(Range=f"bytes={text}")
        assert (answer.status, answer.body) == (206, DATA[start:stop])
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"
        assert int(answer.headers["Content-Length"]) == stop - start
    assert get(Range="bytes=10240-10250").status == 416
    whole = get()
    assert (whole.status, whole.body) == (200, DATA)


def check_conditions(get, head):
    etag = get().headers["ETag"]
    assert re.fullmatch(r'"[^"]+"', etag)
    assert head().headers["ETag"] == etag
    for ask_for, good in ((get, 206), (head, 200)):
        ranged = {"Range": "bytes=0-9"} if ask_for is get else {}
        assert ask_for(If_Match=etag, **ranged).status == good
        assert ask_for(If_Match=OTHER, **ranged).status == 412
        assert ask_for(If_None_Match=OTHER, **ranged).status == good
        assert ask_for(If_None_Match=etag, **ranged).status == 304


@pytest.fixture(scope="module")
def s3_path(s3_server):
    path = f"/{s3_server.new_bucket()}/some/object"
    s3_server.put(path, DATA)
    return path


def test_s3_ranges(s3_server, s3_path):
    check_ranges(lambda **headers: ask(s3_server.url, s3_path, **headers))


def test_s3_conditions(s3_server, s3_path):
    check_conditions(
        lambda **headers: ask(s3_server.url, s3_path, **headers),
        lambda **headers: ask(s3_server.url, s3_path, method="HEAD", **headers),
    )


def test_s3_conditional_put(s3_server):
    path = f"/{s3_server.new_bucket()}/once"

    def put(body, **headers):
        return ask(s3_server.url, path, method="PUT", body=body, **headers)

    first = put(b"first", If_None_Match="*")
    assert first.status == 200
    assert put(b"second", If_None_Match="*").status == 412
    assert ask(s3_server.url, path).body == b"first"
    assert put(b"third", If_Match=OTHER).status == 412
    assert put(b"fourth", If_Match=first.headers["ETag"]).status == 200
    assert ask(s3_server.url, path).body == b"fourth"


def test_s3_of_many_conditional_puts_at_once_one_succeeds(s3_server):
    bucket = s3_server.new_bucket()
    for number in range(3):
        path, start = f"/{bucket}/once-{number}", threading.Barrier(8)

        def put(body, path=path, start=start):
            start.wait(timeout=60)
            answer = ask(s3_server.url, path, method="PUT", body=body, If_None_Match="*")
            return answer.status, body

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(put, (b"%d" % writer for writer in range(8))))
        assert sorted(status for status, _ in answers) == [200, *[412] * 7]
        assert (200, ask(s3_server.url, path).body) in answers


def test_s3_multipart_and_its_abort(s3_server):
    bucket = s3_server.new_bucket()
    path = f"/{bucket}/parts"
    parts = [bytes([number]) * 300_000 for number in (1, 2)]

    def start():
        text = ask(s3_server.url, path + "?uploads", method="POST").body.decode()
        return re.search("<UploadId>(.*)</UploadId>", text)[1]

    def send(upload, number):
        query = f"?partNumber={number}&uploadId={upload}"
        return ask(s3_server.url, path + query, method="PUT", body=parts[number - 1]).headers["ETag"]

    upload = start()
    listed = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{send(upload, number)}</ETag></Part>" for number in (1, 2)
    )
    assert ask(s3_server.url, path).status == 404
    finish = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()

    def complete(**headers):
        return ask(s3_server.url, f"{path}?uploadId={upload}", method="POST", body=finish, **headers)

    assert complete().status == 200
    whole = ask(s3_server.url, path)
    assert whole.body == parts[0] + parts[1]
    assert whole.headers["ETag"].endswith('-2"')

    upload = start()
    send(upload, 1)
    send(upload, 2)
    assert complete(If_None_Match="*").status == 412
    assert upload in ask(s3_server.url, f"/{bucket}?uploads").body.decode()
    assert ask(s3_server.url, f"{path}?uploadId={upload}", method="DELETE").status == 204
    assert upload not in ask(s3_server.url, f"/{bucket}?uploads").body.decode()


def test_s3_keeps_connections(s3_server, s3_path):
    with contextlib.closing(http.client.HTTPConnection(s3_server.url.removeprefix("http://"))) as connection:
        connection.connect()
        connection.auto_open = 0
        for _ in range(2):
            assert ask("", s3_path, connection=connection, Range="bytes=5-6").body == DATA[5:7]
            assert ask("", s3_path, connection=connection, If_Match=OTHER).status == 412
            assert ask("", s3_path + "-not", method="HEAD", connection=connection).status == 404
            assert ask("", s3_path, method="PUT", body=DATA, connection=connection).status == 200


def test_s3_lists_and_deletes(s3_server):
    bucket = s3_server.new_bucket()
    for name in ("a/1", "a/2", "b"):
        s3_server.put(f"/{bucket}/{name}", b"x")

    def keys(query):
        text = ask(s3_server.url, f"/{bucket}?list-type=2{query}").body.decode()
        return re.findall("<Key>(.*?)</Key>", text), re.findall("<Prefix>(.+?)</Prefix>", text)

    assert keys("")[0] == ["a/1", "a/2", "b"]
    assert keys("&prefix=a/")[0] == ["a/1", "a/2"]
    assert keys("&delimiter=/") == (["b"], ["a/"])
    assert keys("&max-keys=1")[0] == ["a/1"]
    assert ask(s3_server.url, f"/{bucket}/b", method="DELETE").status == 204
    assert ask(s3_server.url, f"/{bucket}/b").status == 404


def test_s3_checksums(s3_server):
    path = f"/{s3_server.new_bucket()}/summed"

    def put(crc32c):
        headers = {"x_amz_checksum_crc32c": crc32c, "x_amz_sdk_checksum_algorithm": "CRC32C"}
        return ask(s3_server.url, path, method="PUT", body=b"123456789", **headers)

    right = "4waSgw=="  # the check value of CRC-32C, E3069283
    assert put(right).headers["x-amz-checksum-crc32c"] == right
    assert put("AAAAAA==").status == 400
    assert ask(s3_server.url, path, method="PUT", body=b"x", Content_MD5="A" * 22 + "==").status == 400
    answer = ask(s3_server.url, path, method="HEAD", x_amz_checksum_mode="ENABLED")
    assert answer.headers["x-amz-checksum-crc32c"] == right


def test_nginx(nginx_server, tmp_path):
    (tmp_path / "object").write_bytes(DATA)
    server = nginx_server(tmp_path)

    def get(**headers):
        return ask(server.url, "/object", **headers)

    check_ranges(get)
    check_conditions(get, lambda **headers: ask(server.url, "/object", method="HEAD", **headers))
    etag = get().headers["ETag"]
    assert get(Range="bytes=0-9", If_Range=etag).status == 206
    assert get(Range="bytes=0-9", If_Range=OTHER).status == 200
    (tmp_path / "object").write_bytes(DATA + b"!")
    assert get(If_Match=etag).status == 412
    assert ask(server.url, "/nothing").status == 404


def test_nginx_takes_more_settings(nginx_server, tmp_path):
    (tmp_path / "object").write_bytes(DATA)
    server = nginx_server(tmp_path, extra="max_ranges 0; etag off;")
    answer = ask(server.url, "/object", Range="bytes=0-9")
    assert (answer.status, answer.body, answer.headers["ETag"]) == (200, DATA, None)


def test_azurite(azurite_server):
    container = azurite_server.new_container()
    etag = azurite_server.put(f"/{container}/object", DATA)

    def ask_for(**headers):
        with azurite_server.request("GET", f"/{container}/object", headers=headers) as answer:
            return answer.status, answer.headers.get("Content-Range"), answer.read()

    assert ask_for() == (200, None, DATA)
    assert ask_for(Range="bytes=100-299") == (206, f"bytes 100-299/{len(DATA)}", DATA[100:300])
    assert ask_for(**{"If-Match": etag})[0] == 200
    for header, value, status in (("If-Match", '"0x1"', 412), ("If-None-Match", etag, 304)):
        with pytest.raises(urllib.error.HTTPError) as raised:
            ask_for(**{header: value})
        assert raised.value.code == status
        raised.value.close()


def test_every_server_works_through_a_proxy(s3_server, azurite_server, nginx_server, proxy, tmp_path):
    obstore = pytest.importorskip("obstore")
    store = pytest.importorskip("obstore.store")
    (tmp_path / "object").write_bytes(DATA)
    bucket, container = s3_server.new_bucket(), azurite_server.new_container()
    s3_server.put(f"/{bucket}/object", DATA)
    azurite_server.put(f"/{container}/object", DATA)
    s3, azure, web = proxy(s3_server.url), proxy(azurite_server.origin), proxy(nginx_server(tmp_path).url)
    for between, opened in (
        (s3, store.S3Store(bucket, **s3_server.options(s3.url))),
        (azure, store.AzureStore(container, **azurite_server.options(azure.url))),
        (web, store.HTTPStore(web.url, client_options={"allow_http": True})),
    ):
        assert bytes(obstore.get_range(opened, "object", start=100, length=50)) == DATA[100:150]
        (request,) = between.requests
        assert (request.method, request.range, request.status, request.bytes_sent) == ("GET", (100, 50), 206, 50)


def test_a_server_that_cannot_start_says_why_and_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(RuntimeError, match="this is why"):
        Server(lambda _, __: [sys.executable, "-c", "raise SystemExit('this is why')"])
    assert not list(tmp_path.iterdir())


def test_a_server_leaves_neither_process_nor_files():
    server = Server(lambda _, port: [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"])
    assert ask(server.url, "/").status == 200
    server.stop()
    assert server.process.returncode is not None
    assert not server.folder.exists()


@pytest.mark.skipif(not shutil.which("setpriv"), reason="only Linux can tie a process to its parent")
def test_a_killed_session_takes_its_servers_along(tmp_path):
    program = """
import sys
from tests.servers.process import Server
server = Server(lambda _, port: [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"])
print(server.url, flush=True)
input()
"""
    session = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    with session:
        try:
            url = session.stdout.readline().strip()
            assert ask(url, "/").status == 200
        finally:
            session.kill()
    deadline = time.monotonic() + 60
    with contextlib.suppress(OSError, http.client.HTTPException):  # refused, or cut short
        while time.monotonic() < deadline:
            ask(url, "/")
    assert time.monotonic() < deadline


@pytest.mark.parametrize("required", [False, True])
def test_a_missing_server_skips_or_fails(monkeypatch, required):
    monkeypatch.delenv("SHARDPACK_REQUIRE_SERVERS", raising=False)
    if required:
        monkeypatch.setenv("SHARDPACK_REQUIRE_SERVERS", "1")
    outcome = pytest.fail.Exception if required else pytest.skip.Exception
    with pytest.raises(outcome, match="nothing is not installed"):
        missing_server("nothing is not installed")
