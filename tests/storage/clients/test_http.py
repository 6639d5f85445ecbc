"""Hubs send readers on to a store elsewhere: the ranges must arrive there, and the token must not."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from shardpack.errors import StorageError
from shardpack.storage.open import open_store

DATA = bytes(range(256)) * 8


class Server:
    """One HTTP server on loopback; `answers(handler)` says what to do; `seen` holds path and headers."""

    def __init__(self, answers):
        self.seen = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.seen.append((self.path, dict(self.headers)))
                answers(self)

            do_HEAD = do_GET  # noqa: N815 - the server's name

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def serve():
    running = []

    def start(answers):
        running.append(Server(answers))
        return running[-1]

    yield start
    for server in running:
        server.stop()


def send_bytes(handler):
    first, last = map(int, handler.headers["Range"].removeprefix("bytes=").split("-"))
    body = DATA[first : last + 1]
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes {first}-{last}/{len(DATA)}")
    handler.send_header("Content-Length", str(len(body)))
    handler.send_header("ETag", '"v1"')
    handler.end_headers()
    handler.wfile.write(body)


def send_on(to):
    def answer(handler):
        handler.send_response(302)
        handler.send_header("Location", to(handler))
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


OPTIONS = {"token": "hf_secret", "headers": {"Cookie": "session=secret", "X-Api-Key": "secret"}}


def test_another_host_gets_the_range_and_no_secret(serve):
    store_elsewhere = serve(send_bytes)
    hub = serve(send_on(lambda handler: f"{store_elsewhere.url}/signed{handler.path}?sig=1"))
    store = open_store(f"{hub.url}/datasets/x/resolve/main", OPTIONS)
    assert store.get_range("a.tar", start=300, length=5) == DATA[300:305]
    path, headers = hub.seen[0]
    assert path == "/datasets/x/resolve/main/a.tar"
    assert headers["Authorization"] == "Bearer hf_secret"
    path, headers = store_elsewhere.seen[0]
    assert (path, headers["Range"]) == ("/signed/datasets/x/resolve/main/a.tar?sig=1", "bytes=300-304")
    assert "Authorization" not in headers, "another port is another host"
    assert not {"Cookie", "X-Api-Key"} & headers.keys()


def test_the_same_host_keeps_the_token(serve):
    def answers(handler):
        if handler.path.startswith("/moved"):
            send_bytes(handler)
        else:
            send_on(lambda _: "/moved/a.tar")(handler)

    hub = serve(answers)
    assert open_store(hub.url, OPTIONS).get_range("a.tar", start=0, length=9) == DATA[:9]
    assert [headers["Authorization"] for _, headers in hub.seen] == ["Bearer hf_secret"] * 2


def test_redirects_without_end(serve):
    hub = serve(send_on(lambda handler: handler.path))
    with pytest.raises(StorageError, match="too many redirects") as caught:
        open_store(hub.url, {**OPTIONS, "max_attempts": 1}).get_range("a.tar", start=0, length=9)
    assert "secret" not in str(caught.value)


def answer_with(status, body=DATA, **headers):
    def answer(handler):
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_a_server_without_ranges_is_told_and_what_to_do(serve):
    server = serve(answer_with(200))
    with pytest.raises(StorageError, match="does not serve ranges; download the files with another tool") as caught:
        open_store(server.url).get_range("a.tar", start=0, length=9)
    assert "attempts" not in str(caught.value)
    assert open_store(server.url).get("a.tar") == DATA, "whole objects need no ranges"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (answer_with(206, DATA[:9], Content_Range=f"bytes 0-9/{len(DATA)}"), "more than was requested"),
        (answer_with(206, DATA[:5], Content_Range=f"bytes 0-8/{len(DATA)}"), "a body of 5 bytes"),
        (answer_with(206, DATA[:9], Content_Range=f"bytes 1-9/{len(DATA)}"), "asked for bytes from 0"),
        (answer_with(206, DATA[:9], Content_Range="bytes 0-8/*"), "asked for bytes from 0"),
        (answer_with(206, DATA[:9], Content_Range=f"bytes 0-8/{len(DATA)}", Content_Encoding="gzip"), "compresses"),
    ],
)
def test_answers_that_do_not_fit_are_refused(serve, answer, says):
    with pytest.raises(StorageError, match=says):
        open_store(serve(answer).url, {"max_attempts": 1}).get_range("a.tar", start=0, length=9)


def test_connections_are_used_again(serve):
    connections = set()

    def answer(handler):
        connections.add(handler.client_address)
        send_bytes(handler)

    store = open_store(serve(answer).url)
    for start in range(0, 100, 10):
        assert store.get_range("a.tar", start=start, length=10) == DATA[start : start + 10]
    assert len(connections) == 1
