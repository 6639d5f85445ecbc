"""Parts of payloads that change: any order and kill, the same bytes as one packer writes."""

from __future__ import annotations

import itertools
import os
import shutil

import pytest

import shardpack
from shardpack.commit.open_target import target_of
from shardpack.errors import OutputExistsError, SourceError
from shardpack.format import layout
from shardpack.runtime.engine import IN_PROCESS
from shardpack.storage.local import LocalStore
from shardpack.write.chunked_run import pack_chunks
from shardpack.write.listed_input import ListedInput
from shardpack.write.pack_chunks_part import pack_chunks_part
from shardpack.write.part import parse_part
from shardpack.write.request import PackRequest
from tests.commit.stores import KilledError, WatchedStore
from tests.fakes import contents, file_contents, write_files
from tests.write.chunk_steps import Grow, listing, recipe, samples
from tests.write.test_pack_part import at_step

MIXED = Grow(0.7, drop="7", twice="b/", fail="a/0009")
COUNT = 40


def run(store, part, *, made=None, found=None):
    made = made or recipe(MIXED, on_error="skip")
    found = found or listing(COUNT)
    target, request = target_of(store, shared=True), PackRequest(on_error="skip")
    return pack_chunks_part(ListedInput(found), made, target, request, parse_part(part), recorded={}, engine=IN_PROCESS)


def files_of(store):
    return store.contents() if isinstance(store, WatchedStore) else file_contents(store.folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    request, made = PackRequest(on_error="skip"), recipe(MIXED, on_error="skip")
    target = target_of(LocalStore(str(out)))
    packed = pack_chunks(ListedInput(listing(COUNT)), made, target, request, recorded={}, engine=IN_PROCESS)
    assert len(packed.shards) > 3
    return file_contents(out), packed


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path):
    return LocalStore(str(tmp_path / "out")) if request.param == "folder" else WatchedStore()


@pytest.mark.parametrize("order", list(itertools.permutations(["1/3", "2/3", "3/3"]))[::2])
def test_the_part_that_finishes_last_publishes_and_tells_what_happened(store, whole, order):
    expected, packed = whole
    assert [run(store, part).missing_chunks > 0 for part in order] == [True, True, False]
    assert files_of(store) == expected
    again = run(store, "2/3")
    assert (again.missing_chunks, [info.name for info in again.shards]) == (0, [info.name for info in packed.shards])
    assert files_of(store) == expected


def test_the_last_part_reports_the_totals_of_all(whole):
    store = WatchedStore()
    run(store, "1/2")
    assert run(store, "2/2").tally == whole[1].tally


@pytest.mark.parametrize("publishes", [False, True])
def test_a_part_that_is_killed_is_started_again(whole, publishes):
    def die():
        raise KilledError

    for number in itertools.count(1, 3):
        store = WatchedStore()
        if publishes:
            run(store, "2/2")
        step = at_step(store, number, die)
        try:
            run(store, "1/2")
        except KilledError:
            pass
        else:
            assert step
            assert number > 10
            return
        at_step(store, 10**9, die)
        for part in ["1/2"] if publishes else ["2/2", "1/2"]:
            run(store, part)
        assert files_of(store) == whole[0], number


def test_parts_obey_the_growth_that_the_first_has_measured(monkeypatch, store):
    run(store, "1/2")
    monkeypatch.setattr("shardpack.write.chunked_run.measure", lambda *_: pytest.fail("it is in the plan"))
    assert run(store, "2/2").missing_chunks == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"found": listing(COUNT - 1)}, "is in it, but not in the source here"),
        ({"made": recipe(Grow(0.8), on_error="skip")}, "steps is "),
        ({"made": recipe(MIXED, on_error="raise")}, "on_error is 'skip' in it, and 'raise' here"),
        ({"made": recipe(MIXED, on_error="skip", max_bytes=30_000)}, "limits is "),
    ],
)
def test_a_part_of_another_plan_is_refused(store, change, says):
    run(store, "1/2")
    with pytest.raises((OutputExistsError, SourceError)) as caught:
        run(store, "2/2", **change)
    if isinstance(caught.value, SourceError):
        assert "made to fail" in str(caught.value)  # when it was measured
    else:
        assert says in str(caught.value)


def test_the_dataset_of_other_samples_or_steps_is_not_taken_for_ours(store, whole):
    run(store, "1/1")
    others = [
        {"made": recipe(Grow(0.71, drop="7", twice="b/", fail="a/0009"), on_error="skip")},
        {"found": listing(COUNT, seed=1)},
        {"found": listing(COUNT * 2)},
    ]
    for other in others:
        with pytest.raises(OutputExistsError, match="already holds a dataset"):
            run(store, "1/1", **other)
    assert files_of(store) == whole[0]


def shorten(fields):
    return {"jpg": fields["jpg"][:500], "json": {"length": len(fields["jpg"])}}


def test_from_pack_at_different_paths(tmp_path):
    source = write_files(tmp_path / "source", samples(20))
    shutil.copytree(source, tmp_path / "mounted elsewhere")  # with its times
    options = {"max_shard_samples": 4, "layout": "files", "transform": shorten, "transform_version": "1"}
    shardpack.pack(source, tmp_path / "whole", jobs=1, **options)
    first = shardpack.pack(source, tmp_path / "out", part="1/2", jobs=1, **options)
    assert (first.num_shards, first.missing_shards) == (5, 2)
    assert not os.path.exists(tmp_path / "out" / layout.MANIFEST_PATH)
    assert (
        shardpack.pack(tmp_path / "mounted elsewhere", tmp_path / "out", part="2/2", jobs=1, **options).num_samples
        == 20
    )
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
