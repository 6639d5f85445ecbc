"""Expressions choose the rows they are true for, and reach nothing else."""

from __future__ import annotations

from contextlib import suppress

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError
from shardpack.table.query import CONFIG, Asked, matching
from shardpack.table.read_table import LabelTable
from tests.table.test_read_table import part_of

LABELS = [
    {"class": "hat", "score": 0.5, "tags": ["a", "b"], "meta": {"a": 1}, "mixed": 1, "Two Words": 1},
    {"class": "cat", "score": 1, "tags": [], "mixed": "x", "score ": 3},
    {"class": "hat", "Score": 7, "meta": {"a": 2, "b": "y"}},
    {"__stored_position__": 3, "mixed": [1], "É": 1, "é": 2},
]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("query")
    base = [part_of(folder, 0, list(enumerate(LABELS))[:3]), part_of(folder, 1, [(3, LABELS[3])])]
    return LabelTable(base, [part_of(folder, 2, [(1, {**LABELS[1], "class": "dog"})])])


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ("class = 'hat'", [0, 2]),
        ("class = 'cat'", []),
        ("CLASS = 'dog' AND score >= 1", [1]),
        ("class is null", [3]),
        ("list_contains(tags, 'b')", [0]),
        ("meta.a > 1", [2]),
        ("mixed = '1' or mixed = '\"x\"'", [0, 1]),
        ("json_type(mixed) = 'ARRAY'", [3]),
        ('"Two Words" = 1', [0]),
        ('"Score_1" = 7', [2]),
        ('"__stored_position___1" = 3', [3]),
        ('"É" < "é"', [3]),
        ("position >= 12", [1, 2, 3]),
        ("true", [0, 1, 2, 3]),
        ("null", []),
        ("score", [0, 1]),
        ("COLUMNS('^score$') > 0.7", [1]),
        ("key = '000' -- comment", [0, 1, 3]),
        ("width > 400", []),
    ],
)
def test_expressions_choose_rows(table, expression, rows):
    """Keys of a file count from 000, as `part_of` makes them."""
    found = matching(table, expression, Asked(shown=lambda stored: stored + 11))
    assert found.tolist() == rows
    assert found.dtype == np.int64


def test_rows_that_do_not_count_are_looked_for_among_what_was_found(table):
    """As long as the expression does not fail for them, or they are most rows."""
    looked_at = []

    def only(stored):
        looked_at.append(stored.tolist())
        return stored[stored != 2]

    assert matching(table, "class = 'hat'", Asked(only)).tolist() == [0]
    assert looked_at == [[0, 2], []]
    looked_at.clear()
    assert matching(table, "class = 'hat'", Asked(only, are_most=False)).tolist() == [0]
    assert looked_at == [[0, 1, 2], [3]]


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        (
            "clas = 'hat'",
            r"(?s)Referenced column \"clas\" not found.*the columns are: key, position.*, score, .*Score_1",
        ),
        ("__STORED_position__ = 1", "no column '__stored_position__'; got .*the columns are: key, "),
        ("width = 'a'", "could not|Could not convert"),
        ("class", "BOOL"),
        ("count(*) > 1", "aggregates"),
        ("row_number() over () > 3", "window"),
        ("error('boo')", "boo"),
        ("getenv('HOME') = 'x'", "getenv"),
        ("getvariable('x') = current_setting('no such')", "unrecognized|Catalog|no such"),
        ("LABELS is null", "not found"),
        ("length(repeat('x', 100000000000)) > 1", "query"),
    ],
)
def test_what_cannot_be_answered_is_one_line(table, expression, reason):
    with pytest.raises(OptionError, match=reason) as caught:
        matching(table, expression)
    assert "\n" not in str(caught.value)


REACHING = [
    *(
        f"from {name}('{{path}}')"
        for name in ("read_text", "read_csv", "read_blob", "glob", "sniff_csv", "read_parquet")
    ),
    "from '{path}'",
    "from read_text('http://127.0.0.1:9/')",
    "attach '{path}' as other",
    "copy (select 1) to '{path}.out'",
    "install httpfs",
    "load httpfs",
    "set enable_external_access = true",
    "set memory_limit = '100GB'",
    "from LABELS",
]


@pytest.mark.parametrize("statement", REACHING)
def test_the_connection_reaches_nothing(tmp_path, statement):
    """Even a whole statement of SQL, which an expression never is."""
    (tmp_path / "secret.csv").write_text("secret\n")
    with duckdb.connect(":memory:", config=CONFIG) as connection, pytest.raises(duckdb.Error):
        connection.execute(statement.format(path=tmp_path / "secret.csv")).fetchall()
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]


@given(st.text(max_size=20))
def test_any_text_is_answered_or_refused(table, text):
    with suppress(OptionError):
        assert set(matching(table, text).tolist()) <= set(range(4))
