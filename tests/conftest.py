"""Builders for tests: real images made in code, and outside programs as judges."""

from __future__ import annotations

import collections
import functools
import importlib
import io
import os
import shutil
import signal
import threading
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

from tests.servers.fixtures import azurite_server, nginx_for_class, nginx_server, proxy, s3_server  # noqa: F401 - for every folder

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "examples" / "images"

# Chosen by pytest's `--hypothesis-profile`; `examples` of tests/strategies.py makes every property follow it.
# "ci" tries the same examples each time, so that a run tells of the change alone; the others look for new ones.
for profile, count in (("shardpack", 100), ("smoke", 5), ("ci", 25), ("nightly", 500)):
    settings.register_profile(
        profile,
        max_examples=count,
        deadline=None,  # the first example pays for imports
        suppress_health_check=[HealthCheck.too_slow],  # of a busy machine
        derandomize=profile in ("smoke", "ci"),
    )
settings.load_profile("shardpack")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for jobs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # processes that tests start would ignore Ctrl-C, too


SERVERS = {"azurite_server", "nginx_for_class", "nginx_server", "s3_server"}


def pytest_addoption(parser):
    parser.addoption(
        "--cases",
        type=int,
        metavar="N",
        help="run at most N cases of a parametrised test, unless it is marked every_case",
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config, items):
    for item in items:
        if not SERVERS.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("servers")
    yield  # what is asked for by markers and names is chosen here
    if (most := config.getoption("cases")) is not None:
        kept = _first_cases(items, most)
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = [item for item in items if item in kept]


def _first_cases(items, most):
    """Return the first cases of each test, and all that are marked `every_case`."""
    counts = collections.Counter()
    kept = set()
    for item in items:
        test = item.nodeid.partition("[")[0]
        counts[test] += 1
        if counts[test] <= most or item.get_closest_marker("every_case"):
            kept.add(item)
    return kept


@pytest.fixture(scope="session", autouse=True)
def no_power_cut():
    """Sync nothing in this process, on any disk: no test cuts the power. Processes that tests start do sync."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: os.fstat(descriptor) and None)  # an error if it is not open
        patch.setattr(os, "sync", lambda: None, raising=False)
        yield


@functools.cache
def make_jpeg(width: int = 32, height: int = 24, seed: int = 0) -> bytes:
    """Return a real JPEG of this size; equal arguments give equal bytes in one run."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def image_folder(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), per_class: int = 3) -> Path:
    """Fill `folder` with class folders, `cat/0000.jpg` and so on, all different; return it."""
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(per_class):
            (folder / name / f"{i:04d}.jpg").write_bytes(make_jpeg(seed=number * per_class + i))
    return folder


@pytest.fixture
def cancelled(monkeypatch):
    """An event: a pool has cancelled what has not begun, and begins to join its threads."""
    event, join = threading.Event(), threading.Thread.join

    def joins(thread, timeout=None):
        if thread.name.startswith("shardpack-"):
            event.set()
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", joins)
    return event


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """Two hundred photographs with labels of every kind, in two splits; not to be changed."""
    from tests.photographs import write_photographs

    return write_photographs(tmp_path_factory.mktemp("photographs") / "out")


def judge(program: str) -> str:
    """Return the path of an outside program that judges our bytes, such as "bsdtar".

    Without it the test is skipped by name, or fails where SHARDPACK_REQUIRE_JUDGES is set.
    """
    path = shutil.which(program)
    if path is not None:
        return path
    reason = f"{program} is not installed"
    if os.environ.get("SHARDPACK_REQUIRE_JUDGES"):
        pytest.fail(reason + ", and SHARDPACK_REQUIRE_JUDGES is set", pytrace=False)
    pytest.skip(reason)


def reader(name: str) -> ModuleType:
    """Return an installed package that reads what we write, such as "pandas".

    Without it the test is skipped by name, or fails where SHARDPACK_REQUIRE_READERS is set.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs
            return importlib.import_module(name)
    except ImportError as error:
        reason = f"{name} is not installed; tools/test --readers brings it"
        if os.environ.get("SHARDPACK_REQUIRE_READERS"):
            raise RuntimeError(f"{reason}, and SHARDPACK_REQUIRE_READERS is set") from error
        pytest.skip(reason)
