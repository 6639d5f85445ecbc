"""Each line of a table of JSON Lines is a record, or named."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import SourceError
from shardpack.sources.jsonl_table import jsonl_records
from shardpack.sources.source import Problems
from shardpack.sources.table_text import table_text
from tests.strategies import examples


def found_in(content):
    """Return the records of one table, as (line, values), and what was rejected."""
    problems = Problems()
    found = jsonl_records(table_text("a.jsonl", content), problems)
    return [(line, values) for _, line, values in found], problems.rejected


objects = st.dictionaries(
    st.text(max_size=3), st.none() | st.booleans() | st.integers() | st.text(max_size=3), max_size=3
)
others = st.sampled_from(["", "  ", "{", "[]", "3", "null", '{"a": NaN}', "{} {}"])


@examples(60)
@given(st.lists(objects | others, max_size=6), st.booleans())
def test_each_line_of_jsonl_is_a_record_or_rejected_or_blank(lines, mark):
    first = {"file_name": "0.jpg"}
    texts = [line if isinstance(line, str) else json.dumps(line) for line in [first, *lines]]
    content = ("\ufeff" if mark else "") + "\n".join(texts)
    records, rejected = found_in(content.encode())
    expected = [(number, line) for number, line in enumerate([first, *lines], 1) if isinstance(line, dict)]
    assert records == expected
    bad = [number for number, line in enumerate(lines, 2) if isinstance(line, str) and line.strip()]
    assert [name for name, _ in rejected] == [f"a.jsonl:{number}" for number in bad]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b" \n", "a.jsonl is empty; expected lines like"),
        (b'{"path": 1}\n', "no column 'file_name': found 'path'"),
    ],
)
def test_bad_tables_are_errors(content, text):
    with pytest.raises(SourceError, match=text):
        found_in(content)
