"""Members become samples: what is ignored, what is refused, and what it costs in memory."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import CorruptShardError, FormatError, OptionError
from shardpack.format.tar_parser import Member
from shardpack.index.grouping import DEFAULT_IGNORE, Grouping, MemberPattern, check_ignore
from tests.format.builders import entry
from tests.read.datasets import as_dicts

END = bytes(1024)


def grouped(names, ignore=(), **limits):
    grouping = Grouping("x.tar", ignore, **limits)
    for number, name in enumerate(names):
        grouping.add(Member(name, 512 * number, 512 * number + 512, 0))
    return grouping.finish(512 * len(names), num_bytes=512 * len(names), shard_crc32c=0)


@pytest.mark.parametrize(
    ("ignore", "keys", "ignored", "without_key"),
    [
        (DEFAULT_IGNORE, ["a/x", "b/y", "._a/z"], {"._*": 3}, 1),
        ((), ["a/", "a/x", "b/", "b/y", "._a/z"], {}, 2),
        (("*.json", "._*"), ["a/x", "._a/z"], {"*.json": 2, "._*": 2}, 1),
        (("a/*", "nothing"), ["b/", "b/y", "._a/z"], {"a/*": 2}, 2),
    ],
)
def test_ignored_members_are_counted_and_in_no_sample(ignore, keys, ignored, without_key):
    found = grouped(["a/._x.jpg", "a/x.jpg", "b/._y.json", "b/y.json", "._c.jpg", "README", "._a/z.jpg"], ignore)
    assert (found.index.keys(), found.ignored, found.without_key) == (keys, ignored, without_key)
    assert found.index.ignored == tuple(sorted(ignored)), "only those that matched"


def test_an_ignored_member_does_not_end_a_sample():
    found = grouped(["x.jpg", "a/._x.jpg", "x.json"], ["._*"])
    assert (found.index.keys(), found.index.fields) == (["x"], ("jpg", "json"))


def test_a_tar_of_ignored_members_says_so():
    with pytest.raises(
        CorruptShardError, match=r"\(0 files without a key and a field, 2 files that match '._\*' and are"
    ):
        grouped(["a/._x.jpg", "a/._y.jpg"], ["._*"])


@pytest.mark.parametrize(
    ("ignore", "text"),
    [("._*", r"ignore is '._\*', expected a list"), (5, "ignore is 5"), (["x", 5], "holds 5"), ([""], "holds ''")],
)
def test_patterns_are_checked(ignore, text):
    with pytest.raises(OptionError, match=text):
        check_ignore(ignore)


def test_too_many_fields_name_the_tar_the_key_and_the_way_out():
    with pytest.raises(FormatError, match=r"over 3 different fields, such as 'f3'; .* --ignore PATTERN") as caught:
        grouped([f"{i}.f{i}" for i in range(5)], max_fields=3)
    assert (caught.value.shard, caught.value.key, caught.value.offset) == ("x.tar", "3", 512 * 3)


def test_too_long_a_list_of_fields_names_the_tar():
    with pytest.raises(FormatError, match=r"the list of different fields takes .* --ignore") as caught:
        grouped([f"a{i}.{'x' * 50_000}{i}" for i in range(30)])
    assert caught.value.shard == "x.tar"


def test_memory_is_in_proportion_to_members_whatever_their_names():
    tracemalloc.start()
    try:
        found = grouped([f"{i}.jpg" for i in range(20_000)] + [f"a/._{i:04d}.jpg" for i in range(1000)])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.index.num_samples == 20_001
    assert len(found.index.fields) == 1001
    assert peak < 21_000 * 500, "bytes a member; a table of all fields would take 20,001 x 1,001 x 8 x 4"


def test_apple_double_files_by_default(tmp_path):
    data = b"".join(entry(b"a/._%d.jpg" % i, b"finder") + entry(b"a/%d.jpg" % i, b"%d" % i) for i in range(5))
    (tmp_path / "x.tar").write_bytes(data + END)
    report = shardpack.index(tmp_path)
    assert (report.num_samples, report.ignored, report.without_key) == (5, {"._*": 5}, 0)
    assert shardpack.verify(tmp_path, full=True).ok, "it ignores them again"
    assert as_dicts(list(shardpack.open(tmp_path, index="memory"))) == as_dicts(list(shardpack.open(tmp_path)))
    for ignore in ((), ("._[1-9]*", "3.jpg")):
        report = shardpack.index(tmp_path, ignore=ignore, force=True, on_duplicate="keep")
        assert report.ignored == ({"._[1-9]*": 4, "3.jpg": 1} if ignore else {})
        assert shardpack.verify(tmp_path, full=True).ok


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("._*", ["._a.jpg", "x/._a.jpg", "x/y/._", "._a\nb"], ["a._b", "._x/a.jpg", ".a", "x/a.jpg"]),
        ("*.txt", ["a.txt", "x/.txt", "x/y/a.b.txt"], ["a.txt.jpg", "a.TXT"]),
        ("x/*", ["x/a.jpg", "x/.a"], ["x/y/a.jpg", "y/x/a.jpg", "x"]),
        ("[ab]?.jpg", ["a1.jpg", "x/b..jpg"], ["ab1.jpg", "c1.jpg", "a/.jpg"]),
        ("[!a].jpg", ["b.jpg"], ["a.jpg", "/.jpg/b"]),
    ],
)
def test_members_that_a_pattern_means(pattern, yes, no):
    assert list(filter(MemberPattern(pattern).matches, (*yes, *no))) == yes


@given(st.text("ab/.*?[]!^-\\&~|", max_size=10), st.text("ab/.-", max_size=8))
def test_any_text_is_a_pattern_of_members(pattern, name):
    MemberPattern(pattern).matches(name)
