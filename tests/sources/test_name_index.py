"""Names are found by a text of theirs, all that have it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shardpack.sources.name_index import NameIndex

names = st.text("ab/", max_size=4)


def last(name):
    return name.rpartition("/")[2]


@given(st.lists(names, max_size=12), names)
def test_all_that_have_a_text_are_found(listed, wanted):
    assert list(NameIndex(listed).find(wanted)) == [i for i, name in enumerate(listed) if name == wanted]
    assert list(NameIndex(listed, last).find(wanted)) == [i for i, name in enumerate(listed) if last(name) == wanted]
    assert (wanted in NameIndex(listed)) == (wanted in listed)


class Same(str):
    """A text whose hash is that of all others."""

    __slots__ = ()

    def __hash__(self):
        return 1

    def __eq__(self, other):
        return str.__eq__(self, other)


def test_texts_with_one_hash_are_told_apart():
    index = NameIndex([Same("a"), Same("b"), Same("a")])
    assert list(index.find(Same("a"))) == [0, 2]
    assert list(index.find(Same("b"))) == [1]
    assert Same("c") not in index
