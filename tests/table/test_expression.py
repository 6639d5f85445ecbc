"""A query is one expression about one row; anything else is refused before it is run."""

from __future__ import annotations

from contextlib import suppress

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError
from shardpack.table.expression import check_expression, shown


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect(":memory:") as opened:
        yield opened


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("class = 'hat' and width > 400", {"class", "width"}),
        ('"Two Words" is null', {"two words"}),
        ("meta.a.b > 3", {"meta", "a", "b"}),
        ("list_contains(tags, 'x') -- and so on", {"tags"}),
        ("width BETWEEN 3 AND height or key LIKE 'a%'", {"width", "height", "key"}),
        ("true", set()),
        ("((width > 3) or (ok)) and key = ') OR ('", {"width", "ok", "key"}),
        ("(width) > (3) /* ) or ( */", {"width"}),
        ("COLUMNS('w.*') > 3", None),
        ('\'"class":"SUBQUERY"\' = class', {"class"}),
    ],
)
def test_names_in_expressions(connection, expression, names):
    assert check_expression(connection, expression) == names


@pytest.mark.parametrize(
    "expression",
    [
        "width >", "width > 3 order by 1", "width > 3 limit 1", "1 = 1; drop table x",
        "true) union all select 5 where (true",
        "true) order by (1", "true) limit (3", "true) group by (1", "true) having (true", "true) qualify (true",
        "(true", "1=0) OR (1=1", "true) = (true", "length(key", "1), (2",
        "width in (select 1)", "exists (from x)", "(select content from read_text('/etc/passwd')) = 'x'", "$1 = 3", "?",
        "", "  ", "-- x", "/* x", "select 1", "set threads = 1", "x" * 100_001, "a\0b", "\ud800", None, 3, b"true",
        "(" * 20_000 + "true" + ")" * 20_000,
    ],
)  # fmt: skip
def test_anything_else_is_refused(connection, expression):
    with pytest.raises(OptionError) as caught:
        check_expression(connection, expression)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@given(st.text(max_size=30))
def test_texts_are_refused_or_understood(text):
    with duckdb.connect(":memory:") as opened, suppress(OptionError):
        check_expression(opened, text)


def test_long_expressions_are_shown_in_part():
    assert len(shown("x" * 1000)) < 250
    assert shown("a\n  b") == "'a b'"
