"""Locations that a manifest may hold lead back to where they came from, also when both places move."""

from __future__ import annotations

import pytest

from shardpack.errors import OptionError
from shardpack.storage.locations import resolve_location
from shardpack.storage.memory import MemoryStore
from shardpack.storage.open import open_store
from shardpack.storage.relative_location import relative_location


@pytest.mark.parametrize(
    ("home", "other", "location"),
    [
        ("s3://bucket/train", "s3://bucket/captions", "../captions"),
        ("s3://bucket/train/", "s3://bucket/train/sub/x/", "sub/x"),
        ("s3://bucket", "s3a://bucket/captions", "captions"),
        ("s3://bucket/a/b", "s3://bucket", "../.."),
        ("s3://bucket/train", "s3://other/captions/", "s3://other/captions"),
        ("s3://bucket/train", "gcs://bucket/captions", "gs://bucket/captions"),
        ("https://host/a", "https://host/b", "../b"),
        ("hf://datasets/me/one/a", "hf://datasets/me/one/b", "../b"),
        ("hf://datasets/me/one", "hf://datasets/me/two", "hf://datasets/me/two"),
        ("memory://a", "memory://b", "memory://b"),
    ],
)
def test_urls(home, other, location):
    assert relative_location(home, other) == location
    if "hf:" not in home:
        followed = resolve_location(MemoryStore({}, location=home), location, allow=True)
        assert relative_location(home, followed) == location


@pytest.fixture
def folder(tmp_path):
    return tmp_path.resolve()


def test_folders_are_relative(folder):
    home = folder / "some" / "train"
    for other in (folder / "captions", (folder / "captions").as_uri()):
        assert relative_location(str(home), other) == "../../captions"
    assert resolve_location(open_store(home), "../../captions") == str(folder / "captions")
    assert relative_location(str(folder), folder / "a" / "b") == "a/b"


def test_behind_a_link_a_folder_is_absolute(folder):
    (folder / "some" / "deep" / "train").mkdir(parents=True)
    (folder / "link").symlink_to(folder / "some" / "deep")
    home = folder / "link" / "train"
    location = relative_location(str(home), folder / "captions")
    assert resolve_location(open_store(home), location) == str(folder / "captions")


def test_a_folder_may_name_a_bucket_and_not_the_other_way_round(tmp_path):
    assert relative_location(str(tmp_path), "s3://bucket/captions/") == "s3://bucket/captions"
    with pytest.raises(OptionError, match=r"cannot name the folder .* of this machine; copy it"):
        relative_location("s3://bucket/train", tmp_path)


@pytest.mark.parametrize("other", ["s3://user:secret@bucket/a", "s3://bucket/a?key=secret", "s3://bucket/a\nb"])
def test_what_a_manifest_may_not_hold(other):
    with pytest.raises(OptionError, match="a manifest cannot name"):
        relative_location("s3://other/train", other)
