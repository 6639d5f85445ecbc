"""What we write, read by tarfile, GNU tar, bsdtar and webdataset: names, sizes and payloads, in order."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from shardpack.format import tar_header as tar
from tests.conformance.recipes import CORPUS, GOLDEN_SAMPLES
from tests.conftest import judge
from tests.format.builders import judge_module
from tests.strategies import BOUNDARY_SIZES

GOLDEN = sorted((CORPUS / "golden").glob("*.tar"))
LONG = ["a" * 100, "a" * 101, "p" * 155 + "/" + "a" * 100, "p" * 156 + "/" + "a" * 96, "d/" * 150 + "a" * 104]
NAMES = ["a", "class/b", "~!@#$%^&()[]{};,+=", *LONG]


def members() -> list[tuple[str, bytes]]:
    sizes = [size for size in BOUNDARY_SIZES if size < 1 << 20]
    return [(f"{key[:-4]}{i}.jpg", bytes([i]) * size) for key in NAMES for i, size in enumerate(sizes)]


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    """A shard of boundary sizes under names of every kind."""
    path = tmp_path_factory.mktemp("ours") / "shard.tar"
    parts = [tar.header(name.encode(), len(p)) + p + bytes(-len(p) % tar.BLOCK) for name, p in members()]
    path.write_bytes(b"".join(parts) + tar.END_OF_ARCHIVE)
    return path


def golden_members() -> list[tuple[str, bytes]]:
    return [(f"{key}.{field}", fields[field]) for key, fields in GOLDEN_SAMPLES.items() for field in sorted(fields)]


def by_tarfile(path: Path, mode: str = "r:") -> list[tuple[str, bytes]]:
    with tarfile.open(path, mode) as archive:
        assert archive.errorlevel
        return [(member.name, archive.extractfile(member).read()) for member in archive]  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", ["r:", "r|"])
def test_tarfile(shard, mode):
    assert by_tarfile(shard, mode) == members()
    assert [member for path in GOLDEN for member in by_tarfile(path, mode)] == golden_members()


@pytest.mark.parametrize("program", ["tar", "bsdtar"])
def test_listing(shard, program):
    listed = subprocess.run([judge(program), "tf", shard], capture_output=True, text=True, check=True)
    assert (listed.stdout.splitlines(), listed.stderr) == ([name for name, _ in members()], "")


@pytest.mark.parametrize("program", ["tar", "bsdtar"])
def test_extraction(program, tmp_path):
    for path in GOLDEN:
        done = subprocess.run([judge(program), "xf", path, "-C", tmp_path], capture_output=True, text=True, check=True)
        assert done.stderr == ""
    found = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == dict(golden_members())
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()} <= {0o644, 0o600}


def test_webdataset(shard):
    judges = judge_module("webdataset.tariterators")

    def samples(path: Path) -> list[dict[str, object]]:
        files = ({**file, "__url__": "x"} for file in judges.tar_file_iterator(io.BytesIO(path.read_bytes())))
        return list(judges.group_by_keys(files))

    found = [{k: v for k, v in sample.items() if k != "__url__"} for path in GOLDEN for sample in samples(path)]
    assert found == [{"__key__": key, **fields} for key, fields in GOLDEN_SAMPLES.items()]
    assert [(f"{sample['__key__']}.jpg", sample["jpg"]) for sample in samples(shard)] == members()


@pytest.mark.slow
@pytest.mark.parametrize("size", [8**11 - 1, 8**11], ids=["8GiB-1", "8GiB"])
@pytest.mark.parametrize("program", ["tar", "bsdtar", "tarfile"])
def test_sizes_at_the_end_of_octal(size, program, tmp_path):
    path = tmp_path / "large.tar"
    with path.open("wb") as file:
        file.write(tar.header(b"a.bin", size))
        file.seek(tar.padded(size), 1)  # a hole, no bytes on the disk
        file.write(tar.header(b"b.bin", 1) + b"1".ljust(512, b"\0") + tar.END_OF_ARCHIVE)
    if program == "tarfile":
        with tarfile.open(path, "r:") as archive:
            assert [(member.name, member.size) for member in archive] == [("a.bin", size), ("b.bin", 1)]
        return
    listed = subprocess.run([judge(program), "tvf", path], capture_output=True, text=True, check=True)
    lines = [line.split() for line in listed.stdout.splitlines()]
    assert [line[-1] for line in lines] == ["a.bin", "b.bin"]
    assert str(size) in lines[0]
