"""Views of samples that expressions choose, and the rows of views."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import OptionError
from tests.strategies import examples
from tests.table.datasets import labelled

LABELS = [{"class": "abc"[n % 3], "n": n} for n in range(12)]


@pytest.fixture(scope="module")
def ds(tmp_path_factory):
    folder = labelled(tmp_path_factory.mktemp("selected") / "ds", LABELS, max_shard_samples=5)
    shardpack.table(folder)
    return shardpack.open(folder)


@pytest.fixture(scope="module")
def edited(tmp_path_factory):
    """The same without the samples 2, 3 and 11."""
    folder = labelled(tmp_path_factory.mktemp("selected") / "ds", LABELS, max_shard_samples=5)
    shardpack.table(folder)
    shardpack.delete(folder, ["002", "003", "011"])
    return shardpack.open(folder)


def keys(view):
    return [int(key) for key in view.keys()]  # noqa: SIM118 - a dataset is no dict


def test_where_is_a_view_in_order(ds):
    view = ds.where("class = 'b' and n > 3")
    assert keys(view) == [4, 7, 10]
    assert [sample.key for sample in view.stream()] == ["004", "007", "010"]
    assert keys(view.where("n < 9")) == [4, 7]
    assert keys(ds.where("false")) == []
    assert keys(ds.where("position between 3 and 5")) == [3, 4, 5]


def test_where_of_a_view_is_in_it_in_its_order(ds):
    view = ds.select([9, 1, 4, 3])
    assert keys(view.where("class = 'b' or n = 9")) == [9, 1, 4]
    assert keys(ds.select(range(3, 9)).where("class = 'a'")) == [3, 6]


def test_deleted_samples_are_never_there(edited):
    assert keys(edited.where("true")) == [0, 1, 4, 5, 6, 7, 8, 9, 10]
    assert keys(edited.where("class = 'c'")) == [5, 8]
    assert keys(edited.where("position = 2")) == [4]
    table = edited.table(["key", "position"])
    assert table["position"].to_pylist() == list(range(9))
    assert [edited[position].key for position in table["position"].to_pylist()] == table["key"].to_pylist()


@pytest.fixture
def with_a_bad_label(tmp_path):
    """Texts that are numbers, but for that of the sample 1."""
    folder = labelled(tmp_path / "ds", [{"text": text, "n": n} for n, text in enumerate(["5", "abc", "7", "9"])])
    shardpack.table(folder)
    return folder


def test_an_expression_is_not_asked_about_samples_outside_a_view(with_a_bad_label):
    ds = shardpack.open(with_a_bad_label)
    with pytest.raises(OptionError, match="Could not convert"):
        ds.where("cast(text as int) > 5")
    assert keys(ds.where("n <> 1").where("cast(text as int) > 5")) == [2, 3]
    assert keys(ds.select([3, 0, 2, 3]).where("cast(text as int) > 5 and position > 1")) == [3, 2, 3]
    assert keys(ds.select([]).where("cast(text as int) > 5")) == []


def test_an_expression_is_not_asked_about_deleted_samples(with_a_bad_label):
    shardpack.delete(with_a_bad_label, ["001"])
    assert keys(shardpack.open(with_a_bad_label).where("cast(text as int) > 5 and position >= 1")) == [2, 3]
    shardpack.delete(with_a_bad_label, where="cast(text as int) > 7")
    assert keys(shardpack.open(with_a_bad_label)) == [0, 2]


def test_no_payload_is_read(ds):
    fresh = shardpack.open(ds.location)
    before = fresh.stats()
    assert len(fresh.where("width > 0")) == 12
    assert fresh.table().num_rows == 12
    after = fresh.stats()
    assert after.bytes_fetched - before.bytes_fetched <= 2 * sum(file.num_bytes for file in fresh.manifest.table)


def test_columns_of_a_table(ds):
    assert ds.table(["n", "class"]).to_pylist()[:2] == [{"n": 0, "class": "a"}, {"n": 1, "class": "b"}]
    assert ds.table().column_names[:4] == ["key", "position", "split", "class"]
    with pytest.raises(OptionError, match="no column 'x'; the table has: key, "):
        ds.table(["n", "x"])
    for wrong in ("n", [], ""):
        with pytest.raises(
            OptionError, match=r"columns are a list of names, at least one, got .*; the table has: key, "
        ):
            ds.table(wrong)


@examples(50)
@given(st.lists(st.integers(-9, 8)), st.sampled_from(["true", "class = 'a'", "n % 2 = 0", "position < 4", "null"]))
def test_rows_of_views_are_those_of_a_list(edited, items, expression):
    visible = [n for n in range(12) if n not in (2, 3, 11)]
    holds = {
        "true": lambda _: True,
        "class = 'a'": lambda n: n % 3 == 0,
        "n % 2 = 0": lambda n: n % 2 == 0,
        "position < 4": lambda n: visible.index(n) < 4,
        "null": lambda _: False,
    }[expression]  # fmt: skip
    view = edited.select(items)
    chosen = [visible[item] for item in items]
    assert view.table(["n", "position"]).to_pylist() == [{"n": n, "position": visible.index(n)} for n in chosen]
    assert keys(view.where(expression)) == [n for n in chosen if holds(n)]


def test_without_a_table_the_command_is_named(tmp_path):
    ds = shardpack.open(labelled(tmp_path / "ds", LABELS))
    for call in (lambda: ds.where("true"), ds.table):
        with pytest.raises(OptionError, match=r'has no label table; make one with "shardpack table .*ds"'):
            call()


def test_a_process_that_asked_ends_cleanly(ds):
    """Threads of Arrow's that still let go of what they read would abort it."""
    code = (
        "import sys, shardpack\n"
        "from shardpack.table import parquet\n"
        "parquet.WHOLE_BYTES = 0\n"
        "ds = shardpack.open(sys.argv[1])\n"
        "print(len(ds.where('n > 3 and class is not null')), ds.table().num_rows)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, ds.location], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "8 12\n", "")
