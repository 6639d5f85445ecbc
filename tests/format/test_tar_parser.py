"""The push parser: the same for any chunking, tarfile's judgement on what it reads, and each refusal of SPEC 2.3."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import CorruptShardError, ShardpackError
from shardpack.format import tar_header as tar
from shardpack.format.tar_extended import MAX_EXTENDED_BYTES
from shardpack.format.tar_header import END_OF_ARCHIVE
from shardpack.format.tar_parser import Member, TarParser
from tests.format.builders import GNU, POSIX, V7, block, entry, full, gnu_long, names, parse, pax
from tests.strategies import chunked, cuts, damaged, member_names, payloads

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def outcome(data: bytes, lengths: list[int]) -> object:
    """What parsing comes to, members or error, to compare chunkings."""
    try:
        return parse(chunked(data, lengths))
    except ShardpackError as error:
        return str(error)


@st.composite
def archives(draw):
    """Archives by Python's tarfile: files, folders and links, in every format; mtime as webdataset has it."""
    file, kind = io.BytesIO(), draw(st.sampled_from(sorted(FORMATS)))
    with tarfile.open(fileobj=file, mode="w", format=FORMATS[kind]) as archive:
        for name, payload in draw(st.lists(st.tuples(member_names(), payloads()), max_size=5)):
            info = tarfile.TarInfo(name)
            info.type = draw(
                st.sampled_from([tarfile.REGTYPE] * 6 + [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])
            )
            info.mtime = draw(st.sampled_from([0, 1.5]))
            info.linkname = draw(st.sampled_from(["", "b", "c" * 150])) if info.type != tarfile.REGTYPE else ""
            info.size = len(payload) if info.isreg() else 0
            try:
                archive.addfile(info, io.BytesIO(payload) if info.isreg() else None)
            except ValueError:  # a name that ustar cannot hold
                continue
    return file.getvalue()


MIXED = b"".join(
    [
        entry(b"a.jpg", b"x" * 700),
        gnu_long(b"long/" * 30 + b"b.jpg"),
        entry(b"long/", b"", magic=GNU),
        pax([(b"path", b"c/" * 80 + b"c.jpg"), (b"size", b"3"), (b"mtime", b"1.5")]),
        entry(b"c", b"abc"),
        entry(b"d/", kind=b"5"),
        END_OF_ARCHIVE,
    ]
)


@given(archives(), cuts())
def test_any_chunking_gives_one_result(data, lengths):
    assert outcome(data, lengths) == outcome(data, [len(data)])


@given(st.data(), cuts())
def test_any_chunking_gives_one_result_for_damaged_archives(data, lengths):
    broken = data.draw(damaged(MIXED))
    assert outcome(broken, lengths) == outcome(broken, [len(broken) or 1])


@given(archives())
def test_members_equal_those_of_tarfile(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        expected = [(m.name, m.offset, m.offset_data, m.size, _read(archive, m)) for m in archive if m.isreg()]
    found = [(m.name, m.member_offset, m.data_offset, m.size, payload) for m, payload in parse([data])[0]]
    assert found == expected


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


@given(st.lists(st.tuples(member_names(), payloads()), max_size=5))
def test_what_we_write_is_what_we_read(members):
    data = b"".join(tar.header(name.encode(), len(p)) + p + bytes(-len(p) % 512) for name, p in members)
    found, end_of_data, finished = parse([data + END_OF_ARCHIVE])
    assert [(member.name, payload) for member, payload in found] == members
    assert (end_of_data, finished) == (len(data), True)
    assert [m.header_bytes for m, _ in found] == [tar.header_length(name.encode(), len(p)) for name, p in members]


@given(st.binary(max_size=2000))
def test_any_bytes_give_members_or_our_error(data):
    outcome(data, [512])


@given(st.data())
def test_damage_gives_members_or_our_error(data):
    outcome(data.draw(damaged(MIXED)), [512])


@given(st.binary(max_size=300), st.sampled_from([b"x", b"g", b"L", b"K", b"X"]))
def test_any_extended_header_gives_members_or_our_error(records, kind):
    outcome(entry(b"x", records, kind) + entry(b"a.jpg", b"1") + END_OF_ARCHIVE, [512])


def test_truncated_anywhere_is_found_or_stops_between_members():
    whole, end_of_data, _ = parse([MIXED])
    ends = {member.data_offset + tar.padded(member.size) for member, _ in whole} | {end_of_data, end_of_data - 512}
    for length in range(len(MIXED)):
        if length in ends or length >= end_of_data + 512:
            members, _, finished = parse([MIXED[:length]])
            assert members == [m for m in whole if m[0].data_offset + m[0].size <= length]
            assert finished == (length >= end_of_data + 512)
        else:
            with pytest.raises(CorruptShardError) as caught:
                parse([MIXED[:length]])
            assert caught.value.offset == (length if length >= 512 else 0)


@pytest.mark.parametrize(
    ("end", "finished"),
    [
        (b"", False),
        (bytes(512), True),
        (bytes(1024), True),
        (bytes(10240), True),
        (bytes(512) + b"garbage", True),
        (bytes(1024) + entry(b"b.jpg", b"2") + bytes(1024), True),
        (bytes(512) + b"x" * 512, True),
    ],
    ids=["none", "one", "two", "padded", "garbage", "concatenated", "lone"],
)
def test_one_zero_block_ends_an_archive_and_what_follows_is_ignored(end, finished):
    members, end_of_data, found = parse([entry(b"a.jpg", b"1") + end])
    assert [member.name for member, _ in members] == ["a.jpg"]
    assert (end_of_data, found) == (1024, finished)


def test_an_archive_of_zero_blocks_has_no_members():
    assert parse([END_OF_ARCHIVE]) == ([], 0, True)


def test_a_tar_in_a_payload_is_not_parsed():
    inner = entry(b"inner.jpg", b"x") + END_OF_ARCHIVE
    assert names(entry(b"a.tar", inner) + entry(b"b.jpg", b"1")) == ["a.tar", "b.jpg"]


@pytest.mark.parametrize("kind", [b"0", b"\0", b"7"])
def test_regular_files_of_all_kinds(kind):
    assert names(entry(b"a.jpg", b"1", kind)) == ["a.jpg"]


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"5", b"6", b"V"])
def test_links_folders_devices_and_labels_are_skipped(kind):
    data = block(b"link", 0, kind, link=b"a.jpg") + entry(b"a.jpg", b"1")
    assert names(data) == ["a.jpg"]
    with tarfile.open(fileobj=io.BytesIO(data + END_OF_ARCHIVE)) as archive:
        assert [member.name for member in archive if member.isreg()] == ["a.jpg"]


def test_a_v7_folder_is_a_name_with_a_slash():
    assert names(block(b"folder/", 0, b"\0", magic=V7) + entry(b"folder/a.jpg", b"1", b"\0", magic=V7)) == [
        "folder/a.jpg"
    ]


@pytest.mark.parametrize("kind", [b"D", b"M", b"A", b"Z"])
def test_unknown_kinds_are_skipped_with_their_payload(kind):
    assert names(entry(b"a", b"x" * 600, kind) + entry(b"b.jpg", b"1")) == ["b.jpg"]


def test_prefix_counts_in_posix_headers_only():
    assert names(entry(b"a.jpg", prefix=b"folder", magic=POSIX)) == ["folder/a.jpg"]
    assert names(entry(b"a.jpg", prefix=b"13371337", magic=GNU)) == ["a.jpg"]
    assert names(entry(b"a.jpg", prefix=b"junk", magic=V7)) == ["a.jpg"]


def test_names_that_are_not_utf8_are_kept():
    assert names(entry(b"\xff\xe9.jpg")) == ["\udcff\udce9.jpg"]


def test_base_256_size_is_read():
    size = 8**11 + 1
    (event,) = TarParser("x").feed(block(b"a.jpg", b"\x80" + size.to_bytes(11, "big"), magic=GNU))
    assert event.size == size


def test_pax_size_replaces_that_of_the_header():
    data = pax([(b"size", b"600")]) + block(b"a.jpg", 0) + bytes(1024) + entry(b"b.jpg", b"1")
    members, _, _ = parse([data])
    assert [(member.name, member.size) for member, _ in members] == [("a.jpg", 600), ("b.jpg", 1)]


def test_later_pax_records_win_and_end_with_their_member():
    data = pax([(b"path", b"x.jpg"), (b"path", b"y.jpg")]) + entry(b"a.jpg") + entry(b"b.jpg")
    assert names(data) == ["y.jpg", "b.jpg"]


def test_global_headers_do_not_belong_to_a_member():
    comment = pax([(b"comment", b"git"), (b"mtime", b"")], b"g")
    (first, _), (second, _) = parse([comment + entry(b"a.jpg", b"1") + comment + entry(b"b.jpg")])[0]
    assert (first.member_offset, second.header_bytes) == (len(comment), 512)


def test_member_offset_counts_every_extended_header():
    data = (
        entry(b"0") + gnu_long(b"target", b"K") + gnu_long(b"n" * 120) + pax([(b"mtime", b"1.5")]) + entry(b"n", b"1")
    )
    (_, _), (member, _) = parse([data])[0]
    assert (member.name, member.member_offset, member.data_offset) == ("n" * 120, 512, len(data) - 512)


A = entry(b"a.jpg", b"1")
PATH, SIZE = (b"path", b"b.jpg"), (b"size", b"1")
REFUSED = {
    "T1 empty": (b"", "empty", 0),
    "T1 short": (b"abc", "first block", 0),
    "T1 text": (b"hello world\n" * 100, "first block", 0),
    "T1 gzip": (b"\x1f\x8b" + bytes(600), "compressed with gzip", 0),
    "T1 short zstd": (b"\x28\xb5\x2f\xfd", "compressed with zstd", 0),
    "T2 junk": (A + b"junk" * 128, "checksum", 1024),
    "T3 text": (A + block(b"b", b"12x4".ljust(12, b"\0")), "bad size", 1024),
    "T3 octal": (block(b"b", b"9".ljust(12, b"\0")), "bad size", 0),
    "T3 negative": (block(b"b", b"\xff" * 12), "negative", 0),
    "T4 base-256": (A + block(b"b", b"\x80" + b"\x7f" * 11), "more than any archive", 1024),
    "T4 pax": (pax([(b"size", b"%d" % (2**63 - 1))]) + A, "more than any archive", 1024),
    "T4 passed over": (block(b"b", b"\x80" + b"\x7f" * 11, b"D"), "more than any archive", 0),
    "T5 pax": (A + block(b"x", MAX_EXTENDED_BYTES + 1, b"x"), "1048577 bytes", 1024),
    "T5 long name": (block(b"x", 8**11 - 1, b"L"), "limit 1048576", 0),
    "T6 twice": (A + pax([PATH]) + pax([PATH]) + A, "two extended headers", 2048),
    "T6 x and X": (pax([PATH]) + pax([PATH], b"X") + A, "two extended headers", 1024),
    "T6 long": (gnu_long(b"b") + gnu_long(b"b") + A, "two extended headers", 1024),
    "T6 global": (pax([PATH]) + pax([(b"comment", b"c")], b"g") + A, "global one", 1024),
    "T7 no length": (A + entry(b"x", b"path=b.jpg\n", b"x") + A, "malformed", 1024),
    "T7 too long": (entry(b"x", b"99 path=b.jpg\n", b"x") + A, "malformed", 0),
    "T7 zero": (entry(b"x", b"0 path=b.jpg\n", b"x") + A, "malformed", 0),
    "T7 cut": (entry(b"x", b"14 path=b.jpg", b"x") + A, "malformed", 0),
    "T7 no keyword": (entry(b"x", b"7 =abc\n", b"x") + A, "malformed", 0),
    "T7 no equals": (entry(b"x", b"8 path \n", b"x") + A, "malformed", 0),
    "T7 hidden": (entry(b"x", b"14 path=b.jpg\n\0\x0014 path=c.jpg\n", b"x") + A, "malformed", 0),
    "T7 other digits": (entry(b"x", "²4 path=b.jpg\n".encode(), b"x") + A, "malformed", 0),
    "T8 path": (A + pax([(b"path", b"")]) + A, "empty path", 1024),
    "T8 size": (pax([(b"size", b"")]) + A, "empty size", 0),
    "T8 negative": (pax([(b"size", b"-1")]) + A, "bad pax size", 0),
    "T8 long": (A + pax([(b"size", b"1" * 20)]) + A, "bad pax size", 1024),
    "T8 text": (pax([(b"size", b"1e3")]) + A, "bad pax size", 0),
    "T8 long name": (A + entry(b"L", b"", b"L", magic=GNU) + A, "empty GNU long name", 1024),
    "T8 long name of NULs": (gnu_long(b"") + A, "empty GNU long name", 0),
    "T9": (A + gnu_long(b"b") + pax([PATH]) + A, "two long names", 1024),
    "T9 other order": (pax([PATH]) + gnu_long(b"b") + A, "two long names", 0),
    "T10 pax": (pax([(b"path", b"a\0b.jpg")]) + A, "NUL", 0),
    "T10 long": (A + gnu_long(b"a\0b.jpg") + A, "NUL", 1024),
    "T11 path": (pax([PATH], b"g") + A, "global pax header", 0),
    "T11 size": (A + pax([SIZE], b"g") + A, "global pax header", 1024),
    "T11 sparse": (pax([(b"GNU.sparse.major", b"1")], b"g") + A, "global pax header", 0),
    "T12 old": (A + block(b"b", 0, b"S", magic=GNU), "sparse", 1024),
    "T12 pax": (pax([(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")]) + A, "sparse", 1024),
    "T13 payload": (A + block(b"b", 1), "truncated", 1536),
    "T13 padding": (A[:-1], "truncated", 1023),
    "T13 header": (A + A[:100], "truncated", 1124),
    "T13 extended": (pax([PATH]), "truncated", 1024),
    "T13 zeros": (A + bytes(100), "truncated", 1124),
    "T13 no member": (pax([PATH]) + END_OF_ARCHIVE, "no member", 1024),
    "T14 hard link": (A + block(b"l", 512, b"1", link=b"a.jpg") + A, "claims 512 bytes", 1024),
    "T14 symbolic link": (block(b"l", 1, b"2", link=b"a.jpg") + A, "claims 1 bytes", 0),
    "T14 folder": (block(b"l/", 8**11 - 1, b"5") + A, "claims 8589934591 bytes; tar readers do not agree", 0),
    "T14 label": (A + block(b"l", 512, b"V", magic=GNU) + full(b"x"), "claims 512 bytes", 1024),
    "T14 pax": (pax([(b"size", b"512")]) + block(b"l", 0, b"1", link=b"a.jpg") + A, "claims 512 bytes", 1024),
    "T14 v7 folder": (block(b"l/", 512, b"\0", magic=V7) + A, "claims 512 bytes", 0),
    "T14 file with a slash": (A + entry(b"l/", b"1"), "claims 1 bytes", 1024),
    "T15 pax": (pax([(b"path", b"b.jpg/")]) + entry(b"b.jpg"), "a file to some tar readers and a folder to", 1024),
    "T15 pax and header": (pax([(b"path", b"b.jpg/")]) + entry(b"b.jpg/"), "a folder to others", 1024),
    "T15 v7": (gnu_long(b"b.jpg") + entry(b"b/", b"1", b"\0", magic=GNU), "a folder to others", 1024),
    "T15 label": (
        A + gnu_long(b"b.jpg") + block(b"l", 0, b"V", magic=GNU) + A,
        "a long name before a volume",
        3072 - 1024,
    ),
    "T16 long name": (A + block(b"x", 3, b"L", magic=GNU) + full(b"b.jpg\0") + A, "continues beyond its size", 1024),
    "T16 pax": (block(b"x", 13, b"x") + full(b"13 comment=c\n14 path=b.jpg\n") + A, "continues beyond its size", 0),
    "T16 global": (block(b"x", 13, b"g") + full(b"13 comment=c\n14 path=b.jpg\n") + A, "continues beyond its", 0),
}


@pytest.mark.parametrize(("data", "reason", "offset"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("length", [1, 512, 1 << 20])
def test_refused_with_shard_and_offset(data, reason, offset, length):
    with pytest.raises(CorruptShardError, match=reason) as caught:
        parse(chunked(data, [length]), "train/x.tar")
    assert (caught.value.shard, caught.value.offset) == ("train/x.tar", offset)


def test_a_claim_of_gigabytes_takes_no_memory():
    parser = TarParser("x")
    list(parser.feed(block(b"a.jpg", 8**11 - 1) + b"x" * 4096))
    assert len(parser._held) + len(parser._extended) == 0


@given(st.data())
def test_skipping_finds_what_reading_finds(data):
    sizes = data.draw(st.lists(st.integers(0, 2000), min_size=1, max_size=5))
    archive = b"".join(
        (pax([(b"path", b"%d.jpg" % i)]) if i % 2 else gnu_long(b"%d.jpg" % i)) + entry(b"x", bytes(size))
        for i, size in enumerate(sizes)
    )
    archive += bytes(1024)
    expected, end_of_data, _ = parse([archive])
    parser, found, between = TarParser("x.tar"), [], {0}
    while parser.position < len(archive) and not parser.finished:
        step = data.draw(st.sampled_from([512, 1024, 4096]))
        found.extend(event for event in parser.feed(archive[parser.position :][:step]) if isinstance(event, Member))
        if parser.is_between_members:
            between.add(parser.position)
        parser.skip(data.draw(st.integers(0, parser.to_skip)))
        if parser.is_between_members:
            between.add(parser.position)
    assert found == [member for member, _ in expected]
    assert parser.close() == end_of_data
    for start in between:  # a parser that begins there finds the rest
        fresh = TarParser("x.tar", offset=start)
        rest = [event for event in fresh.feed(archive[start:]) if isinstance(event, Member)]
        assert rest == [member for member in found if member.member_offset >= start]
