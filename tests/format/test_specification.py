"""The vectors of SPEC 1 to 6 and the files of its appendix, read out of its text, are what the code makes."""

from __future__ import annotations

import json
import re

import pytest
from xxhash import xxh3_64_hexdigest

from shardpack.format.assemble import encode_dataset, encode_shard
from shardpack.format.checksum import crc32c
from shardpack.format.fingerprint import chain, chain_edits, fingerprint_text
from shardpack.format.key_index import hash_keys
from shardpack.format.layout import index_path
from shardpack.format.manifest import DeletedFile, LayerRef, PositionsFile
from shardpack.format.manifest_json import parse_manifest
from shardpack.format.naming import key_text
from shardpack.format.shard_index import parse_index
from shardpack.format.shard_info import ShardInfo
from tests.conftest import ROOT
from tests.format.builders import small_shard

TEXT = (ROOT / "shardpack" / "format" / "SPEC.md").read_text(encoding="utf-8")


def section(number, following):
    return TEXT[TEXT.index(f"{number} ") : TEXT.index(f"{following} ")]


# --- Vectors -----------------------------------------------------------------------------------

BYTES = {"none": b"", "32 times 0x00": bytes(32)}
HASHES = re.findall(r"^\| (.+?) \| `(\w{8})` \| `(\w{16})` \|$", section("### 1.3", "### 1.4"), re.MULTILINE)
PATHS = re.findall(r"`(\S+)` of location (\d+) has `(\S+)`", section("### 6.2", "### 6.3"))


@pytest.mark.parametrize(("name", "checksum", "hashed"), HASHES)
def test_checksums_and_hashes(name, checksum, hashed):
    data = BYTES.get(name, name.strip("`").encode())
    assert f"{crc32c(data):08x}" == checksum
    assert xxh3_64_hexdigest(data) == hashed
    assert f"{int(hash_keys([key_text(data)])[0]):016x}" == hashed


@pytest.mark.parametrize(("shard", "location", "path"), PATHS)
def test_paths_of_indexes(shard, location, path):
    assert index_path(shard, int(location)) == f".shardpack/{path}"


def test_fingerprints():
    text = section("### 6.3", "### 6.4")
    first = ShardInfo("a.tar", 3, 2048, 0xDEADBEEF, 1, 1, {})
    second = ShardInfo("b.tar", 1, 1536, None, 1, 7, {})
    found = [chain(shards) for shards in ([], [first], [first, second])]
    deleted = [DeletedFile("", 112, 0xA, 2)]
    layer = LayerRef("../layer", 1, 900, 0xB, ("txt",), PositionsFile("", 1, 1))
    found += [chain_edits(deleted, layers, found[-1]) for layers in ([], [layer])]
    found = list(map(fingerprint_text, found))
    assert re.findall(r"`([0-9a-f]{16})`", text) == found


def test_every_vector_is_found():
    assert len(HASHES) == 5
    assert len(PATHS) == 3


# --- The example -------------------------------------------------------------------------------

EXAMPLE = TEXT[TEXT.index("## 10. ") :]
FILES = dict(re.findall(r"^`(\S+)`[^\n]*:\n\n```\w+\n(.*?)```", EXAMPLE, re.DOTALL | re.MULTILINE))
SHARDS = ("shard-000000.tar", "shard-000001.tar")


def samples_of(shard):
    """Return key -> field -> payload of the table's rows for a shard."""
    found = {}
    for key, field, payload in re.findall(rf"^\| `{shard}` \| `(\S+)` \| `(\S+)` \| `(.+)` \|$", EXAMPLE, re.MULTILINE):
        found.setdefault(key, {})[field] = payload.encode()
    return found


def parts_of(path):
    """Return name -> value of the lines of a file; indented lines go on with what is before them."""
    pairs = (line.split(" = ", 1) for line in re.sub(r"\n +", "", FILES[path]).splitlines())
    return {name: value.replace(" ", "") for name, value in pairs}


def contents(path):
    """Return the bytes that the text says are in a binary file."""
    parts = parts_of(path)
    header = parts.pop("header").encode()
    header += b" " * (int(parts.pop("N")) - len(header))
    return len(header).to_bytes(8, "little") + header + bytes.fromhex("".join(parts.values()))


def files_of_the_code():
    """Return path -> bytes, as the code writes the samples of the table."""
    infos, keys, files = [], [], {}
    for name in SHARDS:
        samples = samples_of(name)
        files[name], index = small_shard(samples)
        info, parts = encode_shard(name, index)
        infos.append(info)
        keys += samples
        files[info.index_path] = b"".join(parts)
    packed_with = json.loads(FILES[".shardpack/manifest.json"])["packed_with"]
    hashes = hash_keys(keys)
    _, sidecars = encode_dataset(infos, hashes, classes=["cat", "dog"], packed_with=packed_with)
    return files | {path: b"".join(parts) for path, parts in sidecars}


MADE = files_of_the_code()


def test_all_files_are_shown():
    copies = {".shardpack/manifests/000001.json"}
    assert set(FILES) == set(MADE) - copies - {SHARDS[1]}


@pytest.mark.parametrize("path", sorted(path for path in FILES if path.endswith(".index")))
def test_binary_files(path):
    assert contents(path) == MADE[path]


def test_the_manifest():
    text = FILES[".shardpack/manifest.json"].encode()
    assert text == MADE[".shardpack/manifest.json"]
    assert parse_manifest(text).num_samples == 4


def test_the_first_member_of_a_tar():
    found = bytearray()
    for line in FILES[SHARDS[0]].splitlines():
        offset, _, row = line.partition("  ")
        if offset != "*":  # of repetitions there are as many as lead here
            found += found[-16:] * ((int(offset, 16) - len(found)) // 16) + bytes.fromhex(row)
    assert bytes(found) == MADE[SHARDS[0]][:1024]


@pytest.mark.parametrize("shard", SHARDS)
def test_lengths_and_checksums_of_tars(shard):
    (told,) = re.findall(rf"^`{shard}` has ([\d,]+) bytes and the CRC32C `(\w{{8}})`", EXAMPLE, re.MULTILINE)
    assert told == (f"{len(MADE[shard]):,}", f"{crc32c(MADE[shard]):08x}")


def test_one_index_is_dense_and_the_other_is_not():
    indexes = [parse_index(contents(index_path(shard)), name=shard) for shard in SHARDS]
    assert [index.dense for index in indexes] == [True, False]


# --- What it cites -----------------------------------------------------------------------------

CITED = re.findall(r"`(tests/[\w/.]+)`", TEXT)


@pytest.mark.parametrize("path", sorted(set(CITED)))
def test_named_tests_exist(path):
    assert (ROOT / path).exists()


def test_sections_that_code_and_tests_cite_exist():
    numbers = set(re.findall(r"^#+ ([\d.]+?)\.? ", TEXT, re.MULTILINE))
    files = [path for room in ("shardpack", "tests") for path in (ROOT / room).rglob("*.py")]
    cited = {number for path in files for number in re.findall(r"\bSPEC (\d(?:\.\d)?)", path.read_text("utf-8"))}
    assert {"2.3", "7.5"} <= cited <= numbers
