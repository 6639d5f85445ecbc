"""Processes started by torchrun, gloo on loopback: equal counts, no hang, exact union, resumed at other world sizes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.edges.needs import many_workers, needs
from tests.read.datasets import numbered, write

needs("torch")
from tests.edges import ddp  # noqa: E402 - behind the check

pytestmark = [*many_workers, pytest.mark.slow]
SCRIPT = Path(__file__).with_name("ddp.py")
SAMPLES = numbered(53)  # neither 2 nor 4 divides it, nor does a batch


def torchrun(processes, *arguments, out):
    """Run the script in so many processes; return what each of them says, for each of its stops."""
    out.mkdir()
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*launch, str(SCRIPT), arguments[0], str(out), *map(str, arguments[1:])],
        env=environment,
        check=True,
        timeout=600,
        capture_output=True,
        text=True,
    )
    return [
        [json.loads((out / f"{stop}-{rank}.json").read_text()) for rank in range(processes)]
        for stop in arguments[3].split(",")
    ]


def keys(ranks):
    return [key for batches, _, _ in ranks for batch in batches for key in batch]


def global_batches(ranks):
    return [
        sorted(key for batch in step for key in batch)
        for step in zip(*(batches for batches, _, _ in ranks), strict=True)
    ]


def test_two_processes_stop_and_go_on_as_one_or_four(tmp_path):
    folder = str(write(tmp_path / "dataset", SAMPLES, max_shard_samples=20))  # fewer shards than processes
    whole, part = torchrun(2, folder, 4, 8, "0,3", out=tmp_path / "two")
    assert [length for _, length, _ in whole] == [27, 27]
    assert len({len(batches) for batches, _, _ in whole}) == 1
    assert set(keys(whole)) == set(SAMPLES)
    assert len(keys(whole)) == 54, "one is repeated, to be equal"

    assert global_batches(part) == global_batches(whole)[:3]
    states = [state for _, _, state in part]
    assert states[0] == states[1]
    (tmp_path / "state.json").write_text(json.dumps(states[1]))
    (four,) = torchrun(4, folder, 4, 8, "0", tmp_path / "state.json", out=tmp_path / "four")
    one = [ddp.share(folder, 4, 8, 0, states[1])]  # alone, no process group is needed
    for rest, repeated in ((one, 0), (four, 3)):
        assert global_batches(rest)[:-1] == global_batches(whole)[3:-1], "all steps but the last"
        found = Counter(keys(part)) + Counter(keys(rest))
        assert found.keys() == SAMPLES.keys()
        assert found.total() == 53 + repeated, "the last step has what is repeated"
        assert max(found[key] for key in keys(part)) == 1
