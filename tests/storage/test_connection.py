"""Connections: their options, and that no secret of them is written down."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import subprocess
import sys

import pytest

from shardpack.errors import OptionError, StorageError
from shardpack.storage.connection import connect_to
from shardpack.storage.open import open_store
from tests.conftest import ROOT

pytest.importorskip("obstore")
pytest.importorskip("urllib3")


@pytest.mark.parametrize("address", ["s3://", "http://", "s3:///"])
def test_urls_need_a_place(address):
    with pytest.raises(OptionError, match="not a URL of a folder"):
        open_store(address)


@pytest.mark.parametrize("address", ["s3://bucket/x", "https://127.0.0.1:1/x"])
def test_unknown_options_are_named(address):
    with pytest.raises(OptionError, match="colour"):
        open_store(address, {"colour": "red"}).get("a")


SECRETS = {"access_key_id": "AKIAVERYSECRET", "secret_access_key": "hush-hush", "session_token": "token-token"}


def test_secrets_are_in_no_pickle_no_repr_and_no_error():
    stores = [
        open_store("s3://bucket/x", {**SECRETS, "endpoint": "http://127.0.0.1:9", "region": "here", "max_attempts": 1}),
        open_store(
            "http://user:hush-hush@127.0.0.1:9/x?sig=AKIAVERYSECRET", {"token": "token-token", "max_attempts": 1}
        ),
        open_store("http://127.0.0.1:9/x", {"headers": {"X-Key": "hush-hush"}, "max_attempts": 1}),
    ]
    for store in stores:
        with pytest.raises(StorageError) as caught:
            store.get("a")
        error = caught.value
        told = [repr(store), store.location, str(error), repr(error.__cause__), repr(error.__context__)]
        told.append(pickle.dumps(store).decode("latin-1"))
        for text in told:
            assert not [secret for secret in SECRETS.values() if secret in text], text


@pytest.mark.parametrize(
    ("address", "options"),
    [
        ("http://127.0.0.1:9/x", {"token": "hush-hush\n"}),
        ("http://127.0.0.1:9/x", {"headers": {"X-Key": "hush-hush\u20ac"}}),
        ("s3://bucket/x", {"disable_tagging": "hush-hush", "region": "here"}),
    ],
)
def test_options_that_do_not_fit_are_not_quoted(address, options):
    with pytest.raises(OptionError) as caught:
        open_store(address, options).get("a")
    assert "hush" not in str(caught.value)


def test_passwords_in_an_endpoint_are_secrets_too():
    options = {"endpoint": "http://user:hush-hush@127.0.0.1:9", "region": "here", "max_attempts": 1}
    store = open_store("s3://bucket/x", options)
    assert b"hush" not in pickle.dumps(store)
    with pytest.raises(StorageError) as caught:
        store.get("a")
    assert "hush" not in str(caught.value)


def test_pickled_stores_find_their_secrets_again_in_this_process_and_its_forks(s3_server):
    bucket = s3_server.new_bucket()
    s3_server.put(f"/{bucket}/a", b"abc")
    store = open_store(f"s3://{bucket}", s3_server.options())
    assert store.get("a") == b"abc"
    assert pickle.loads(pickle.dumps(store)).get("a") == b"abc"


@pytest.mark.parametrize(
    "address", ["hdfs:///data/x", "webdav:///x", "s3://bucket/a//b", "sftp://host:22/x", "https://h/a"]
)
def test_locations_keep_their_slashes(address):
    assert connect_to(address).location == address
    assert connect_to(f"{address}/").location == address


def test_locations_lose_what_is_secret():
    connection = connect_to("https://user:hush@host:1/a/b?sig=hush#x")
    assert connection.location == "https://host:1/a/b"
    assert "hush" not in repr(connection)
    assert "hush" not in connection.redact("https://user:hush@host:1/a/b?sig=hush")


def look(store, answers):
    answers.put(dict(store._connection.secret_options()))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_child_processes_are_given_the_secrets(tmp_path, method):
    script = tmp_path / "script.py"
    script.write_text(f"""
import multiprocessing
from shardpack.storage.open import open_store
from tests.storage.test_connection import look

if __name__ == "__main__":
    context = multiprocessing.get_context("{method}")
    answers = context.Queue()
    child = context.Process(target=look, args=(open_store("s3://b", {{"secret_access_key": "hush"}}), answers))
    child.start()
    print(answers.get(timeout=60))
    child.join()
""")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], env=environment, check=False, capture_output=True, text=True)
    assert done.stdout == "{'secret_access_key': 'hush'}\n", done.stderr


def test_a_pickle_opened_elsewhere_says_why_access_is_denied(s3_server):
    bucket = s3_server.new_bucket()
    options = {**s3_server.options(), "secret_access_key": "hush-hush"}
    pickled = pickle.dumps(open_store(f"s3://{bucket}", options))  # the store itself is dropped at once
    gc.collect()
    assert b"hush" not in pickled
    copy = pickle.loads(pickled)
    assert "secret storage_options are not pickled" in copy._connection.advice
    assert "check the credentials" in open_store("s3://b")._connection.advice


def test_nothing_is_pickled_after_a_child_was_spawned():
    assert multiprocessing.context.get_spawning_popen() is None
    assert b"hush" not in pickle.dumps(open_store("s3://b", {"secret_access_key": "hush"}))
