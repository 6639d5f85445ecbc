"""Parts of one plan: any order, any kill, at once or twice: the same bytes as one packer writes, and nothing else."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import shardpack
from shardpack.commit.open_target import target_of
from shardpack.errors import OptionError, OutputExistsError
from shardpack.format import layout
from shardpack.runtime.engine import IN_PROCESS
from shardpack.runtime.processes import WorkerPool
from shardpack.storage.local import LocalStore
from shardpack.write.pack_part import pack_part
from shardpack.write.pack_run import pack_plan, plan_shards
from shardpack.write.part import parse_part
from shardpack.write.request import PackRequest
from shardpack.write.sharding import ShardLimits
from tests.commit.stores import KilledError, WatchedStore
from tests.conftest import ROOT
from tests.fakes import contents, file_contents, inline_listing, write_files
from tests.write.test_kill import ALL, SOME, Zygote, zygote  # noqa: F401 - a fixture

SAMPLES = {f"a/{i:02d}": {"jpg": bytes([i]) * (100 + 300 * i), "json": b'{"label": %d}' % i} for i in range(7)}
LIMITS = ShardLimits(max_samples=2)  # 4 shards
OPTIONS = {"max_shard_samples": 2, "layout": "files", "jobs": 1}


def run(store, part, *, engine=IN_PROCESS, samples=SAMPLES, **recorded):
    """Make a part of the plan; return what is left."""
    plan = plan_shards(inline_listing(samples), LIMITS)
    target = target_of(store, shared=True)
    return pack_part(plan, target, PackRequest(), parse_part(part), recorded=recorded, engine=engine)


def found(store):
    return store.contents() if isinstance(store, WatchedStore) else contents(Path(store.folder))


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path):
    return LocalStore(str(tmp_path / "out")) if request.param == "folder" else WatchedStore()


@pytest.fixture(scope="module")
def whole_folder(tmp_path_factory):
    """Return what one packer makes."""
    out = tmp_path_factory.mktemp("whole") / "out"
    pack_plan(plan_shards(inline_listing(SAMPLES), LIMITS), target_of(LocalStore(str(out))), PackRequest(), recorded={})
    return contents(out)


@pytest.fixture
def whole_bucket(whole_folder):
    return {name: data for name, data in whole_folder.items() if data is not None}  # buckets know no folders


@pytest.fixture
def whole(store, whole_folder, whole_bucket):
    return whole_folder if isinstance(store, LocalStore) else whole_bucket


@pytest.fixture(scope="module")
def other_process():
    """Return an engine whose shards do not share memory with those of this process."""
    with WorkerPool(1) as pool:
        yield pool


@pytest.mark.parametrize("order", list(itertools.permutations(["1/3", "2/3", "3/3"])))
def test_the_part_that_finishes_last_publishes(store, whole, order):
    assert run(store, order[0]).missing_shards > 0
    assert run(store, order[1]).missing_shards > 0
    assert layout.MANIFEST_PATH not in found(store)
    assert run(store, order[2]).missing_shards == 0
    assert found(store) == whole


@pytest.mark.parametrize("parts", [["1/1"], ["1/9", "2/2", "1/2"], ["1/2", "1/1"], ["2/2", "2/2", "1/2"]])
def test_parts_of_any_counts_make_up_one_plan(store, whole, parts):
    *others, last = parts
    for part in others:
        assert run(store, part).missing_shards > 0
    assert run(store, last).missing_shards == 0
    assert found(store) == whole


@pytest.mark.parametrize("part", ["1/2", "2/2", "1/1"])
def test_a_part_after_the_last_finds_all_done(store, whole, part):
    run(store, "1/1")
    log = len(store.log) if isinstance(store, WatchedStore) else 0
    packed = run(store, part)
    assert (packed.missing_shards, packed.resumed_shards) == (0, 4)
    assert found(store) == whole
    if isinstance(store, WatchedStore):
        assert not [step for step in store.log[log:] if step[0] != "delete"]


def test_own_shards_are_not_made_twice(store):
    run(store, "1/2")
    assert run(store, "1/2").resumed_shards == 2


def at_step(store, number, action):
    """Take an action in the midst of the `number`-th change of the store; return a list that is empty if it was."""
    left = [number]

    def change(*_):
        left[:] = [left[0] - 1] if left else []
        if left == [0]:
            left.clear()
            action()

    store.before = change
    store.after = change
    return left


@pytest.mark.parametrize("others", [["2/2"], ["1/2"], ["1/2", "2/2"], ["2/2", "1/2"], ["1/1"]])
def test_other_parts_may_run_at_any_moment(whole_bucket, other_process, others):
    """Between any two steps of a part others run as a whole, the same part among them."""
    for number in itertools.count(1, 2):
        store = WatchedStore()
        step = at_step(store, number, lambda store=store: [run(store, part, engine=other_process) for part in others])
        first = run(store, "1/2")
        if step:  # it takes no more steps
            assert number > 15
            return
        if first.missing_shards:
            assert others == ["1/2"]
            assert run(store, "2/2").missing_shards == 0
        assert found(store) == whole_bucket, number


@pytest.mark.parametrize("publishes", [False, True])
def test_a_part_that_is_killed_in_a_bucket_is_started_again(whole_bucket, publishes):
    def die():
        raise KilledError

    for number in itertools.count(1):
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
        if not publishes:
            run(store, "2/2")
        assert run(store, "1/2").missing_shards == 0
        assert found(store) == whole_bucket, number


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("publishes", [False, True])
@pytest.mark.parametrize("every", [pytest.param(5, marks=SOME), pytest.param(1, marks=ALL)])
def test_a_part_that_is_killed_is_started_again(tmp_path, zygote, publishes, every):  # noqa: F811 - the fixture
    source = write_files(tmp_path / "source", SAMPLES)
    options = {name: value for name, value in OPTIONS.items() if name != "jobs"}
    one, two = ({"action": "pack", "options": {**options, "part": part}} for part in ("1/2", "2/2"))
    assert zygote.run({"action": "pack", "options": options}, source, tmp_path / "whole").get("error") is None
    whole = contents(tmp_path / "whole")
    for step in itertools.count(1, every):
        out = tmp_path / f"killed-{step}"
        if publishes:
            assert zygote.run(two, source, out) == {"killed": False, "resumed": 0}
        ended = zygote.run(one, source, out, kill_at=step)
        if not ended["killed"]:
            assert "error" not in ended
            assert step > 30
            return
        if not publishes:
            assert zygote.run(two, source, out).get("error") is None
        assert zygote.run(one, source, out).get("error") is None
        assert contents(out) == whole, step
        shutil.rmtree(out)


def started(source, out, part):
    command = [sys.executable, "-m", "shardpack", "pack", str(source), str(out), "--jobs", "1"]
    command += ["--max-shard-samples", "2", "--layout", "files", "--part", part]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_parts_at_once_in_processes(tmp_path):
    source = write_files(tmp_path / "source", SAMPLES)
    shardpack.pack(source, tmp_path / "whole", **OPTIONS)
    out = tmp_path / "out"
    parts = [started(source, out, part) for part in ("1/3", "2/3", "2/3", "3/3")]
    ended = [(process.communicate()[1], process.returncode) for process in parts]
    assert [code for _, code in ended] == [0] * 4, ended
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("seed", range(2))
def test_parts_at_once_that_are_killed_at_any_time(tmp_path, seed):
    """Each is started again until it ends by itself; whoever that is last has published."""
    when = random.Random(seed)
    source = write_files(tmp_path / "source", {f"{i:03d}": {"jpg": when.randbytes(3000)} for i in range(40)})
    shardpack.pack(source, tmp_path / "whole", **OPTIONS)
    out, left, running = tmp_path / "out", ["1/3", "2/3", "3/3"], {}
    for kills in range(8, -1, -1):
        running.update({part: started(source, out, part) for part in left if part not in running})
        if kills and running:
            time.sleep(when.random())
            victim = running[when.choice(sorted(running))]
            victim.kill()
            victim.wait()
        for part, process in list(running.items()):
            if kills and process.poll() is None:
                continue  # it works on
            said = process.communicate()[1]
            assert process.returncode in {0, -signal.SIGKILL}, said
            del running[part]
            if process.returncode == 0:
                left.remove(part)
    assert left == []
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"samples": {key: SAMPLES[key] for key in SAMPLES if key != "a/04"}}, "'a/04.jpg' is in it, but not in the"),
        ({"samples": {**SAMPLES, "a/035": {"jpg": b"1"}}}, "'a/035.jpg' is not in it"),
        ({"samples": {**SAMPLES, "a/99": {"jpg": b"1"}}}, "'a/99.jpg' is not in it"),
        ({"samples": {**SAMPLES, "a/05": {**SAMPLES["a/05"], "json": b"{}"}}}, "'a/05.json' has another size or time"),
        ({"options": {"shuffle_seed": 0, "rename_keys": True}}, "rename_keys is None in it, and True here"),
        ({"options": {"shuffle_seed": 1}}, "shuffle_seed is 0 in it, and 1 here"),
    ],
)
def test_a_part_of_another_plan_is_refused(store, changed, says):
    run(store, "1/2", options={"shuffle_seed": 0})
    with pytest.raises(OutputExistsError, match=r"the plan of the parts .* is another one: ") as caught:
        run(store, "2/2", **{"options": {"shuffle_seed": 0}, **changed})
    assert says in str(caught.value)
    assert run(store, "2/2", options={"shuffle_seed": 0}).missing_shards == 0


def test_another_order_is_another_plan(tmp_path):
    listing = inline_listing(SAMPLES)
    plans = [plan_shards(listing, LIMITS), plan_shards(listing.take(np.array([*range(5), 6, 5])), LIMITS)]
    out = LocalStore(str(tmp_path))
    pack_part(plans[0], target_of(out, shared=True), PackRequest(), parse_part("1/2"), recorded={})
    with pytest.raises(OutputExistsError, match=r"'a/06.jpg' is at another place in its order"):
        pack_part(plans[1], target_of(out, shared=True), PackRequest(), parse_part("2/2"), recorded={})


def test_machines_may_have_the_source_at_different_paths(tmp_path):
    source = write_files(tmp_path / "source", SAMPLES)
    shutil.copytree(source, tmp_path / "mounted elsewhere")  # with its times
    shardpack.pack(source, tmp_path / "whole", **OPTIONS)
    assert shardpack.pack(source, tmp_path / "out", part="2/2", **OPTIONS).missing_shards == 2
    assert shardpack.pack(tmp_path / "mounted elsewhere", tmp_path / "out", part="1/2", **OPTIONS).missing_shards == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_file_that_was_touched_is_named(tmp_path):
    source = write_files(tmp_path / "source", SAMPLES)
    shardpack.pack(source, tmp_path / "out", part="1/2", **OPTIONS)
    os.utime(source / "a/03.json", ns=(0, 0))
    with pytest.raises(OutputExistsError, match=r"'a/03.json' has another size or time here; give all parts the same"):
        shardpack.pack(source, tmp_path / "out", part="2/2", **OPTIONS)


def test_a_dataset_is_packed_in_parts(tmp_path):
    with shardpack.ShardWriter(tmp_path / "source") as writer:
        for key, fields in SAMPLES.items():
            writer.write(key, fields)
    ds = shardpack.open(tmp_path / "source")
    shardpack.pack(ds, tmp_path / "whole", max_shard_samples=2)
    shardpack.pack(ds, tmp_path / "out", max_shard_samples=2, part="2/2")
    shardpack.pack(ds, tmp_path / "out", max_shard_samples=2, part="1/2", jobs=2)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


class TestOtherWork:
    """Parts and other packers leave each other alone."""

    @pytest.fixture
    def source(self, tmp_path):
        return write_files(tmp_path / "source", SAMPLES)

    def test_pack_does_not_continue_parts(self, source, tmp_path):
        shardpack.pack(source, tmp_path / "out", part="1/2", **OPTIONS)
        before = contents(tmp_path / "out")
        with pytest.raises(
            OutputExistsError, match=r"unfinished; run its parts again: .* --part 1/1 makes all that is"
        ):
            shardpack.pack(source, tmp_path / "out", **OPTIONS)
        with pytest.raises(OutputExistsError, match="run its parts again"):
            shardpack.pack(source, tmp_path / "out", force=True, **OPTIONS)
        with pytest.raises(OutputExistsError, match="run its parts again"), shardpack.ShardWriter(tmp_path / "out"):
            pass
        assert contents(tmp_path / "out") == before

    def test_a_part_does_not_continue_pack(self, source, tmp_path):
        lease = tmp_path / "out" / layout.WORK_FOLDER / "lease.json"
        lease.parent.mkdir(parents=True)
        lease.write_text('{"command": "pack", "owner": "5f3a"}')
        with pytest.raises(OutputExistsError, match="unfinished; run the same pack command again"):
            shardpack.pack(source, tmp_path / "out", part="1/2", **OPTIONS)
        assert contents(tmp_path / "out")[f"{layout.WORK_FOLDER}/lease.json"] == lease.read_bytes()

    def test_another_dataset_is_not_replaced(self, source, tmp_path):
        shardpack.pack(source, tmp_path / "out", **{**OPTIONS, "max_shard_samples": 3})
        before = contents(tmp_path / "out")
        with pytest.raises(OutputExistsError, match="already holds a dataset"):
            shardpack.pack(source, tmp_path / "out", part="1/1", **OPTIONS)
        assert contents(tmp_path / "out") == before

    def test_strange_shards_are_not_overwritten(self, source, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out/shard-000001.tar").write_bytes(b"whose?")
        with pytest.raises(OutputExistsError, match="holds files that a dataset would overwrite"):
            shardpack.pack(source, tmp_path / "out", part="1/1", **OPTIONS)
        assert file_contents(tmp_path / "out") == {"shard-000001.tar": b"whose?"}

    def test_force_is_not_for_parts(self, source, tmp_path):
        with pytest.raises(OptionError, match="force is not for a part, which could delete what the other parts"):
            shardpack.pack(source, tmp_path / "out", part="1/2", force=True)

    def test_an_iterable_has_no_parts(self, tmp_path):
        with pytest.raises(OptionError, match="part is not for an iterable"):
            shardpack.pack(list(SAMPLES.items()), tmp_path / "out", part="1/2")
