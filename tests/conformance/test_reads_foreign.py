"""Tars of other tools: members as Python's tarfile sees them, samples as webdataset groups them."""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shardpack.errors import CorruptShardError
from shardpack.format.naming import split_name
from shardpack.index.full_scan import TarFile, scan_whole
from shardpack.index.grouping import DEFAULT_IGNORE
from tests.conformance.recipes import CORPUS, FILES, FOREIGN, LONG_FILES, PREFIX_FILES, UTF8_FILES, tar_members
from tests.format.builders import judge_module, parse
from tests.strategies import chunked, tricky_names

STORED = sorted((CORPUS / "foreign").glob("*.tar"), key=lambda path: path.stem)


def same_as_tarfile(data: bytes) -> list[str]:
    expected = tar_members(data)
    for lengths in ([len(data)], [1000], [512, 1]):
        members, end_of_data, finished = parse(chunked(data, lengths))
        assert [(m.name, m.member_offset, m.data_offset, m.size, payload) for m, payload in members] == expected
        assert finished
        assert data[end_of_data:] == bytes(len(data) - end_of_data)
    return [name for name, *_ in expected]


def webdataset_samples(data: bytes) -> list[dict[str, object]]:
    judge = judge_module("webdataset.tariterators")
    files = ({**file, "__url__": "x"} for file in judge.tar_file_iterator(io.BytesIO(data)))
    return [
        {name: value for name, value in sample.items() if name != "__url__"} for sample in judge.group_by_keys(files)
    ]


def samples_of_index(path: Path) -> list[dict[str, object]]:
    index, data = scan_whole(TarFile(str(path.parent), path.name, DEFAULT_IGNORE)).index, path.read_bytes()
    samples: list[dict[str, object]] = []
    for row, key in enumerate(index.keys()):
        sample: dict[str, object] = {"__key__": key}
        for member in index.members(row):
            start = int(index.data_offset[member])
            sample[index.field_of(member)] = data[start : start + int(index.size[member])]
        samples.append(sample)
    return samples


def test_every_recipe_is_stored():
    assert [path.stem for path in STORED] == sorted(FOREIGN)


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_stored_members(path):
    names = same_as_tarfile(path.read_bytes())
    if path.stem.startswith("webdataset"):
        assert names == [f"class/{i:04d}.{field}" for i in range(3) for field in ("jpg", "json")]
        return
    kept = {name.removeprefix("./") for name in names}
    assert kept >= FILES.keys() - {"a.jpg"}  # which of two hard links is the file is up to the tool
    assert kept & {"a.jpg", "same.jpg"}
    if path.stem in ("gnu-gnu", "gnu-oldgnu", "gnu-pax", "bsdtar-pax", "bsdtar-gnutar", "python-gnu", "python-pax"):
        assert kept >= {*UTF8_FILES, *PREFIX_FILES, *LONG_FILES}
    if path.stem.endswith("ustar"):
        assert kept >= {*UTF8_FILES, *PREFIX_FILES}


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_stored_samples_are_webdataset_s(path):
    assert samples_of_index(path) == webdataset_samples(path.read_bytes())


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_stored_names_are_grouped_by_the_text_of_the_spec(path):
    cuts = [split_name(name) for name, *_ in tar_members(path.read_bytes())]
    keys = [cut[0] for cut in cuts if cut is not None]
    runs = [key for i, key in enumerate(keys) if i == 0 or key != keys[i - 1]]
    assert [sample["__key__"] for sample in samples_of_index(path)] == runs


@given(st.lists(st.tuples(tricky_names(), st.binary(max_size=4)), max_size=8))
@example([("a.jpg", b"1"), ("b.jpg", b"2"), ("a.cls", b"3")])
@example([("a.jpg", b"1"), ("noext", b"2"), ("a.cls", b"3")])
@example([("a.jpg", b"1"), ("__x__/y.jpg", b"2"), ("a.JSON", b"3")])
@example([("a.jpg", b"1"), ("a.JPG", b"2")])
def test_any_names_make_the_samples_of_webdataset_or_an_error_of_both(members):
    members = [(name, payload) for name, payload in members if "\0" not in name and not name.endswith("/")]
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8") as archive:
        for name, payload in members:
            info = tarfile.TarInfo(name)
            info.size = len(payload)
            archive.addfile(info, io.BytesIO(payload))
    try:
        expected: object = webdataset_samples(file.getvalue()) or CorruptShardError  # no samples: refused by us
    except ValueError:  # a field twice
        expected = CorruptShardError
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.tar"
        path.write_bytes(file.getvalue())
        try:
            found: object = samples_of_index(path)
        except CorruptShardError:
            found = CorruptShardError
    assert found == expected


@pytest.mark.parametrize("name", FOREIGN)
def test_members_as_the_tool_here_writes_them(name, tmp_path):
    (tmp_path / "tree").mkdir()
    FOREIGN[name](tmp_path / "tree", tmp_path / "x.tar")
    assert same_as_tarfile((tmp_path / "x.tar").read_bytes())
