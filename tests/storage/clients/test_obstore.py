"""What obstore is told, and what it says, panics included."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from shardpack.errors import OptionError, StorageError
from shardpack.storage.clients.obstore import ObstoreClient
from shardpack.storage.open import open_store
from tests.conftest import ROOT

pytest.importorskip("obstore")


@pytest.fixture
def usual(s3_server):
    """Return the server's options, as users give them."""
    return {name: value for name, value in s3_server.options().items() if name != "client_options"}


@pytest.mark.parametrize(
    "options",
    [
        {"allow_http": True},
        {"allow_http": "true", "timeout": 30, "connect_timeout": "5"},
        {"aws_allow_http": True, "proxy_excludes": "127.0.0.1"},
        {"allow_invalid_certificates": True, "pool_max_idle_per_host": 5, "pool_idle_timeout": "5 seconds"},
        {"client_options": {"allow_http": True}},
    ],
)
def test_options_of_the_client_are_taken_as_a_command_line_gives_them(s3_server, usual, options):
    bucket = s3_server.new_bucket()
    s3_server.put(f"/{bucket}/a", b"abc")
    assert open_store(f"s3://{bucket}", {**usual, **options}).get("a") == b"abc"


def test_a_proxy_that_is_not_there_is_used(s3_server, usual):
    bucket = s3_server.new_bucket()
    s3_server.put(f"/{bucket}/a", b"abc")
    options = {**usual, "proxy_url": "http://127.0.0.1:9", "max_attempts": 1}
    with pytest.raises(StorageError):
        open_store(f"s3://{bucket}", options).get("a")


def test_http_may_be_forbidden(s3_server, usual):
    bucket = s3_server.new_bucket()
    with pytest.raises(StorageError) as caught:
        open_store(f"s3://{bucket}", {**usual, "allow_http": False}).get("a")
    assert "attempts" not in str(caught.value), "not tried again"


@pytest.mark.parametrize("extra", [{}, {"AWS_ALLOW_HTTP": "true"}])
def test_an_endpoint_in_the_environment_may_be_http(s3_server, usual, extra):
    bucket = s3_server.new_bucket()
    s3_server.put(f"/{bucket}/a", b"abc")
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL": s3_server.url,
        "AWS_ACCESS_KEY_ID": usual["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": usual["secret_access_key"],
        "AWS_REGION": usual["region"],
        **extra,
    }
    code = f"from shardpack.storage.open import open_store\nprint(open_store('s3://{bucket}').get('a'))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, check=False, capture_output=True, text=True
    )
    assert done.stdout == "b'abc'\n", done.stderr


def test_a_panic_is_an_error_of_ours(monkeypatch):
    kind = type("PanicException", (BaseException,), {})

    def panic(*_, **__):
        raise kind("index out of range")

    store = open_store("s3://bucket", {"region": "here", "skip_signature": True})
    monkeypatch.setattr("obstore.head", panic)
    with pytest.raises(StorageError, match="obstore stopped: index out of range"):
        store.size("a")
    monkeypatch.setattr("obstore.store.from_url", panic)
    with pytest.raises(OptionError, match="obstore stopped"):
        ObstoreClient.of_url("s3://bucket", {}, connect_seconds=1, read_seconds=1)


def test_other_exits_pass(monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    store = open_store("s3://bucket", {"region": "here", "skip_signature": True})
    monkeypatch.setattr("obstore.head", stop)
    with pytest.raises(KeyboardInterrupt):
        store.size("a")


def test_cache_control_reaches_the_bucket(s3_server, usual):
    bucket = s3_server.new_bucket()
    open_store(f"s3://{bucket}", usual).put("a", b"abc", cache_control="no-cache")
    from tests.servers.client import ask

    assert ask(s3_server.url, f"/{bucket}/a", method="HEAD").headers["Cache-Control"] == "no-cache"
