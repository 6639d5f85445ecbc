"""What users get: the package, its types and its specification, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = folder.glob("shardpack-*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_wheel_holds_exactly_the_package(wheel):
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    package = ROOT / "shardpack"
    kept = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert names == {path.relative_to(ROOT).as_posix() for path in kept}
    assert {"shardpack/py.typed", "shardpack/format/SPEC.md"} <= names


def test_metadata_says_what_is_needed(wheel):
    (path,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    lines = wheel.read(path).decode().splitlines()
    needed = {
        line.removeprefix("Requires-Dist: ").split(">")[0]
        for line in lines
        if "Requires-Dist" in line and ";" not in line
    }
    assert needed == {"click", "cloudpickle", "crc32c", "numpy", "pillow", "rich", "xxhash"}
    assert "Requires-Python: >=3.10" in lines
    assert {
        "Provides-Extra: cloud",
        "Provides-Extra: parquet",
        "Provides-Extra: torch",
        "Provides-Extra: webdataset",
    } <= set(lines)


def test_licence_and_command_are_in(wheel):
    names = wheel.namelist()
    assert any(name.endswith("LICENSE") and ".dist-info/" in name for name in names)
    (path,) = [name for name in names if name.endswith("entry_points.txt")]
    assert "shardpack=shardpack.__main__:run" in wheel.read(path).decode().replace(" ", "")
