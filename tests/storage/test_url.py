"""The grammar of locations."""

from __future__ import annotations

import pytest

from shardpack.errors import OptionError
from shardpack.storage.local import LocalStore
from shardpack.storage.url import canonical, is_path, is_url, local_path, options_for, scheme_of


def test_options_are_not_sent_to_another_provider(tmp_path):
    options = {"key": "secret"}
    for other in (tmp_path, "out/", "s3://other/x", None):
        assert options_for("s3://bucket/x", other, options) is options
    assert options_for("s3://bucket/x", "gs://bucket/x", options) is None
    assert options_for("s3://bucket/x", "gs://bucket/x", None) is None


def test_files_of_other_machines_are_refused():
    with pytest.raises(OptionError, match="another machine"):
        local_path("file://host/x")


def test_spellings_of_one_location_are_one(tmp_path):
    assert canonical("s3a://b/x/") == canonical("s3://b/x")
    assert canonical("gs://b/x") != canonical("s3://b/x")
    (tmp_path / "link").symlink_to(tmp_path)
    assert canonical(str(tmp_path / "link")) == canonical(str(tmp_path))


@pytest.mark.parametrize(
    ("location", "path"),
    [("a/b", "a/b"), ("file:///a%20b/c", "/a b/c"), ("file:/a", "/a"), ("s3://b/x", None), ("c:\\x", "c:\\x")],
)
def test_what_is_local_has_a_path(location, path):
    assert local_path(location) == path
    assert scheme_of(location) == {"f": "file", "s": "s3"}.get(location[0])
    assert is_url(location) == (location != path and not location.startswith(("a", "c:")))
    assert is_path(location) == (not is_url(location))


def test_a_store_is_no_path(tmp_path):
    assert is_path(tmp_path)
    assert not is_path(LocalStore(tmp_path))
