"""Where names are cut, which keys are safe, and escaping; webdataset is the judge."""

from __future__ import annotations

import inspect
import os
import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from shardpack.errors import InvalidKeyError
from shardpack.format import naming
from shardpack.format.naming import check_field, check_key, escape_key, key_problem, split_name, unescape_key
from tests.format.builders import judge_module
from tests.strategies import safe_fields, safe_keys, tricky_names

ANY_BYTES = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.text(st.sampled_from(list("././__%aA\n \\é")), min_size=1, max_size=12).map(str.encode),
)


def webdataset_split(name: str) -> tuple[str, str] | None:
    """(key, field) as the library decides it: its skip rules, then base_plus_ext, then lower case."""
    judge = judge_module("webdataset.tariterators")
    if "/" not in name and name.startswith(judge.meta_prefix) and name.endswith(judge.meta_suffix):
        return None
    if re.match(r"__[^/]*__($|/)", name):  # the default of tar_file_iterator(skip_meta=...)
        return None
    key, field = judge.base_plus_ext(name)
    return None if key is None else (key, field.lower())


@given(tricky_names())
@example("x.y\nb/c.jpg")
@example("a\nb/c.jpg\n")
@example("__x__\n")
@example("__x__/a.jpg")
@example("a/.h.jpg")
@example("x.y/.h.jpg")
@example("____.jpg")
@example("___")
@example("a.İ")
def test_split_name_equals_that_of_webdataset(name):
    assert split_name(name) == webdataset_split(name)


def test_the_copied_rules_are_those_of_the_installed_webdataset():
    judge = judge_module("webdataset.tariterators")
    assert inspect.signature(judge.tar_file_iterator).parameters["skip_meta"].default == r"__[^/]*__($|/)"
    assert (judge.meta_prefix, judge.meta_suffix) == ("__", "__")
    assert inspect.signature(judge.group_by_keys).parameters["lcase"].default is True


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        ("a.jpg", ("a", "jpg")),
        ("a/b.c/d.e.JPG", ("a/b.c/d", "e.jpg")),
        ("./a.jpg", ("./a", "jpg")),
        ("../a.jpg", ("../a", "jpg")),
        ("/abs/a.jpg", ("/abs/a", "jpg")),
        ("a..jpg", ("a", ".jpg")),
        ("a.", ("a", "")),
        ("a/.h.jpg", ("a/", "h.jpg")),
        ("__x__.jpg", ("__x__", "jpg")),
        ("d/__x__/a.jpg", ("d/__x__/a", "jpg")),
        ("__x__/a.jpg", None),
        (".hidden.jpg", None),
        ("noext", None),
        ("a/noext", None),
        ("a.b/", None),
        ("", None),
    ],
)
def test_split_name_by_example(name, cut):
    assert split_name(name) == cut


@given(safe_keys(), safe_fields())
def test_safe_names_are_split_where_they_were_joined(key, field):
    assume(not naming._META.match(key))
    assert key_problem(key) is None
    check_key(key)
    check_field(field)
    assert split_name(f"{key}.{field}") == (key, field)


@given(tricky_names(), st.sampled_from(["jpg", "seg.png", "x_"]))
def test_keys_without_a_problem_are_split_where_they_were_joined(key, field):
    if key_problem(key) is None:
        assert split_name(f"{key}.{field}") == (key, field)
        last = key.rpartition("/")[2]
        assert not last.startswith((".", "__"))  # Hugging Face drops such
        assert not any(part in ("", ".", "..") for part in key.split("/"))
        assert key.isascii()
        assert key.isprintable()
        assert " " not in key
        assert os.path.normpath(key) == key


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "empty component"),
        ("/a", "empty component"),
        ("a//b", "empty component"),
        ("a/", "empty component"),
        ("a.b", "has a dot"),
        ("a/b.c", "has a dot"),
        ("a/.", "has a dot"),
        (".a", "has a dot"),
        ("a b", "space"),
        ("a\n", "space"),
        ("é", "outside ASCII"),
        ("a\0", "control"),
        ("a\x7f", "control"),
        ("\udcff", "outside ASCII"),
        ("__a", "Hugging Face"),
        ("a/__b", "Hugging Face"),
        ("__x__/a", "webdataset skips"),
        ("____/a", "webdataset skips"),
        ("./a", "'.' or '..'"),
        ("a/../b", "'.' or '..'"),
        ("a" * 65_536, "longer than 65535 bytes"),
    ],
)
def test_unsafe_keys_are_refused_with_the_reason(key, reason):
    assert reason in (key_problem(key) or "")
    with pytest.raises(InvalidKeyError, match=r"--rename-keys") as caught:
        check_key(key)
    assert caught.value.key == key


@pytest.mark.parametrize(
    "key", ["a", "a/b", "a.b/c", ".a/b", "..a/b", "_a", "___/a", "a__/b", "d/__x__/b", "~!@#$^&*()", "a" * 65_535]
)
def test_safe_keys_by_example(key):
    assert key_problem(key) is None


@pytest.mark.parametrize(
    "field", ["", "JPG", "a b", "a/b", ".jpg", "jpg.", "a..b", "é", "jpg\n", "__bad__", "__key__", "__x", "x" * 256]
)
def test_unsafe_fields_are_refused(field):
    with pytest.raises(InvalidKeyError, match="unsafe field name") as caught:
        check_field(field, key="cat/0001")
    assert caught.value.key == "cat/0001"


@pytest.mark.parametrize("field", ["jpg", "seg.png", "0", "left-view.png", "_x", "a__", "x" * 255])
def test_safe_fields_by_example(field):
    check_field(field)


@given(ANY_BYTES, st.booleans())
@example(b"/", False)
@example(b"a//b/", False)
@example(b"__x__/__y", False)
@example(b"\xff%2F%", True)
@example(b"a/./../..", False)
def test_escaped_keys_are_safe_and_can_be_unescaped(raw, upper):
    escaped = escape_key(raw, escape_upper=upper)
    assert key_problem(escaped) is None
    assert os.fsencode(unescape_key(escaped)) == raw
    assert escaped == escape_key(os.fsdecode(raw), escape_upper=upper)


@given(ANY_BYTES, ANY_BYTES)
def test_escaping_upper_case_survives_folding(one, other):
    folded = [escape_key(raw, escape_upper=True).lower() for raw in (one, other)]
    assert (folded[0] == folded[1]) == (one == other)


@given(safe_keys())
def test_safe_keys_without_percent_stay_as_they_are(key):
    assume("%" not in key and key_problem(key) is None)
    assert escape_key(key) == key


def test_escapes_by_example():
    assert escape_key("a b/c.d") == "a%20b/c%2Ed"
    assert escape_key("/a//b/") == "%2Fa/%2Fb%2F"
    assert escape_key("__x__/__y") == "%5F_x__/%5F_y"
    assert escape_key("Ä/Aa", escape_upper=True) == "%C3%84/%41a"


@pytest.mark.parametrize("key", ["", b"", "\ud800", "é" * 20_000, b"\0" * 30_000])
def test_keys_that_cannot_be_escaped(key):
    with pytest.raises(InvalidKeyError, match="rename it"):
        escape_key(key)
