"""A dataset lives: random sequences of edits, kills and reopening, against a plain dict as the model.

The machine runs in a folder, where layers and merged datasets lie beside it, in a store in memory, where any change of
the store may be the last one before a kill, and in a bucket.
"""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import shardpack
from shardpack.errors import DuplicateKeyError, ShardpackError, UnknownKeyError
from shardpack.format.layout import MANIFEST_PATH, file_path, manifest_path
from shardpack.storage.open import open_store
from tests.commit.stores import KilledError, WatchedStore, heal, kill_at

NUMBERS = itertools.count()
Fields = dict[str, Any]  # field -> payload; of json: the value
KEYS = [f"{letter}/{number}" for letter in "abc" for number in range(4)]
LABELS = st.builds(
    lambda label, n: {"label": label, "class": ("cat", "dog")[label], "n": n}, st.integers(0, 1), st.integers(0, 9)
)
SAMPLES = st.dictionaries(st.sampled_from(KEYS), st.tuples(st.binary(max_size=40), LABELS), min_size=1, max_size=4)
OPTIONS = {"max_shard_samples": 2}


@dataclass
class Model:
    """What a generation shows: samples in their order, what layers say of them, and the split of each key in one.

    A layer speaks of samples by number: a sample that comes back under the key of a deleted one is another.
    """

    samples: dict[str, Fields] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    layers: list[dict[int, Fields]] = field(default_factory=list)
    split_of: dict[str, str] = field(default_factory=dict)
    has_splits: bool = False

    def copy(self) -> Model:
        return deepcopy(self)

    def add(self, samples: dict[str, Fields]) -> None:
        for key, fields in samples.items():
            self.samples[key], self.numbers[key] = fields, next(NUMBERS)

    def drop(self, key: str) -> None:
        del self.samples[key], self.numbers[key]
        self.split_of.pop(key, None)

    def attach(self, layer: dict[str, Fields]) -> None:
        """Add a layer; earlier ones of which nothing is visible any more are left out."""
        new = {self.numbers[key]: fields for key, fields in layer.items()}
        (name,) = {name for fields in new.values() for name in fields}
        self.layers = [
            old for old in self.layers if {name} != {one for f in old.values() for one in f} or old.keys() - new.keys()
        ]
        self.layers.append(new)

    def visible(self) -> dict[str, Fields]:
        """Return the samples with what their layers say."""
        shown = {key: dict(fields) for key, fields in self.samples.items()}
        for key, number in self.numbers.items():
            for layer in self.layers:
                shown[key].update(layer.get(number, {}))
        return shown


def stored(samples: dict[str, Any]) -> list[tuple[str, Fields]]:
    return [(key, {"bin": data, "json": json.dumps(label).encode()}) for key, (data, label) in samples.items()]


def modelled(samples: dict[str, Any]) -> dict[str, Fields]:
    return {key: {"bin": data, "json": label} for key, (data, label) in samples.items()}


def read(location: Any, **options: Any) -> dict[str, Fields]:
    """Return all samples of a dataset by reading them in each of the ways that there are, which must agree."""
    with shardpack.open(location, **options) as ds:
        streamed = list(ds.stream())
        assert [sample.position for sample in streamed] == list(range(len(ds)))
        assert [sample.key for sample in streamed] == list(ds.keys())
        assert [dict(sample) for sample in ds.get_many(range(len(ds)))] == [dict(sample) for sample in streamed]
        for sample in streamed:
            assert dict(ds[sample.key]) == dict(sample) == dict(ds[sample.position])
        assert sorted(sample.key for sample in ds.stream(shuffle="blocks", seed=1)) == sorted(ds.keys())
        return {sample.key: {"bin": sample["bin"], **_decoded(sample)} for sample in streamed}


def _decoded(sample: Any) -> Fields:
    return {name: sample.decode(name) for name in sample if name != "bin"}


class Life(RuleBasedStateMachine):
    """What both machines share. `where` is what edits and `open` take."""

    where: Any

    @initialize(samples=SAMPLES)
    def pack(self, samples: dict[str, Any]) -> None:
        self.begin()
        shardpack.pack(stored(samples), self.where, classes=["cat", "dog"], **OPTIONS)
        self.now = Model()
        self.now.add(modelled(samples))
        self.kept = {1: self.now.copy()}

    def begin(self) -> None:
        raise NotImplementedError

    def edit(self, after: Model, run: Callable[[], Any]) -> None:
        """Run an edit that makes a model of this one."""
        run()
        self.ended(after)

    def ended(self, after: Model, *, most: int = 1) -> None:
        """Note the generation that an edit made; `most` may be there, if it was run again."""
        self.now = after
        with shardpack.open(self.where) as ds:
            new = range(max(self.kept) + 1, ds.manifest.generation + 1)
        assert 1 <= len(new) <= most
        self.kept.update({number: after.copy() for number in new})

    # Edits

    @rule(samples=SAMPLES, replace=st.booleans())
    def append(self, samples: dict[str, Any], replace: bool) -> None:
        options = {**OPTIONS, **({"on_duplicate": "replace"} if replace else {})}

        def run() -> Any:
            return shardpack.append(stored(samples), self.where, **options)

        again = samples.keys() & self.now.samples.keys()
        if again and not replace:
            with pytest.raises(DuplicateKeyError):
                run()
            return
        after = self.now.copy()
        for key in again:
            after.drop(key)
        after.add(modelled(samples))
        self.edit(after, run)

    @precondition(lambda self: self.now.samples)
    @rule(data=st.data())
    def delete(self, data: Any) -> None:
        keys = data.draw(st.lists(st.sampled_from(list(self.now.samples)), min_size=1, max_size=3, unique=True))
        after = self.now.copy()
        for key in keys:
            after.drop(key)
        self.edit(after, lambda: shardpack.delete(self.where, keys))

    @rule(key=st.sampled_from(KEYS))
    def delete_what_is_not_there(self, key: str) -> None:
        if key not in self.now.samples:
            with pytest.raises(UnknownKeyError):
                shardpack.delete(self.where, [key])

    @precondition(lambda self: self.now.samples)
    @rule(data=st.data(), update=st.booleans())
    def relabel(self, data: Any, update: bool) -> None:
        labels = data.draw(st.dictionaries(st.sampled_from(list(self.now.samples)), LABELS, min_size=1, max_size=3))
        before, after = self.now.visible(), self.now.copy()
        if update:
            labels = {key: {"n": label["n"]} for key, label in labels.items()}
        new = {key: {**before[key]["json"], **label} if update else label for key, label in labels.items()}
        after.attach({key: {"json": label} for key, label in new.items()})
        self.edit(after, lambda: shardpack.relabel(self.where, labels, update=update))

    @precondition(lambda self: self.now.layers)
    @rule()
    def detach(self) -> None:
        after = self.now.copy()
        after.layers.pop()
        self.edit(after, lambda: shardpack.detach(self.where, layer=len(after.layers)))

    @precondition(lambda self: len(self.now.samples) > 1)
    @rule(seed=st.integers(0, 3))
    def split(self, seed: int) -> None:
        after = self.now.copy()
        after.has_splits, after.split_of = True, {}
        options = {"fraction": {"train": 0.5, "val": 0.5}, "seed": seed, "force": True}
        self.edit(after, lambda: shardpack.split(self.where, **options))

    @rule(keep=st.integers(1, 3))
    def gc(self, keep: int) -> None:
        shardpack.gc(self.where, keep=keep, older_than=0)
        self.kept = dict(sorted(self.kept.items())[-keep:])

    # What must hold

    @invariant()
    def shows_what_the_model_says(self) -> None:
        if not hasattr(self, "now"):
            return
        shown = self.now.visible()
        found = read(self.where)
        assert list(found) == list(shown)
        assert found == shown
        with shardpack.open(self.where) as ds:
            names = {key: name for name in ds.splits for key in list(ds.split(name).keys())}
            assert sum(ds.splits.values()) == len(names)
            assert (names.keys() == shown.keys()) if self.now.has_splits and shown else not names
            for key, name in self.now.split_of.items():
                assert names[key] == name  # also after an append
            self.now.split_of = names
            self.kept[max(self.kept)].split_of = dict(names)

    @invariant()
    def earlier_generations_are_as_they_were(self) -> None:
        if hasattr(self, "now"):
            number = min(self.kept)
            assert read(self.where, generation=number) == self.kept[number].visible()

    @invariant()
    def is_sound(self) -> None:
        if hasattr(self, "now"):
            report = shardpack.verify(self.where, full=True)
            assert {problem.kind for problem in report.problems} <= {"unfinished"}, report


class LifeInAFolder(Life):
    """In a folder, with other datasets beside it."""

    def begin(self) -> None:
        self.top = Path(tempfile.mkdtemp(prefix="shardpack-life-"))
        self.numbers = iter(range(1000))
        self.where = str(self.top / "ds")

    def teardown(self) -> None:
        if hasattr(self, "top"):
            shutil.rmtree(self.top)

    def beside(self) -> str:
        return str(self.top / f"other-{next(self.numbers)}")

    @precondition(lambda self: self.now.samples)
    @rule(data=st.data())
    def attach(self, data: Any) -> None:
        texts = data.draw(st.dictionaries(st.sampled_from(list(self.now.samples)), st.text("xyz"), min_size=1))
        other = self.beside()
        shardpack.pack([(key, {"txt": text.encode()}) for key, text in texts.items()], other, **OPTIONS)
        after = self.now.copy()
        after.attach({key: {"txt": text} for key, text in texts.items()})
        self.edit(after, lambda: shardpack.attach(self.where, other))

    @rule()
    def fold(self) -> None:
        """Pack what is visible: a dataset without history, that the machine goes on with."""
        if not self.now.samples:
            return
        out = self.beside()
        shardpack.pack(shardpack.open(self.where), out, **OPTIONS)
        after = self.now.copy()
        with shardpack.open(out) as ds:  # the samples of a split are packed together
            keys = list(ds.keys()) if after.has_splits else list(after.samples)
        shown, after.layers = after.visible(), []
        after.samples = {key: shown[key] for key in keys}
        self.moved(out, after, {1: after.copy()})

    @rule()
    def copy(self) -> None:
        out = self.beside()
        shardpack.copy(self.where, out)
        number = max(self.kept)
        self.moved(out, self.now.copy(), {number: self.now.copy()})

    def moved(self, where: str, now: Model, kept: dict[int, Model]) -> None:
        self.where, self.now, self.kept = where, now, kept

    @precondition(lambda self: self.now.samples and not self.now.has_splits)
    @rule(samples=SAMPLES, relabelled=st.none() | LABELS)
    def merge(self, samples: dict[str, Any], relabelled: dict[str, Any] | None) -> None:
        if samples.keys() & self.now.samples.keys():
            return
        other, out = self.beside(), self.beside()
        shardpack.pack(stored(samples), other, classes=["cat", "dog"], **OPTIONS)
        after = self.now.copy()
        after.add(modelled(samples))
        if relabelled is not None:
            key = min(samples)
            shardpack.relabel(other, {key: relabelled})
            after.layers.append({after.numbers[key]: {"json": relabelled}})
        shardpack.merge([self.where, other], out)
        self.moved(out, after, {1: after.copy()})

    @rule(data=st.data())
    def lose_a_sidecar(self, data: Any) -> None:
        """Repair makes it again, whichever tars it tells of."""
        with shardpack.open(self.where) as ds:
            names = [MANIFEST_PATH, manifest_path(ds.manifest.generation), *map(file_path, ds.manifest.key_segments)]
            names += [info.index_path for info in ds.shards]
        lost = Path(self.where, data.draw(st.sampled_from(sorted(names))))
        before = lost.read_bytes()
        lost.unlink()
        report = shardpack.repair(self.where)
        assert (report.lost, len(report.written)) == ((), 1)
        assert lost.read_bytes() == before

    @precondition(lambda self: len(self.now.samples) > OPTIONS["max_shard_samples"])
    @rule(data=st.data())
    def break_a_tar(self, data: Any) -> None:
        """Its whole samples are saved, with what layers and splits say of them; then the dataset is folded."""
        with shardpack.open(self.where) as ds:
            shard_of = {key: ds.locate(key).shard for key in ds.keys()}  # noqa: SIM118 - no dict
        own = sorted(name for name in set(shard_of.values()) if Path(self.where, name).exists())
        if not own:
            return
        tar = Path(self.where, data.draw(st.sampled_from(own)))
        tar.write_bytes(tar.read_bytes()[:-1500])
        shardpack.repair(self.where)
        in_tar = [key for key, name in shard_of.items() if name == tar.name]
        with shardpack.open(self.where) as ds:
            saved = [key for key in in_tar if key in ds]
        assert saved == in_tar[: len(saved)]
        after = self.now.copy()
        for key in in_tar:
            if key in saved:
                after.samples[key] = after.samples.pop(key)
            else:
                after.drop(key)
        self.now, self.kept = after, {}
        assert read(self.where) == after.visible()
        self.fold()


class LifeInMemory(Life):
    """In a store in memory, where an edit may be killed at any change of the store, and is then run again."""

    def begin(self) -> None:
        self.store = WatchedStore()
        self.where = self.store.url
        self.step = 0

    @rule(step=st.integers(1, 12))
    def kill_the_next_edit(self, step: int) -> None:
        self.step = step

    def edit(self, after: Model, run: Callable[[], Any]) -> None:
        step, self.step = self.step, 0
        if not step:
            super().edit(after, run)
            return
        kill_at(self.store, step)
        with suppress(KilledError):
            run()
        heal(self.store)
        assert read(self.where) in (self.now.visible(), after.visible())
        with suppress(ShardpackError):  # that nothing is left to do
            run()
        assert read(self.where) == after.visible()
        self.ended(after, most=2)  # killed when all was done, it did the same once more


class LifeInABucket(Life):
    """In a real bucket; `new_place` returns a store that is empty."""

    new_place: ClassVar[Callable[[], Any]]

    def begin(self) -> None:
        self.where = type(self).new_place()


SETTINGS = settings(stateful_step_count=8, deadline=None, max_examples=12, phases=[Phase.explicit, Phase.generate])
TestLifeInAFolder = LifeInAFolder.TestCase
TestLifeInAFolder.settings = SETTINGS
TestLifeInMemory = LifeInMemory.TestCase
TestLifeInMemory.settings = SETTINGS


@pytest.mark.slow
def test_life_in_a_bucket(s3_server):
    pytest.importorskip("obstore")
    options = s3_server.options()
    LifeInABucket.new_place = lambda: open_store(f"s3://{s3_server.new_bucket()}/ds", options)
    run_state_machine_as_test(LifeInABucket, settings=settings(SETTINGS, max_examples=6))
