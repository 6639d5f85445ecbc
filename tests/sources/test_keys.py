"""Names become safe, unique and reversible, or are reported as problems."""

from __future__ import annotations

import os

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shardpack.format.naming import PLAIN_KEY, check_key, escape_key, key_problem, unescape_key
from shardpack.sources.keys import check_names
from shardpack.sources.source import Problems
from tests.sources.trees import listing_of, samples_of

# Keys as a disk can have them: any bytes in a component, but for "/", NUL and the empty, ".", ".." components.
components = st.one_of(
    st.text("aAbB._-%", min_size=1, max_size=4).map(str.encode),
    st.binary(min_size=1, max_size=4).filter(lambda part: b"/" not in part and b"\0" not in part),
).filter(lambda part: part not in (b".", b".."))
disk_keys = st.lists(components, min_size=1, max_size=3).map(lambda parts: os.fsdecode(b"/".join(parts)))
key_lists = st.lists(disk_keys, max_size=8, unique=True)


@given(st.text("aA0._-%/ \té!~", max_size=6))
def test_plain_keys_are_safe_and_not_changed_by_escaping(key):
    if PLAIN_KEY.fullmatch(key):
        assert key_problem(key) is None
        assert escape_key(key) == key
    elif key_problem(key) is None:
        assert set(key) & set("%._")  # those cost a second look, no others


@given(key_lists)
def test_what_passes_is_safe_and_the_rest_is_named(keys):
    problems = Problems()
    listing = check_names(listing_of(keys), problems)
    assert list(listing.keys) == sorted(listing.keys)
    for key in listing.keys:
        check_key(key)
    folded = [key.lower() for key in listing.keys]
    assert len(set(folded)) == len(folded)
    assert sorted([*listing.keys, *(name.removesuffix(".jpg") for name, _ in problems.rejected)]) == sorted(keys)


@given(key_lists)
def test_renaming_keeps_all_and_is_reversible(keys):
    problems = Problems()
    listing = check_names(listing_of(keys), problems, rename_keys=True)
    assert not problems.rejected
    assert list(listing.keys) == sorted(listing.keys)
    for key, fields in samples_of(listing).items():
        check_key(key)
        assert fields == {"jpg": unescape_key(key) + ".jpg"}
    folded = [key.lower() for key in listing.keys]
    assert len(set(folded)) == len(keys)


@given(key_lists, st.randoms(use_true_random=False), st.booleans())
def test_order_of_the_source_does_not_matter(keys, random, rename_keys):
    listing = listing_of(keys)
    order = list(range(len(keys)))
    random.shuffle(order)
    results = []
    for source in (listing, listing.take(np.array(order, np.int64))):
        problems = Problems()
        checked = check_names(source, problems, rename_keys=rename_keys)
        results.append((samples_of(checked), list(checked.keys), sorted(problems.rejected)))
    assert results[0] == results[1]


def test_keys_that_differ_in_case_only():
    problems = Problems()
    listing = check_names(listing_of(["d/Ab", "d/aB", "d/ac", "D/ac", "e"]), problems)
    assert list(listing.keys) == ["D/ac", "d/Ab", "e"]
    assert [name for name, _ in problems.rejected] == ["d/aB.jpg", "d/ac.jpg"]
    assert problems.rejected[0][1].startswith("its key 'd/aB' differs in case only from that of 'd/Ab.jpg'; rename it")


def test_keys_that_differ_in_case_only_with_rename_keys():
    listing = check_names(listing_of(["d/Ab", "d/aB", "d/ab", "Other"]), Problems(), rename_keys=True)
    assert list(listing.keys) == ["Other", "d/%41b", "d/a%42", "d/ab"]


def test_equal_keys_name_both_sources():
    listing = listing_of(["a", "b"])
    listing.keys[1] = "a"
    for rename_keys in (False, True):
        problems = Problems()
        assert list(check_names(listing, problems, rename_keys=rename_keys).keys) == ["a"]
        assert problems.rejected == [("b.jpg", "its key 'a' is also that of 'a.jpg'; rename one")]


def test_every_unsafe_key_says_why():
    problems = Problems()
    keys = ["a b", "caf\udce9", "café", "d/__x", "__x__/1", "ok", "dotted.name"]
    assert list(check_names(listing_of(keys), problems).keys) == ["ok"]
    reasons = {name: reason.partition(";")[0] for name, reason in problems.rejected}
    assert reasons == {
        "a b.jpg": "it has a space, a control character or a character outside ASCII",
        "caf\udce9.jpg": "its name is not UTF-8",
        "café.jpg": "it has a space, a control character or a character outside ASCII",
        "d/__x.jpg": "its last component starts with '__', which Hugging Face datasets drops",
        "__x__/1.jpg": "its first component is '__...__', which webdataset skips",
        "dotted.name.jpg": "its last component has a dot, where readers split the name",
    }
    assert all(
        reason.endswith("pass rename_keys (--rename-keys) to escape it reversibly") for _, reason in problems.rejected
    )


def test_half_a_surrogate_pair_cannot_be_renamed():
    problems = Problems()
    assert list(check_names(listing_of(["\ud800", "ok"]), problems, rename_keys=True).keys) == ["ok"]
    assert problems.rejected[0][1].startswith("its name is not UTF-8; rename it")


def test_keys_too_long_for_any_reader():
    for rename_keys in (False, True):
        problems = Problems()
        long = "d/" * 40_000 + "x"
        assert list(check_names(listing_of([long, "ok"]), problems, rename_keys=rename_keys).keys) == ["ok"]
        assert problems.rejected[0][1].startswith("it is longer than 65535 bytes; rename it")


def test_unsafe_fields_are_rejected_and_forgotten():
    problems = Problems()
    listing = check_names(
        listing_of({"a": ["jpg"], "b": ["jpg", "my mask.png"], "c": ["jpg", "x\udce9"], "d": ["jpg", "txt"]}), problems
    )
    assert samples_of(listing) == {"a": {"jpg": "a.jpg"}, "d": {"jpg": "d.jpg", "txt": "d.txt"}}
    assert listing.fields == ("jpg", "txt")
    assert [name for name, _ in problems.rejected] == ["b.jpg", "c.jpg"]
    assert problems.rejected[0][1].startswith("'b.my mask.png': unsafe field name 'my mask.png': expected lower-case")
    assert problems.rejected[1][1] == "'c.x\\udce9': its name is not UTF-8; rename it"


def test_nothing_to_check():
    for rename_keys in (False, True):
        assert check_names(listing_of([]), Problems(), rename_keys=rename_keys).num_samples == 0
