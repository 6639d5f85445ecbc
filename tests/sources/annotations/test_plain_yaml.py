"""What data.yaml files hold, read as it is written; the rest of YAML is refused with its line."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import DecodeError
from shardpack.sources.annotations.plain_yaml import MAX_BYTES, parse_yaml
from tests.strategies import examples

FILE = """\
# a set  # twice
path: ../datasets/coco8  # dataset root
train: images/train
test:  # none

names:
  0: person
  1: 'it''s #1'
  2: no
kpt_shape: [17, 3]
colours: {red: [1, 2], "b,l": null}
long: ['a', "b#c",  # a comment
       c d,
      ]
lists:
- x
- [y, z]
deep:
  deeper:
    - "a\\tb\\u00e9"
  other: http://x/y#z
download: |
  import os  # kept
    os.remove("*")

  done
nc: 3
"""
VALUE = {
    "path": "../datasets/coco8",
    "train": "images/train",
    "test": None,
    "names": {"0": "person", "1": "it's #1", "2": "no"},
    "kpt_shape": ["17", "3"],
    "colours": {"red": ["1", "2"], "b,l": "null"},
    "long": ["a", "b#c", "c d"],
    "lists": ["x", ["y", "z"]],
    "deep": {"deeper": ["a\tbé"], "other": "http://x/y#z"},
    "download": '  import os  # kept\n    os.remove("*")\n\n  done',
    "nc": "3",
}


@pytest.mark.parametrize("text", [FILE, FILE.replace("\n", "\r\n"), "\ufeff---\n" + FILE])
def test_a_whole_file(text):
    assert parse_yaml(text.encode()) == {**VALUE, "download": VALUE["download"]}


def test_an_empty_file():
    assert parse_yaml(b"\n# nothing\n") == {}


words = st.text(st.characters(categories=["L", "N"], include_characters=" .-_/"), min_size=1, max_size=8)
plain = words.map(str.strip).filter(lambda word: word and not word.startswith("-"))
texts = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=12)
values = st.recursive(
    texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)


@examples(200)
@given(st.dictionaries(plain, values, min_size=1, max_size=5))
def test_json_in_brackets_comes_back(value):
    text = "".join(f"{name}: {json.dumps(part, ensure_ascii=False)}\n" for name, part in value.items())
    assert parse_yaml(text.encode()) == value


def block_lines(value, indent):
    for name, part in value.items():
        if isinstance(part, dict) and part:
            yield f"{indent}{name}:"
            yield from block_lines(part, indent + "  ")
        elif isinstance(part, list):
            yield f"{indent}{name}:"
            yield from (f"{indent}  - {item}" for item in part)
        else:
            yield f"{indent}{name}: {part or ''}".rstrip()


blocks = st.recursive(
    plain,
    lambda inner: st.lists(plain, min_size=1, max_size=3) | st.dictionaries(plain, inner, min_size=1, max_size=3),
    max_leaves=8,
)


@examples(200)
@given(st.dictionaries(plain, blocks, min_size=1, max_size=5))
def test_blocks_come_back(value):
    assert parse_yaml("\n".join(block_lines(value, "")).encode()) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &x 1", r"line 1: a scalar cannot begin with '&'"),
        ("a: 1\nb: *x", r"line 2: a scalar cannot begin with '\*'"),
        ("a: !!python/object:os.system x", r"line 1: a scalar cannot begin with '!'"),
        ("a: 1\n<<: 2\n'c", r"line 3: expected `name: value`, got \"'c\""),
        ("? a\n: b", r"line 1: expected `name: value`"),
        ("- a: 1", r"line 1: a list of maps"),
        ("- a", r"line 1: expected `name: value`, got something else"),
        ("a:\n\tb: 1", r"line 2: it is indented by a tab"),
        ("a:\n  b: 1\n c: 2", r"line 3: it is indented less or more"),
        ("a: 1\n  b: 2", r"line 2: it is indented less or more"),
        ("a: 1\na: 2", r"line 2: the name 'a' occurs twice"),
        ("a: [1, 2\n", r"line 1: a bracket is never closed"),
        ("a: [1 2] 3", r"line 1: something stands behind a closing bracket"),
        ("a: [1,, 2]", r"line 1: expected a value, got ','"),
        ("a: ['b' c]", r"line 1: expected a comma or '\]', got 'c'"),
        ("a: {b}", r"line 1: expected `name: value` in braces"),
        ("a: 'b", r"line 1: a quote is never closed"),
        ("a: 'b' c", r"line 1: a quote is never closed, or something stands behind it"),
        ('a: "\\q"', r"line 1: an unknown escape \\q"),
        ("a: b: c", r"line 1: a map in one line needs braces"),
        ("a: " + "[" * 40, r"line 1: it is nested too deeply"),
        ("".join(f"{' ' * depth}a:\n" for depth in range(40)), r"line 1[0-9]: it is nested too deeply"),
        ("--- \n---\na: 1", r"line 2: expected `name: value`"),
    ],
)
def test_other_yaml_is_refused_with_its_line(text, reason):
    with pytest.raises(DecodeError, match=reason):
        parse_yaml(text.encode())


def test_size_and_encoding():
    with pytest.raises(DecodeError, match="at most 1,048,576 bytes"):
        parse_yaml(b"#" * (MAX_BYTES + 1))
    with pytest.raises(DecodeError, match="not UTF-8 at byte 3"):
        parse_yaml(b"a: \xff")


def test_every_cut_is_a_map_or_an_error_of_ours():
    data = FILE.encode()
    for stop in range(len(data)):
        with contextlib.suppress(DecodeError):
            assert isinstance(parse_yaml(data[:stop]), dict)


@examples(300)
@given(st.data())
def test_every_change_is_a_map_or_an_error_of_ours(data):
    text = list(FILE)
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.sampled_from("[]{}:,'\"#-|\n \t&a"))
    with contextlib.suppress(DecodeError):
        assert isinstance(parse_yaml("".join(text).encode()), dict)
