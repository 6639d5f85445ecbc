"""Secrets are kept as long as a connection needs them, and never shown."""

from __future__ import annotations

import gc
import pickle

import pytest

from shardpack.storage import secret_options
from shardpack.storage.open import open_store
from shardpack.storage.secret_options import find_secrets, is_secret, redact


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [("region", "here", False), ("password", "x", True), ("endpoint", "http://u:p@h", True), ("new_option", 1, True)],
)
def test_what_is_not_known_to_be_harmless_is_secret(name, value, secret):
    assert is_secret(name, value) is secret


def test_values_at_any_depth_are_redacted():
    options = {"headers": {"X": ["hush-hush"]}, "key": b"hush-hush-2", "short": "abc"}
    assert redact("hush-hush-2 hush-hush abc http://u:p@h/x?sig=1 end", options) == "*** *** abc http://***@h/x?*** end"


def test_the_first_secrets_of_a_token_stay():
    first = find_secrets("token", {"a": 1})
    assert find_secrets("token", {"a": 2}) is first
    assert "1" not in repr(first)
    assert find_secrets("other") is None


def test_secrets_of_closed_urls_are_forgotten():
    gc.collect()
    before = len(secret_options._by_token)
    stores = [open_store("s3://bucket/x", {"secret_access_key": f"hush{i}"}) for i in range(100)]
    copy = pickle.loads(pickle.dumps(stores[0]))
    assert len(secret_options._by_token) == before + 100
    del stores
    gc.collect()
    assert len(secret_options._by_token) == before + 1  # of the copy
    assert copy._connection.secret_options() == {"secret_access_key": "hush0"}
    del copy
    gc.collect()
    assert len(secret_options._by_token) == before
