"""Digests differ for tars that changed, and for runs with other tars or options."""

from __future__ import annotations

import os

import pytest

from shardpack.index.find import find_tars
from shardpack.index.tar_digests import TarDigests
from tests.buckets import FakeBucket, serve


@pytest.fixture
def folder(tmp_path):
    for name in ("x.tar", "y.tar"):
        (tmp_path / name).write_bytes(b"1")
    return tmp_path


def digests(folder, ignore=()):
    return TarDigests(find_tars(folder), ignore)


def test_a_tar_that_changed_has_another(folder):
    before = digests(folder)
    first = before.first("x.tar")
    os.utime(folder / "x.tar", ns=(1, 1))
    assert before.now("x.tar") != first == before.first("x.tar"), "the first is kept"
    assert before.now("x.tar") == digests(folder).first("x.tar") != digests(folder, ["._*"]).first("x.tar")


def test_a_run_is_of_its_tars_and_options(folder):
    one = digests(folder).of_run("keep", None)
    assert one
    assert one == digests(folder).of_run("keep", None)
    others = [digests(folder).of_run("raise", None), digests(folder, ["._*"]).of_run("keep", None)]
    os.utime(folder / "y.tar", ns=(1, 1))
    others.append(digests(folder).of_run("keep", None))
    assert len({one, *others}) == 4


def test_without_etags_nothing_tells(monkeypatch):
    bucket = FakeBucket("memory://bucket", {"x.tar": b"1"})
    serve(monkeypatch, bucket)
    assert digests("memory://bucket").of_run()
    bucket.etags = False
    assert (digests("memory://bucket").first("x.tar"), digests("memory://bucket").of_run()) == (None, "")
