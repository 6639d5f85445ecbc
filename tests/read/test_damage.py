"""Damaged, missing and mixed-up files: an error that names shard and way out, never wrong bytes, never a crash."""

from __future__ import annotations

import os
import shutil

import pytest

import shardpack
from shardpack.dataset import open_dataset
from shardpack.errors import (
    CorruptIndexError,
    CorruptManifestError,
    CorruptShardError,
    DatasetNotFoundError,
    OptionError,
    ShardNotFoundError,
    ShardpackError,
    StaleIndexError,
    StorageError,
    UnsupportedVersionError,
)
from shardpack.format.tar_header import BLOCK
from shardpack.storage.local import LocalStore
from tests.read.damage import errors_of_reading, flip, regions
from tests.read.datasets import numbered, write
from tests.sidecars import key_index

SAMPLES = {**numbered(7, size=700), "last": {"json": b"{}"}, "no/bytes": {"bin": b"", "txt": b"x" * 512}}
SHARDS = [f"shard-{number:06d}.tar" for number in range(3)]
INDEXES = [f".shardpack/index/shard-{number:06d}.index" for number in range(3)]
KEYS = "keys"  # in parameters: the name of the file holds its checksum
BOTH = pytest.mark.parametrize("verify", [False, True], ids=["unchecked", "checked"])


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return write(tmp_path_factory.mktemp("original"), SAMPLES, max_shard_samples=3)


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "damaged")


def named(folder, name):
    """The path of a file in a dataset."""
    return str(key_index(folder).relative_to(folder)) if name == KEYS else name


def reported(folder, *, full):
    return shardpack.verify(folder, full=full, jobs=1).problems


def test_undamaged_it_reads(folder):
    for verify in (False, True):
        assert errors_of_reading(folder, SAMPLES, verify=verify) == []
    assert reported(folder, full=False) == reported(folder, full=True) == ()


@BOTH
@pytest.mark.parametrize(
    ("name", "error"),
    [
        (".shardpack/manifest.json", DatasetNotFoundError),
        (KEYS, ShardNotFoundError),
        *((name, ShardNotFoundError) for name in SHARDS[:2] + INDEXES[:2]),
    ],
)
def test_a_missing_file(folder, name, error, verify):
    name = named(folder, name)
    (folder / name).unlink()
    errors = errors_of_reading(folder, SAMPLES, verify=verify)
    assert {type(found) for found in errors} == {error}
    assert isinstance(errors[0], FileNotFoundError)
    if name != ".shardpack/manifest.json":
        assert {found.path or found.shard for found in errors} == {name}
        for full in (False, True):
            (problem,) = reported(folder, full=full)
            assert (problem.kind, problem.shard) == ("missing", name)


@BOTH
@pytest.mark.parametrize("name", [".shardpack/manifest.json", KEYS, SHARDS[0], SHARDS[2], INDEXES[0], INDEXES[2]])
def test_a_truncated_file(folder, name, verify):
    path = named(folder, name)
    whole = (folder / path).read_bytes()
    allowed = {
        ".shardpack/manifest.json": {CorruptManifestError},
        KEYS: {CorruptIndexError},
        SHARDS[0]: {StaleIndexError, CorruptShardError},
        SHARDS[2]: {StaleIndexError, CorruptShardError},
        INDEXES[0]: {CorruptIndexError},
        INDEXES[2]: {CorruptIndexError},
    }[name]
    for length in {0, 1, 7, 8, 9, 511, 512, 513, len(whole) // 2, len(whole) - 1024, len(whole) - 512, len(whole) - 1}:
        if not 0 <= length < len(whole):
            continue
        (folder / path).write_bytes(whole[:length])
        errors = errors_of_reading(folder, SAMPLES, verify=verify)
        assert {type(found) for found in errors} <= allowed, length
        # Checked reads look at payloads only: what lies behind the last of them may be missing.
        assert errors or (verify and name in SHARDS and length >= len(whole) - 1536)
        if name != ".shardpack/manifest.json":
            assert {found.path or found.shard for found in errors} <= {path}
        for full in (False, True):
            problems = reported(folder, full=full)
            assert {problem.shard for problem in problems} == {path}
            assert {problem.kind for problem in problems} <= {"damaged", "stale"}


@BOTH
def test_a_file_that_grew(folder, verify):
    names = {SHARDS[0], INDEXES[1], named(folder, KEYS)}
    for name in names:
        with open(folder / name, "ab") as file:
            file.write(bytes(512))
    errors = errors_of_reading(folder, SAMPLES, verify=verify)
    assert {type(found) for found in errors} == (
        {CorruptIndexError} if verify else {StaleIndexError, CorruptIndexError}
    )
    assert {problem.shard for problem in reported(folder, full=False)} == names


@BOTH
def test_a_flipped_bit_in_every_region_of_an_index(folder, original, verify):
    for region, (begin, end) in regions(folder / INDEXES[1]).items():
        for at in {begin, (begin + end) // 2, end - 1}:
            flip(folder / INDEXES[1], at, bit=at % 8)
            errors = errors_of_reading(folder, SAMPLES, verify=verify)
            assert {(type(found), found.path) for found in errors} == {(CorruptIndexError, INDEXES[1])}, region
            (problem,) = reported(folder, full=False)
            assert (problem.kind, problem.shard) == ("damaged", INDEXES[1])
            shutil.copy(original / INDEXES[1], folder / INDEXES[1])


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_flipped_bits_in_the_key_index(folder, original, step):
    """No byte of it may turn a key into another sample, or into one that is not there."""
    path = named(folder, KEYS)
    for at in range(0, (folder / path).stat().st_size, step):
        flip(folder / path, at, bit=at % 7)
        ds = shardpack.open(folder)
        for key in SAMPLES:
            with pytest.raises((CorruptIndexError, UnsupportedVersionError)) as caught:
                ds.position_of(key)
            assert caught.value.path == path
        (problem,) = reported(folder, full=False)
        assert (problem.kind, problem.shard) == ("damaged", path)
        shutil.copy(original / path, folder / path)


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_flipped_bits_in_the_manifest(folder, original, step):
    """Whatever changes there, the bytes of samples are right or refused."""
    for at in range(0, (folder / ".shardpack/manifest.json").stat().st_size, step):
        flip(folder / ".shardpack/manifest.json", at, bit=at % 7)
        for found in errors_of_reading(folder, SAMPLES, verify=False):
            assert isinstance(found, ShardpackError)
        shutil.copy(original / ".shardpack/manifest.json", folder)


def _spans(folder, number):
    entries = [entry for entry in shardpack.open(folder).entries() if entry.shard == SHARDS[number]]
    return [(entry.key, field, span) for entry in entries for field, span in entry.fields.items()]


def test_flipped_bits_in_payloads(folder, original):
    """Unchecked local reads see them in the first and last sample of a shard; others and the full verification all."""
    for key, field, span in [span for number in range(3) for span in _spans(original, number) if span[2].size]:
        (shard,) = [entry.shard for entry in shardpack.open(original).entries() if entry.key == key]
        for at in {span.offset, span.offset + span.size - 1}:
            flip(folder / shard, at, bit=at % 8)
            ds = shardpack.open(folder, verify=True)
            for read in (lambda: ds[key], lambda: ds.get_many([key]), lambda: list(ds), lambda: list(ds.select([key]))):  # noqa: B023
                with pytest.raises(
                    CorruptShardError, match=f'field {field!r} is damaged.*"shardpack verify --full"'
                ) as found:
                    read()
                assert (found.value.shard, found.value.key, found.value.offset) == (shard, key, span.offset)
            assert reported(folder, full=False) == ()
            (problem,) = reported(folder, full=True)
            assert (problem.kind, problem.shard, problem.key) == ("damaged", shard, key)
            assert problem.offset == span.offset
            assert repr(field) in problem.message
            shutil.copy(original / shard, folder)


def test_flipped_bits_in_tar_headers_and_padding(folder, original):
    """They touch no payload, so reads may go on; the full verification finds every one."""
    size = (original / SHARDS[2]).stat().st_size
    payload = {at for _, _, span in _spans(original, 2) for at in range(span.offset, span.offset + span.size)}
    for at in sorted(set(range(0, size, 97)) - payload):
        flip(folder / SHARDS[2], at, bit=at % 8)
        for verify in (False, True):
            errors = errors_of_reading(folder, SAMPLES, verify=verify)
            assert {type(found) for found in errors} <= {StaleIndexError}
        (problem,) = reported(folder, full=True)
        assert problem.shard == SHARDS[2]
        assert problem.kind in ("damaged", "stale")
        shutil.copy(original / SHARDS[2], folder / SHARDS[2])


@BOTH
def test_a_flipped_bit_in_the_headers_that_are_probed(folder, verify):
    flip(folder / SHARDS[0], 0)
    errors = errors_of_reading(folder, SAMPLES, verify=verify)
    assert {type(found) for found in errors} == (set() if verify else {StaleIndexError})
    for full in (False, True):
        (problem,) = reported(folder, full=full)
        assert (problem.shard, problem.offset) == (SHARDS[0], 0)


def _other(tmp_path_factory, samples):
    return write(tmp_path_factory.mktemp("other"), samples, max_shard_samples=3)


OTHERS = {
    "other keys": {f"x{key[1:]}": fields for key, fields in SAMPLES.items()},
    "another order": dict(sorted(SAMPLES.items(), key=lambda item: item[0], reverse=True)),
    "shifted": dict(zip([*list(SAMPLES)[1:], "first"], SAMPLES.values(), strict=True)),
}


@BOTH
@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("name", [KEYS, *SHARDS[:2], *INDEXES[:2]])
def test_a_file_of_another_dataset(folder, tmp_path_factory, name, other, verify):
    """Also where it has the same length, and is sound in itself."""
    other_folder = _other(tmp_path_factory, OTHERS[other])
    other_path, path = named(other_folder, name), named(folder, name)
    if (other_folder / other_path).read_bytes() == (folder / path).read_bytes():
        pytest.skip("the same file")
    shutil.copy(other_folder / other_path, folder / path)
    errors = errors_of_reading(folder, SAMPLES, verify=verify)
    if errors or name not in SHARDS or not verify:  # checked reads may find the very bytes they want in another tar
        assert {found.path or found.shard for found in errors} == {path}
    assert {type(found) for found in errors} <= {CorruptIndexError, StaleIndexError, CorruptShardError}
    for full in (False, True):
        assert {problem.shard for problem in reported(folder, full=full)} == {path}


@BOTH
def test_files_of_one_dataset_mixed_up(folder, verify):
    for a, b in [(SHARDS[0], SHARDS[1]), (INDEXES[0], INDEXES[1])]:
        assert (folder / a).stat().st_size == (folder / b).stat().st_size, "the lengths give nothing away"
        (folder / a).rename(folder / "aside")
        (folder / b).rename(folder / a)
        (folder / "aside").rename(folder / b)
        errors = errors_of_reading(folder, SAMPLES, verify=verify)
        assert {found.path or found.shard for found in errors} == {a, b}
        assert {problem.shard for problem in reported(folder, full=False)} >= {a, b}


def test_a_manifest_of_another_dataset(folder, tmp_path_factory):
    shutil.copy(_other(tmp_path_factory, OTHERS["other keys"]) / ".shardpack/manifest.json", folder / ".shardpack")
    errors = errors_of_reading(folder, SAMPLES, verify=False)
    assert {type(found) for found in errors} == {ShardNotFoundError}, "its shard table is not there"
    assert not shardpack.verify(folder).ok


@pytest.mark.parametrize("name", [KEYS, SHARDS[0], INDEXES[0]])
def test_a_folder_in_the_place_of_a_file(folder, name):
    name = named(folder, name)
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(ShardpackError):
        shardpack.open(folder)["k/0001"]
    (problem,) = reported(folder, full=True)
    assert problem.shard == name


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read anything")
def test_a_file_that_may_not_be_read(folder):
    (folder / SHARDS[0]).chmod(0)
    with pytest.raises(StorageError, match="Permission denied"):
        shardpack.open(folder)[0]
    (problem,) = reported(folder, full=True)
    assert (problem.kind, problem.shard) == ("unreadable", SHARDS[0])


def test_a_shard_cut_short_while_it_is_open(folder):
    ds = shardpack.open(folder)
    assert ds[0]["bin"] == SAMPLES["k/0000"]["bin"]
    with open(folder / SHARDS[0], "r+b") as file:
        file.truncate(3 * BLOCK)
    with pytest.raises(CorruptShardError, match="truncated") as caught:
        ds[2]
    assert caught.value.path == SHARDS[0]


@pytest.mark.parametrize("fields", [None, ["bin"]], ids=["all", "some"])
@pytest.mark.parametrize("shuffle", ["none", "blocks"])
def test_a_shard_cut_short_while_it_is_streamed(folder, shuffle, fields):
    ds = shardpack.open(folder)
    stream = ds.stream(shuffle=shuffle, fields=fields, window_blocks=1, partitions=1)
    assert len(list(stream)) == len(SAMPLES)
    with open(folder / SHARDS[0], "r+b") as file:
        file.truncate(3 * BLOCK)
    with pytest.raises(CorruptShardError, match="truncated") as caught:
        list(stream)
    assert caught.value.path == SHARDS[0]


@pytest.mark.parametrize("remote", [False, True])
def test_a_tar_that_was_replaced_by_one_of_the_same_layout_is_not_read(folder, tmp_path, remote):
    """Before its index was read, whose checksum would else tell the two apart."""
    swapped = {key: {field: data[::-1] for field, data in fields.items()} for key, fields in SAMPLES.items()}
    other = write(tmp_path / "other", swapped, max_shard_samples=3)
    store = LocalStore(folder)
    store.remote = remote
    ds = open_dataset(store, verify=False)
    shutil.copy(other / SHARDS[0], folder)
    with pytest.raises(StaleIndexError, match="is damaged, or has other bytes; restore the shard, or if it"):
        ds[1]


def test_a_dataset_replaced_while_it_is_open_is_not_mixed_with_the_new_one(folder, tmp_path_factory):
    ds = shardpack.open(folder)
    first = ds[0]
    other = _other(tmp_path_factory, OTHERS["another order"])
    for path in sorted(other.rglob("*")):
        if path.is_file():
            os.replace(path, folder / path.relative_to(other))
    assert ds[0] == first, "what is open stays what it was"
    with pytest.raises((StaleIndexError, CorruptIndexError)):
        ds[8]
    with pytest.raises((OptionError, StaleIndexError, CorruptIndexError)):
        ds["k/0005"]
