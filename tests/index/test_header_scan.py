"""Scanning headers gives the same index as reading everything, and reads little."""

from __future__ import annotations

import io
import random
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import CorruptShardError, FormatError, ShardNotFoundError
from shardpack.format.checksum import crc32c
from shardpack.index.full_scan import TarFile, scan_whole
from shardpack.index.grouping import DEFAULT_IGNORE
from shardpack.index.header_scan import ScanLimits, scan_headers
from shardpack.storage.local import LocalStore
from tests.conformance.recipes import CORPUS, FOREIGN
from tests.format.builders import GNU, block, entry, full, gnu_long, judge_module, pax
from tests.read.datasets import CountingStore
from tests.strategies import damaged, examples

END = bytes(1024)
COLUMNS = ("data_offset", "size", "header_bytes", "member_start", "field", "key_offset", "key_heap")


class Remote(CountingStore):
    """Counts rounds: requests that wait for each other. Whatever is asked for at once is one."""

    remote = True
    prefetch_depth = 16

    def __init__(self, data: bytes, *, gap: int = 0):
        super().__init__({"x.tar": data}, gap=gap)
        self.rounds = self._depth = 0

    def get_range(self, path, *, start, length):
        self.rounds += not self._depth
        return super().get_range(path, start=start, length=length)

    def get_ranges(self, path, *, starts, lengths):
        self.rounds += 1
        self._depth += 1
        try:
            return super().get_ranges(path, starts=starts, lengths=lengths)
        finally:
            self._depth -= 1

    @property
    def fetched(self) -> int:
        return self.stats.snapshot().bytes_fetched


SKIP_ALL = {"first_bytes": 512, "request_bytes": 0, "min_saved": -1}  # every payload, however small


def whole(tmp_path_factory, data):
    """Return what reading the file from end to end gives: an index, or an error."""
    folder = tmp_path_factory.mktemp("tar")
    (folder / "x.tar").write_bytes(data)
    try:
        return scan_whole(TarFile(str(folder), "x.tar", DEFAULT_IGNORE))
    except FormatError as error:
        return error


def same(found, expected):
    assert (found.without_key, found.ignored) == (expected.without_key, expected.ignored)
    a, b = found.index, expected.index
    assert (a.fields, a.shard_bytes, a.end_of_data) == (b.fields, b.shard_bytes, b.end_of_data)
    for name in COLUMNS:
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    if a.crc32c is not None:
        assert np.array_equal(a.crc32c, b.crc32c)
        assert a.shard_crc32c == b.shard_crc32c
    assert (a.crc32c is None) == (a.shard_crc32c is None)


def archive(payloads, kind=tarfile.PAX_FORMAT, mtime=0.0):
    """Return a tar by Python: payloads by name; a number stands for so many random bytes."""
    buffer, chance = io.BytesIO(), random.Random(0)
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as tar:
        for name, payload in payloads.items():
            data = chance.randbytes(payload) if isinstance(payload, int) else payload
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), mtime
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def photos(count, *, mtime=0.0):
    """Return a tar of images of 60 to 160 KB, and a label each."""
    chance = random.Random(1)
    return archive(
        {
            f"{i:05d}.{field}": size
            for i in range(count)
            for field, size in (("jpg", chance.randint(60_000, 160_000)), ("json", 120))
        },
        mtime=mtime,
    )


@pytest.mark.parametrize("name", FOREIGN)
def test_tars_of_every_tool(name, tmp_path_factory):
    data = (CORPUS / "foreign" / f"{name}.tar").read_bytes()
    found = scan_headers(Remote(data), "x.tar", limits=ScanLimits(**SKIP_ALL), ignore=DEFAULT_IGNORE)
    same(found, whole(tmp_path_factory, data))
    assert found.index.crc32c is None


@examples(60)
@given(
    sizes=st.lists(st.sampled_from([0, 1, 511, 512, 513, 5000, 40_000, 70_000]) | st.integers(0, 100_000), max_size=40),
    kind=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]),
    odd=st.tuples(st.booleans(), st.sampled_from([0.0, 1.5]), st.sampled_from([0, 512, 100_000])),
    how=st.tuples(st.sampled_from([0, 100_000]), st.sampled_from([1, 3, 16])),
)
def test_any_sizes(tmp_path_factory, sizes, kind, odd, how):
    (long_names, mtime, tail), (gap, scanners) = odd, how
    stem = "long-name/" * 9 + "n" * 50 if long_names else "n"
    data = archive({f"{stem}{i // 2}.{'ab'[i % 2]}": size for i, size in enumerate([*sizes, 1])}, kind, mtime)
    data += bytes(tail)
    expected = whole(tmp_path_factory, data)
    limits = ScanLimits(scanners=scanners, min_headers=2, first_bytes=2048)
    same(scan_headers(Remote(data, gap=gap), "x.tar", limits=limits, ignore=DEFAULT_IGNORE), expected)
    everything = scan_headers(Remote(data), "x.tar", checksums=True, limits=limits, ignore=DEFAULT_IGNORE)
    same(everything, expected)
    assert everything.index.shard_crc32c == crc32c(data)


@pytest.mark.parametrize("mtime", [0.0, 1.5], ids=["ustar", "pax"])
@pytest.mark.parametrize("scanners", [1, 16])
def test_large_members_are_skipped(tmp_path_factory, mtime, scanners):
    data = photos(700, mtime=mtime)
    store = Remote(data)
    found = scan_headers(store, "x.tar", limits=ScanLimits(scanners=scanners), ignore=DEFAULT_IGNORE)
    same(found, whole(tmp_path_factory, data))
    assert found.index.crc32c is None
    assert store.fetched < 0.05 * len(data)
    assert store.stats.snapshot().requests < 1.1 * 700
    assert store.rounds < (720 if scanners == 1 else 150), "scanners wait together"


@pytest.mark.parametrize("scanners", [1, 16, 64])
def test_of_a_gigabyte_of_photos_a_fortieth_is_fetched(tmp_path, scanners):
    chance, count = random.Random(0), 0
    with open(tmp_path / "x.tar", "wb") as file:  # payloads are holes, which take no space and are not read
        while file.tell() < 1 << 30:
            size = chance.randint(60_000, 160_000)
            file.write(block(b"%08d.jpg" % count, size))
            file.seek(size + -size % 512, io.SEEK_CUR)
            file.write(entry(b"%08d.json" % count, bytes(120)))
            count += 1
        file.write(END)
    store = LocalStore(tmp_path)
    rounds = []
    read = store.get_ranges
    store.get_ranges = lambda *args, **ranges: rounds.append(1) or read(*args, **ranges)
    found = scan_headers(store, "x.tar", limits=ScanLimits(scanners=scanners), ignore=DEFAULT_IGNORE)
    assert (found.index.num_samples, found.index.fields) == (count, ("jpg", "json"))
    stats = store.stats.snapshot()
    assert stats.bytes_fetched < 0.025 * found.index.shard_bytes
    assert stats.requests < 1.05 * count
    assert len(rounds) < 1.25 * count / scanners


def test_small_members_are_read_straight_through_and_get_checksums(tmp_path_factory):
    data = archive({f"{i}.{field}": 9000 for i in range(300) for field in ("a", "b")})
    store = Remote(data)
    found = scan_headers(store, "x.tar", ignore=DEFAULT_IGNORE)
    same(found, whole(tmp_path_factory, data))
    assert found.index.shard_crc32c == crc32c(data)
    assert (store.fetched, store.rounds) == (len(data), 7)


def test_a_store_with_dear_requests_reads_more():
    data = archive({f"{i}.a": 100_000 for i in range(50)})
    assert scan_headers(Remote(data, gap=200_000), "x.tar", ignore=DEFAULT_IGNORE).index.crc32c is not None
    assert scan_headers(Remote(data), "x.tar", ignore=DEFAULT_IGNORE).index.crc32c is None


def test_a_few_large_members_among_small_ones_cost_no_checksums():
    data = archive({f"{i}.a": 300_000 if i == 40 else 20_000 for i in range(100)})
    assert scan_headers(Remote(data), "x.tar", ignore=DEFAULT_IGNORE).index.crc32c is not None


def test_long_runs_of_small_members_between_large_ones():
    sizes = [600_000] * 20 + [2000] * 400 + [600_000] * 20
    store = Remote(archive({f"{i:04d}.a": size for i, size in enumerate(sizes)}))
    assert scan_headers(store, "x.tar", limits=ScanLimits(scanners=1), ignore=DEFAULT_IGNORE).index.num_samples == len(
        sizes
    )
    assert store.fetched < 4_500_000
    assert store.rounds < 70


def test_what_follows_the_end_is_not_fetched():
    data = archive({f"{i}.a": 10 for i in range(10)}) + bytes(50_000_000)
    store = Remote(data)
    assert scan_headers(store, "x.tar", ignore=DEFAULT_IGNORE).index.shard_bytes == len(data)
    assert store.fetched < 100_000


def test_progress_ends_with_the_length():
    for data in (photos(100), archive({"a.a": 10}), archive({f"{i}.a": 9000 for i in range(50)})):
        steps = []
        scan_headers(Remote(data), "x.tar", advance=steps.append, ignore=DEFAULT_IGNORE)
        assert sum(steps) == len(data)
        assert min(steps) >= 0


# What is read ahead of the chain may be wrong


def test_tars_inside_payloads_are_not_believed(tmp_path_factory):
    inner = archive({f"lie{i}.jpg": 100_000 for i in range(40)})
    data = archive({f"{i}.{field}": what for i in range(12) for field, what in (("tar", inner), ("jpg", 90_000))})
    store = Remote(data)
    found = scan_headers(store, "x.tar", ignore=DEFAULT_IGNORE)
    same(found, whole(tmp_path_factory, data))
    assert not any("lie" in key for key in set(found.index.keys()))
    assert store.fetched < len(data) / 10


@pytest.mark.parametrize("lie", ["header", "endless", "huge", "end", "pax"])
def test_headers_inside_payloads_are_not_believed(tmp_path_factory, lie):
    lies = {
        "header": entry(b"lie.jpg", b"x" * 3000),
        "endless": entry(b"lie.jpg"),
        "huge": block(b"lie.jpg", 1 << 40),
        "end": block(b"lie.jpg") + bytes(1024),
        "pax": pax([(b"path", b"lie.jpg")]),
    }
    payload = (lies[lie] * 300)[: 100 * 1024]
    data = archive({f"{i:03d}.jpg": payload if i % 3 else 90_000 for i in range(400)})
    store = Remote(data)
    found = scan_headers(store, "x.tar", ignore=DEFAULT_IGNORE)
    same(found, whole(tmp_path_factory, data))
    assert store.fetched < len(data), "wrong scanners are given up"


def test_headers_that_no_search_finds(tmp_path_factory):
    data = b"".join(entry(b"%04d.jpg" % i, bytes(60_000), magic=bytes(8)) for i in range(600)) + END
    store = Remote(data)
    same(scan_headers(store, "x.tar", ignore=DEFAULT_IGNORE), whole(tmp_path_factory, data))
    assert store.fetched < len(data) / 4


@examples(150)
@given(
    damaged(
        b"".join(
            entry(b"%d.jpg" % i, bytes(3000 * (i % 3))) + pax([(b"path", b"%d.js" % i)]) + entry(b"x", b"{}")
            for i in range(9)
        )
        + gnu_long(b"l.jpg")
        + entry(b"x", bytes(5000), magic=GNU)
        + END
    )
)
def test_damaged_tars_give_the_error_that_reading_gives(tmp_path_factory, data):
    expected = whole(tmp_path_factory, data)
    for scanners in (1, 4):
        limits = ScanLimits(scanners=scanners, min_headers=2, **SKIP_ALL)
        if isinstance(expected, FormatError):
            with pytest.raises(type(expected)) as caught:
                scan_headers(Remote(data), "x.tar", limits=limits, ignore=DEFAULT_IGNORE)
            assert str(caught.value) == str(expected)
        else:
            same(scan_headers(Remote(data), "x.tar", limits=limits, ignore=DEFAULT_IGNORE), expected)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "the file is empty"),
        (b"\x1f\x8b" + bytes(100_000), "compressed with gzip, which does not allow random access"),
        (b"x" * 100_000, "the first block is not a header"),
        (END, "tar has no samples"),
        (entry(b"a.jpg", b"1") + block(b"b.jpg", 1 << 40), "tar is truncated: it ends inside a member"),
        (entry(b"a.jpg", bytes(100_000))[:-513], "tar is truncated: it ends inside a member"),
        (entry(b"a.jpg", bytes(100_000)) + b"junk" * 128, "tar is damaged: expected a header"),
        (entry(b"a.jpg", bytes(100_000)) + block(b"b", 0, b"S", magic=GNU), "tar has a sparse member"),
        (entry(b"a.jpg", bytes(100_000)) + pax([(b"GNU.sparse.major", b"1")]) + block(b"b"), "tar has a sparse member"),
        (entry(b"a.jpg", bytes(100_000)) + block(b"x", (1 << 20) + 1, b"x"), "extended header of 1048577 bytes"),
        (entry(b"a.jpg", bytes(100_000)) + entry(b"a.JPG", b"") + END, "sample has field 'jpg' twice, first at 0"),
    ],
)
def test_what_is_refused(data, text):
    store = Remote(data)
    with pytest.raises(CorruptShardError, match=text) as caught:
        scan_headers(store, "x.tar", ignore=DEFAULT_IGNORE)
    assert caught.value.shard == "x.tar"
    assert store.rounds <= 3


def test_a_tar_that_is_missing():
    with pytest.raises(ShardNotFoundError):
        scan_headers(Remote(b""), "y.tar", ignore=DEFAULT_IGNORE)


class Endless(Remote):
    """An object of 2^62 bytes: member after member, each with a name of its own."""

    def __init__(self, payload_bytes):
        super().__init__(b"")
        self._payload = full(bytes(payload_bytes))
        self._length = 512 + len(self._payload)

    def size(self, _):
        return 1 << 62

    def get_range(self, _, *, start, length):
        first, last = start // self._length, (start + length) // self._length
        num_bytes = len(self._payload)
        data = b"".join(block(b"%d.jpg" % number, num_bytes) + self._payload for number in range(first, last + 1))
        return data[start - first * self._length :][:length]

    def get_ranges(self, path, *, starts, lengths):
        return [self.get_range(path, start=a, length=b) for a, b in zip(starts, lengths, strict=True)]


@pytest.mark.parametrize("payload_bytes", [0, 100_000], ids=["empty", "large"])
def test_members_without_end(payload_bytes):
    with pytest.raises(CorruptShardError, match="tar has more than 5,000 members; split it"):
        scan_headers(Endless(payload_bytes), "x.tar", limits=ScanLimits(max_members=5000), ignore=DEFAULT_IGNORE)


def test_shards_of_webdatasets_writer(tmp_path, tmp_path_factory, capsys):
    wds = judge_module("webdataset")
    with wds.TarWriter(str(tmp_path / "x.tar")) as writer:  # a pax header for every member
        for i in range(60):
            writer.write({"__key__": f"{i:04d}", "jpg": random.Random(i).randbytes(80_000), "json": {"i": i}, "cls": i})
    capsys.readouterr()
    data = (tmp_path / "x.tar").read_bytes()
    store = Remote(data)
    same(scan_headers(store, "x.tar", ignore=DEFAULT_IGNORE), whole(tmp_path_factory, data))
    assert store.fetched < 0.1 * len(data)


def test_sizes_in_pax_and_base_256(tmp_path_factory):
    big = bytes(90_000)
    data = b"".join(
        pax([(b"size", b"90000")])
        + block(b"%d.a" % i, 0)
        + full(big)
        + block(b"%d.b" % i, b"\x80" + (90_000).to_bytes(11, "big"), magic=GNU)
        + full(big)
        for i in range(30)
    )
    same(scan_headers(Remote(data + END), "x.tar", ignore=DEFAULT_IGNORE), whole(tmp_path_factory, data + END))


def test_replacing_the_index_values_keeps_them_apart():
    """`same` would notice an offset that differs."""
    found = scan_headers(Remote(photos(3)), "x.tar", ignore=DEFAULT_IGNORE)
    moved = replace(found, index=replace(found.index, data_offset=found.index.data_offset + 512))
    with pytest.raises(AssertionError):
        same(moved, found)
