from __future__ import annotations

import asyncio
import contextlib
import errno
import http.client
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import ROOT
from tests.servers.client import ask
from tests.servers.faults import Fault, Gathering, parse_range
from tests.servers.proxy import Proxy
from tests.servers.proxy_process import ProxyProcess

DATA = bytes(range(256)) * 2000
LONG = 60  # seconds, which only a defect takes
RANGE = "bytes=1000-300999"
PART = DATA[1000:301_000]


@pytest.fixture(scope="module")
def path(s3_server):
    path = f"/{s3_server.new_bucket()}/object"
    s3_server.put(path, DATA)
    return path


@pytest.fixture
def between(s3_server, proxy):
    return proxy(s3_server.url)


@contextlib.contextmanager
def kept(proxy):
    """One connection for many requests."""
    with contextlib.closing(http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=LONG)) as connection:
        yield connection


def receive(proxy, path, *, stalls_after=None, **headers):
    """Return (head, body, how the connection ended: "FIN", "RST", "open") of one GET, by socket.

    With `stalls_after`, "open" means that nothing came for a moment after so many bytes of the body.
    """
    data, end = b"", "FIN"
    with socket.create_connection(("127.0.0.1", int(proxy.url.rpartition(":")[2])), timeout=LONG) as sock:
        lines = [f"GET {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers.items())]
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        try:
            while True:
                head, _, body = data.partition(b"\r\n\r\n")
                if stalls_after is not None and len(body) >= stalls_after:
                    sock.settimeout(0.2)
                if not (piece := sock.recv(1 << 20)):
                    break
                data += piece
        except ConnectionResetError:
            end = "RST"
        except TimeoutError:
            end = "open"
    return head.decode(), body, end


def test_without_faults_nothing_changes_and_all_is_logged(s3_server, between, path):
    direct, through = (ask(url, path, Range=RANGE) for url in (s3_server.url, between.url))
    assert through.status == 206
    assert through.body == direct.body == PART
    ours = {"date", "connection", "x-amzn-requestid"}
    kept = [{(n.lower(), v) for n, v in a.headers.items() if n.lower() not in ours} for a in (direct, through)]
    assert kept[0] == kept[1]
    (request,) = between.requests
    assert (request.method, request.path, request.range) == ("GET", path, (1000, 300_000))
    assert (request.status, request.bytes_sent, request.fault) == (206, 300_000, None)
    assert request.headers["host"] == between.url.removeprefix("http://")
    assert request.time <= time.monotonic()
    between.clear()
    assert (between.requests, between.num_requests, between.max_in_flight) == ([], 0, 0)


def test_bodies_heads_and_errors_pass_on_one_connection(between, path):
    with kept(between) as connection:
        body = DATA * 3
        assert ask("", path + "2", method="PUT", body=body, connection=connection).status == 200
        assert ask("", path + "2", connection=connection, Expect="100-continue").body == body
        head = ask("", path + "2", method="HEAD", connection=connection)
        assert (head.body, int(head.headers["Content-Length"])) == (b"", len(body))
        assert ask("", path + "3", connection=connection).status == 404
        listed = ask("", path.rpartition("/")[0] + "?list-type=2", connection=connection)
        assert b"object2" in listed.body
        connection.request("PUT", path + "4", iter([b"chunk", b"ed"]), encode_chunked=True)
        connection.getresponse().read()
        assert ask("", path + "4", connection=connection).body == b"chunked"
    assert between.num_connections == 1
    assert between.num_requests == len(between.requests) == 7


def test_answers_without_length_and_in_chunks_arrive_whole(proxy):
    answers = [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nuntil\r\n8;x\r\n the end\r\n0\r\nA: b\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nuntil the end",
    ]
    for answer in answers:
        for step in (1, len(answer)):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                server = threading.Thread(target=answer_once, args=(listener, answer, step))
                server.start()
                between = proxy(f"http://127.0.0.1:{listener.getsockname()[1]}")
                assert ask(between.url, "/").body == b"until the end"
                server.join()


def answer_once(listener, answer, step):
    sock, _ = listener.accept()
    with sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.recv(65536)
        for start in range(0, len(answer), step):
            sock.sendall(answer[start : start + step])


@pytest.mark.parametrize("after", [None, 0, 1, 150_000])
@pytest.mark.parametrize(("kind", "end"), [("reset", "RST"), ("truncate", "FIN")])
def test_cut_connections(between, path, kind, end, after):
    between.faults.append(Fault(kind, after_bytes=after))
    head, body, how = receive(between, path, Range=RANGE)
    assert how == end
    assert body == PART[: after or 0]
    assert ("Content-Length: 300000" in head) is (after is not None)
    assert between.requests[0].bytes_sent == (after or 0)
    assert between.requests[0].fault == kind
    assert ask(between.url, path, Range=RANGE).body == PART  # once only


@pytest.mark.parametrize("after", [None, 1000])
def test_stalls(between, path, after):
    between.faults.append(Fault("stall", after_bytes=after, times=2))
    head, body, how = receive(between, path, stalls_after=after or 0, Range=RANGE)
    assert how == "open"
    assert (head == "") is (after is None)
    assert body == PART[: after or 0]
    between.faults[:] = [Fault("stall", after_bytes=after, seconds=0.05)]
    begun = time.monotonic()
    assert ask(between.url, path, Range=RANGE).body == PART
    assert time.monotonic() - begun >= 0.05


@pytest.mark.parametrize("retry_after", [3, "Fri, 31 Dec 1999 23:59:59 GMT"])
@pytest.mark.parametrize("status", [403, 404, 412, 429, 500, 503])
def test_made_up_answers(between, path, status, retry_after):
    between.faults.append(Fault("status", status=status, retry_after=retry_after, headers={"x-amz-id-2": "7"}))
    answer = ask(between.url, path)
    assert (answer.status, answer.headers["Retry-After"], answer.headers["x-amz-id-2"]) == (
        status,
        str(retry_after),
        "7",
    )
    assert b"<Error><Code>" in answer.body
    assert between.requests[0].status == status


@pytest.mark.parametrize("kind", ["status", "reset"])
@pytest.mark.parametrize("served", [False, True])
def test_a_lost_answer_may_have_been_served(between, path, kind, served):
    path = f"{path}-{kind}-{served}"
    between.faults.append(Fault(kind, served=served, method="PUT"))
    if kind == "reset":
        with pytest.raises(ConnectionResetError):
            ask(between.url, path, method="PUT", body=b"written")
    else:
        assert ask(between.url, path, method="PUT", body=b"written").status == 503
    assert ask(between.url, path).status == (200 if served else 404)


def test_wrong_lengths(between, path):
    for delta in (-10, 10):
        between.faults.append(Fault("length", delta=delta))
        head, body, how = receive(between, path, Range=RANGE)
        assert f"Content-Length: {300_000 + delta}" in head
        assert (body, how) == (PART, "FIN")
    between.faults.append(Fault("short", after_bytes=17))
    answer = ask(between.url, path, Range=RANGE)
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (206, PART[:17], "17")
    assert answer.headers["Content-Range"] == f"bytes 1000-300999/{len(DATA)}"
    assert ask(between.url, path, Range=RANGE).body == PART


def test_wrong_headers_and_bytes(between, path):
    between.faults += [
        Fault("content-range", delta=5),
        Fault("etag", value='"new"'),
        Fault("headers", headers={"ETag": None, "X-Other": "1"}),
        Fault("ignore-range"),
        Fault("corrupt", after_bytes=200_000),
    ]
    answer = ask(between.url, path, Range=RANGE)
    assert answer.headers["Content-Range"] == f"bytes 1005-301004/{len(DATA)}"
    assert answer.body == PART
    assert ask(between.url, path, Range=RANGE).headers["ETag"] == '"new"'
    answer = ask(between.url, path, Range=RANGE)
    assert (answer.headers["ETag"], answer.headers["X-Other"]) == (None, "1")
    answer = ask(between.url, path, Range=RANGE)
    assert (answer.status, answer.headers["Content-Range"], answer.body) == (200, None, DATA)
    body = ask(between.url, path, Range=RANGE).body
    assert [i for i in range(len(PART)) if body[i] != PART[i]] == [200_000]
    assert not between.faults


def test_faults_choose_their_requests(between, path):
    between.faults += [
        Fault("status", status=500, match="elsewhere"),
        Fault("status", status=501, method="HEAD", times=None),
        Fault("status", status=502, skip=1, times=2),
        Fault("status", status=504, when=lambda request: request.range == (0, 1)),
    ]
    assert ask(between.url, path, method="HEAD").status == 501
    assert [ask(between.url, path).status for _ in range(4)] == [200, 502, 502, 200]
    assert ask(between.url, path, Range="bytes=0-0").status == 504
    assert ask(between.url, path, method="HEAD").status == 501
    assert [fault.status for fault in between.faults] == [500, 501]
    with pytest.raises(ValueError, match="unknown fault 'nonsense'; known are status"):
        Fault("nonsense")


def test_down_refuses_and_comes_back(between, path):
    with kept(between) as idle:
        assert ask("", path, connection=idle).body == DATA
        with between.down():
            with pytest.raises(ConnectionRefusedError) as refused:
                ask(between.url, path)
            assert refused.value.errno == errno.ECONNREFUSED
            idle.auto_open = 0
            with pytest.raises((ConnectionError, http.client.HTTPException)):
                ask("", path, connection=idle)
    assert ask(between.url, path).body == DATA


def test_a_server_that_is_not_there_is_a_bad_gateway(proxy):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert ask(proxy(f"http://127.0.0.1:{port}").url, "/").status == 502


def test_latency_is_shared_by_requests_in_flight(s3_server, path, proxy):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    between = proxy(s3_server.url, latency_seconds=0.4, sleep=sleep)
    between.gatherings.append(Gathering(path, 8))
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: ask(between.url, path, Range="bytes=0-0").status == 206, range(8)))
    assert slept == [0.4] * 8
    assert between.max_in_flight == 8
    assert between.in_flight == 0
    between.latency_seconds, between.connect_latency_seconds = 0, 0.5
    with kept(between) as connection:
        for _ in range(2):
            ask("", path, connection=connection, Range="bytes=0-0")
    assert slept[8:] == [0.5], "once a connection"


def test_latency_takes_its_time(s3_server, path, proxy):
    between = proxy(s3_server.url, latency_seconds=0.1, connect_latency_seconds=0.1)
    begun = time.monotonic()
    assert ask(between.url, path, Range="bytes=0-0").status == 206
    assert time.monotonic() - begun >= 0.2


@pytest.mark.parametrize("option", ["bandwidth", "connection_bandwidth"])
def test_bandwidth_is_limited(s3_server, path, proxy, option):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        await asyncio.sleep(seconds)

    between = proxy(s3_server.url, **{option: 2_000_000}, sleep=sleep)
    begun = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(lambda _: ask(between.url, path, Range=RANGE).body == PART, range(2)))
    expected = 0.3 if option == "bandwidth" else 0.15
    assert time.monotonic() - begun >= expected - 0.03
    assert max(slept) <= expected, "no more than all the bytes take"
    begun = time.monotonic()
    ask(between.url, path + "5", method="PUT", body=PART)
    assert time.monotonic() - begun >= 0.12


def test_a_proxy_ends_with_open_connections_and_stalled_requests(s3_server, path):
    with Proxy(s3_server.url) as between:
        between.faults.append(Fault("stall"))
        waiting = [socket.create_connection(("127.0.0.1", int(between.url.rpartition(":")[2]))) for _ in range(3)]
        waiting[0].sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        while not between.in_flight:
            time.sleep(0.005)
    assert not [thread for thread in threading.enumerate() if thread.name == "proxy"]
    for sock in waiting:
        sock.close()


def test_what_was_asked_for_is_done_once_it_is_settled(s3_server, path, proxy):
    between = proxy(s3_server.url)
    gathering = Gathering(path, 2)
    between.gatherings.append(gathering)
    with socket.create_connection(("127.0.0.1", int(between.url.rpartition(":")[2]))) as sock:
        sock.sendall(f"PUT {path}-late HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nlate".encode())
    settling = threading.Thread(target=between.settle)
    settling.start()  # the client has hung up, its request is held
    ask(between.url, path)
    settling.join()
    assert ask(s3_server.url, f"{path}-late").body == b"late"


def test_the_process_form(s3_server, path):
    with ProxyProcess(s3_server.url, latency_seconds=0.05, bandwidth=50e6) as between:
        begun = time.monotonic()
        assert ask(between.url, path, Range=RANGE).body == PART
        assert time.monotonic() - begun >= 0.05
        assert between.stats() == {
            "num_requests": 1,
            "num_bytes": len(PART),
            "num_connections": 2,
            "max_in_flight": 1,
            "in_flight": 0,
        }
        between.clear()
        assert between.stats()["num_bytes"] == 0


def test_its_command_line(s3_server, path):
    command = [sys.executable, "-m", "tests.servers.proxy_process", s3_server.url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert ask(process.stdout.readline().strip(), path).body == DATA
        finally:
            process.terminate()
    assert process.returncode == 0


def test_ranges_are_parsed():
    assert parse_range("bytes=0-9") == (0, 10)
    assert parse_range("bytes=5-") == (5, None)
    assert parse_range("bytes=-7") == (-7, 7)
    assert parse_range("bytes=0-1,5-6") is None
    assert parse_range(None) is None
