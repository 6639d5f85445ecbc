"""The chunked run: the same bytes and totals for any jobs, order and number of kills."""

from __future__ import annotations

import itertools
import random
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.commit.bucket_target import BucketTarget
from shardpack.commit.folder_target import FolderTarget
from shardpack.errors import DuplicateKeyError, SourceError
from shardpack.runtime.engine import IN_PROCESS
from shardpack.runtime.processes import start_workers
from shardpack.sources.splits import sorted_by_split, with_splits
from shardpack.write.chunked_run import pack_chunks
from shardpack.write.listed_input import ListedInput
from shardpack.write.measure_chunks import estimate
from shardpack.write.pack_chunk import ChunkTask
from shardpack.write.request import PackRequest
from tests.commit import stores
from tests.commit.stores import WatchedStore, heal, kill_at
from tests.fakes import contents, file_contents, inline_listing
from tests.strategies import examples
from tests.write.chunk_steps import Grow, listing, recipe, samples

MIXED = Grow(0.7, drop="7", twice="b/", fail="a/0009")


class KilledError(Exception):
    pass


class Shuffled:
    """An engine that runs tasks in another order, and breaks off after some: once their shards have `arrived`."""

    def __init__(self, seed, *, tasks=1 << 30, arrived=None):
        self.jobs, self._rng, self._left, self._arrived = 2, random.Random(seed), tasks, arrived

    def map(self, function, tasks, *, backpressure=None, advance=None, **_):
        numbered, shards = list(enumerate(tasks)), []
        self._rng.shuffle(numbered)
        for number, task in numbered:
            if self._left == 0:
                while self._arrived is not None and not all((self._arrived / name).exists() for name in shards):
                    time.sleep(0.001)
                raise KilledError
            self._left -= 1
            assert backpressure is None or backpressure.acquire()
            result = function(task) if advance is None else function(task, lambda _: None)
            shards += [info.name for info in getattr(result, "shards", ())]
            yield number, result


def pack(out, found, made, *, engine=IN_PROCESS, progress=lambda *_: None, rejected=()):
    target, request = FolderTarget(str(out)), PackRequest(progress=progress)
    return pack_chunks(ListedInput(found), made, target, request, recorded={}, rejected=rejected, engine=engine)


def test_what_is_packed_comes_back(tmp_path):
    packed = pack(tmp_path, listing(60), recipe(Grow(0.5)))
    ds = shardpack.open(tmp_path)
    assert {sample.key: dict(sample) for sample in ds} == {
        key: {name: data[: len(data) // 2] for name, data in fields.items()} for key, fields in samples(60).items()
    }
    assert [sample.key for sample in ds] == sorted(samples(60))
    assert ds["b/0001"].position == sorted(samples(60)).index("b/0001")
    assert [info.name for info in ds.shards] == [info.name for info in packed.shards]
    assert packed.shards[-1].name > "shard-000001-00.tar"
    assert shardpack.verify(tmp_path, full=True).ok


@given(
    count=st.integers(1, 40),
    times=st.sampled_from([0.2, 1.0, 2.5]),
    max_samples=st.sampled_from([None, 3]),
    drop=st.sampled_from(["1", "none"]),
    twice=st.sampled_from(["b/", "none"]),
    kills=st.lists(st.integers(0, 5), max_size=3),
    splits=st.sampled_from([[None], ["train"], ["val", "train", None]]),
    seed=st.integers(0, 99),
)
@examples(20)
def test_neither_order_nor_kills_change_a_byte_or_a_total(  # noqa: PLR0917 - drawn
    new_folder, count, times, max_samples, drop, twice, kills, splits, seed
):
    found = listing(count, seed=seed)
    found = sorted_by_split(with_splits(found, [splits[i % len(splits)] for i in range(count)]))
    made = recipe(Grow(times, drop, twice, fail="0005"), on_error="skip", max_samples=max_samples)
    whole, out = new_folder() / "whole", new_folder() / "out"
    try:
        expected = pack(whole, found, made)
    except SourceError:  # nothing is left
        return
    resumed = 0
    for tasks in kills:
        try:
            pack(out, found, made, engine=Shuffled(seed, tasks=tasks))
        except KilledError:
            continue
        break
    else:
        packed = pack(out, found, made, engine=Shuffled(seed + 1))
        assert packed.tally == expected.tally
        assert list(packed.shards) == list(expected.shards)
        resumed = packed.resumed_shards
    assert contents(out) == contents(whole)
    assert resumed <= sum(kills)


@pytest.mark.parametrize("jobs", [2, 3])
def test_jobs_change_no_byte(tmp_path, jobs):
    made = recipe(MIXED, on_error="skip")
    one = pack(tmp_path / "one", listing(60), made)
    with start_workers(jobs) as engine:
        many = pack(tmp_path / "many", listing(60), made, engine=engine)
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    assert (many.tally, list(many.shards)) == (one.tally, list(one.shards))


@pytest.mark.parametrize(("jobs", "chunks", "parallel"), [(4, 1, 4), (4, 3, 2), (2, 6, 1)])
def test_jobs_without_a_chunk_of_their_own_help_with_those_of_others(tmp_path, jobs, chunks, parallel):
    tasks = []

    class Noting(Shuffled):
        def map(self, function, todo, **options):
            def noted():
                for task in todo:
                    tasks.append(task)
                    yield task

            return super().map(function, noted(), **options)

    engine = Noting(0)
    engine.jobs = jobs
    pack(tmp_path, listing(6), recipe(Grow(), max_samples=6 // chunks, max_bytes=1 << 20), engine=engine)
    made = [task for task in tasks if isinstance(task, ChunkTask)]
    assert [len(made), {task.parallel for task in made}] == [chunks, {parallel}]


def test_the_plan_is_measured_once_and_obeyed(tmp_path):
    """A run that continues does not look at the drawn samples again."""
    whole = pack(tmp_path / "whole", listing(60), recipe(Grow()))
    with pytest.raises(KilledError):
        pack(tmp_path / "out", listing(60), recipe(Grow()), engine=Shuffled(0, tasks=8 + 3, arrived=tmp_path / "out"))
    calls = []

    class Counting(Shuffled):
        def map(self, function, *arguments, **options):
            calls.append(function.func.__name__)
            return super().map(function, *arguments, **options)

    packed = pack(tmp_path / "out", listing(60), recipe(Grow()), engine=Counting(0))
    assert calls == ["pack_chunk"]
    assert packed.resumed_shards == 3
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert packed.tally == whole.tally


def test_chunks_of_another_recipe_or_source_are_made_again(tmp_path):
    for found, made in [(listing(60, seed=1), recipe(Grow())), (listing(60), recipe(Grow(1.5)))]:
        with pytest.raises(KilledError):
            pack(tmp_path / "out", found, made, engine=Shuffled(0, tasks=8 + 3, arrived=tmp_path / "out"))
    packed = pack(tmp_path / "out", listing(60), recipe(Grow()))
    assert packed.resumed_shards == 0
    pack(tmp_path / "whole", listing(60), recipe(Grow()))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_damaged_note_costs_its_chunk(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KilledError):
        pack(out, listing(60), recipe(Grow()), engine=Shuffled(0, tasks=8 + 4, arrived=out))
    first, second, *_ = sorted((out / ".shardpack/tmp").glob("chunk-*.json"))
    first.write_bytes(first.read_bytes()[:20])
    second.write_text('{"input": "other"}')
    packed = pack(out, listing(60), recipe(Grow()))
    assert packed.resumed_shards == 2
    pack(tmp_path / "whole", listing(60), recipe(Grow()))
    assert contents(out) == contents(tmp_path / "whole")


def test_rejected_samples_are_listed(tmp_path):
    packed = pack(tmp_path, listing(9), recipe(Grow(fail="c/"), on_error="skip"), rejected=[("x.jpg", "no image")])
    assert [name for name, _ in packed.tally.rejected] == ["c/0002", "c/0005", "c/0008"]
    lines = (tmp_path / ".shardpack/rejected.jsonl").read_text().splitlines()
    assert len(lines) == 4
    assert "x.jpg" in lines[0]
    assert "made to fail" in lines[1]


def test_nothing_left_is_an_error_and_no_dataset(tmp_path):
    with pytest.raises(SourceError, match=r"no sample is left of 9: 9 dropped, 0 rejected; change the transform"):
        pack(tmp_path, listing(9), recipe(Grow(drop="/")))
    with pytest.raises(SourceError, match=r"0 dropped, 9 rejected, the first as made to fail"):
        pack(tmp_path, listing(9), recipe(Grow(fail="/"), on_error="skip"))
    with pytest.raises(SourceError, match=r"^the source has no samples; name one that has some$"):
        pack(tmp_path, listing(0), recipe(Grow()))
    assert not list(tmp_path.glob("*.tar"))
    assert not (tmp_path / ".shardpack/manifest.json").exists()


def test_a_key_in_two_chunks_is_an_error_and_no_dataset(tmp_path):
    found = inline_listing({f"{i:02d}": {"bin": b"x"} for i in range(10)})

    class OneName(Grow):
        def __call__(self, key, fields, _):
            return [("same" if key in {"01", "08"} else key, fields)]

    with pytest.raises(DuplicateKeyError, match=r"already in 'shard-000000-00\.tar'.*key='same'"):
        pack(tmp_path, found, recipe(OneName(), max_samples=3))
    assert not (tmp_path / ".shardpack/manifest.json").exists()


def test_progress_counts_the_bytes_of_the_source(tmp_path):
    found, seen = listing(60), []
    pack(tmp_path, found, recipe(Grow(0.1)), progress=lambda *now: seen.append(now))
    total = int(found.size.sum())
    assert seen[-1] == ("pack", total, total)
    assert all(a[1] <= b[1] for a, b in itertools.pairwise(seen))


def test_an_estimate_is_near_and_writes_nothing(tmp_path):
    found, made = listing(600), recipe(Grow(0.5, drop="7"), max_bytes=100_000)
    near = estimate(ListedInput(found), made, IN_PROCESS)
    packed = pack(tmp_path, found, made)
    assert near["num_shards"] == pytest.approx(len(packed.shards), abs=2)
    assert near["num_samples"] == pytest.approx(sum(info.num_samples for info in packed.shards), rel=0.1)
    assert near["num_bytes"] == pytest.approx(sum(info.num_bytes for info in packed.shards), rel=0.1)


def test_classes_survive(tmp_path):
    from dataclasses import replace

    pack(tmp_path, replace(listing(3), classes=("cat", "dog")), recipe(Grow()))
    assert shardpack.open(tmp_path).classes == ("cat", "dog")


def test_shards_are_as_full_as_planned(tmp_path):
    packed = pack(tmp_path, listing(300), recipe(Grow(0.5)))
    lengths = [info.num_bytes for info in packed.shards[:-1]]
    assert np.mean(lengths) > 0.75 * 20_000
    assert sum("-00.tar" not in info.name for info in packed.shards) < len(packed.shards) / 5


@pytest.mark.parametrize(
    "every", [pytest.param(5, marks=pytest.mark.subset), pytest.param(1, marks=pytest.mark.every_step)]
)
def test_a_bucket_gets_the_same_whenever_the_packer_is_killed(tmp_path, every):
    found, made = listing(20), recipe(Grow(1.5, drop="7", twice="b/"), max_samples=9)
    whole = pack(tmp_path / "whole", found, made)
    request = PackRequest()

    def run(store):
        target = BucketTarget(store, str(tmp_path / "work"))
        return pack_chunks(ListedInput(found), made, target, request, recorded={}, engine=IN_PROCESS)

    for step in itertools.count(1, every):
        store = WatchedStore()
        kill_at(store, step)
        try:
            run(store)
        except stores.KilledError:
            heal(store)
            if store.contents() == file_contents(tmp_path / "whole"):  # killed behind the last change
                continue
            assert run(store).tally == whole.tally
        else:
            assert step > 15  # the steps were seen
            break
        assert store.contents() == file_contents(tmp_path / "whole")
    assert store.contents() == file_contents(tmp_path / "whole")
