"""Run the command line: in this process to see what it prints, as a program to see how it behaves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import shardpack
from shardpack.cli.main import main
from tests.conftest import IMAGES, ROOT


class Done(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value that was printed."""
        return json.loads(self.out)


@pytest.fixture
def run(capsys):
    """Run a command in this process."""

    def run(*arguments: object) -> Done:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Done(code, *capsys.readouterr())

    return run


def program(*arguments: object, **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run a command as a user does; text unless `text=False`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **options.pop("env", {})}
    command = [sys.executable, "-m", "shardpack", *map(str, arguments)]
    given = {"capture_output": True, "text": True, "env": environment, **options}
    return subprocess.run(command, check=False, **given)


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    """Twelve real images in three class folders."""
    folder = tmp_path_factory.mktemp("source") / "photos"
    for name in ("dress", "hat", "t-shirt"):
        shutil.copytree(IMAGES / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def packed(images, tmp_path_factory) -> Path:
    """The images as a dataset of several shards; not to be changed."""
    out = tmp_path_factory.mktemp("packed") / "out"
    shardpack.pack(images, out, max_shard_bytes="64KiB", jobs=1)
    return out


@pytest.fixture
def dataset(packed, tmp_path) -> Path:
    """A copy that may be damaged."""
    return shutil.copytree(packed, tmp_path / "out")


@pytest.fixture(scope="session")
def odd(tmp_path_factory) -> Path:
    """A dataset with whatever a label may hold, and keys that look like options."""
    out = tmp_path_factory.mktemp("odd") / "out"
    with shardpack.ShardWriter(out) as writer:
        writer.write("-x", {"txt": "minus"})
        writer.write("broken", {"json": b"{", "cls": b"x", "bin": bytes(3000)})
        writer.write("nan", {"json": b'{"a": [NaN, 1e999, 1]}', "txt": "line one\nline two"})
        writer.write("long", {"json": {"words": ["word"] * 100}, "meta.json": [1]})
    return out
