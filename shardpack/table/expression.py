"""What a query may say: one expression of SQL, as it stands behind WHERE, about the columns of a row.

DuckDB parses it; the tree that it returns is looked at before anything is run. Subqueries are refused, as rows are
filtered some at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from shardpack.errors import OptionError
from shardpack.table.libraries import duckdb_module

MAX_CHARACTERS = 100_000


def where_clause(expression: str) -> str:
    """Return the clause that filters by an expression; a comment in it does not reach beyond it."""
    return f"WHERE (\n{expression}\n)"


def check_expression(connection: Any, expression: Any) -> set[str] | None:
    """Return the names in an expression, in lower case, of which some are columns; None if it may mean any column.

    Raises:
        OptionError: It is not one expression, or asks for more than the columns of a row.
    """
    if not isinstance(expression, str) or not expression.strip():
        raise OptionError(
            f"a query is an expression of SQL, got {expression!r}; write \"class = 'cat' and width > 400\""
        )
    if len(expression) > MAX_CHARACTERS or "\0" in expression:
        raise OptionError(
            f"a query has at most {MAX_CHARACTERS} characters and no NUL; select keys or positions instead"
        )
    names: set[str] = set()
    any_column = False
    tree = _where(_parsed(connection, where_clause(expression), expression), expression)
    _parsed(connection, f"WHERE {expression}", expression)  # nor may it close the brackets that stand around it
    for part in _parts(tree):
        kind = part.get("class")
        if kind == "SUBQUERY":
            raise OptionError(f"a query looks at one row at a time, so it has no subqueries; got {shown(expression)}")
        if kind == "PARAMETER":
            raise OptionError(f"a query has no parameters; write the value into it; got {shown(expression)}")
        any_column = any_column or kind == "STAR"
        if kind == "COLUMN_REF":
            names.update(name.lower() for name in part["column_names"])
    return None if any_column else names


def _parsed(connection: Any, clause: str, expression: str) -> dict[str, Any]:
    """Return DuckDB's tree of a statement that filters by a clause with the expression."""
    try:
        ((answer,),) = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [f"SELECT 1 {clause}"]).fetchall()
        parsed = json.loads(answer)
    except RecursionError as error:
        raise OptionError("the query is nested too deeply; write a shorter one") from error
    except duckdb_module().Error as error:
        raise OptionError(
            f"the query cannot be parsed: {one_line(str(error))[:300]}; got {shown(expression)}"
        ) from error
    if parsed.get("error"):
        said = one_line(parsed.get("error_message", ""))
        raise OptionError(f"the query cannot be parsed: {said}; got {shown(expression)}")
    return dict(parsed)


def _where(parsed: dict[str, Any], expression: str) -> Any:
    """Return the tree of the expression, if there is nothing else."""
    node = parsed["statements"][0]["node"] if len(parsed["statements"]) == 1 else {}
    clause = node.get("where_clause")
    rest = [value for name, value in node.items() if name not in _EXPECTED]
    only_brackets = isinstance(clause, dict) and clause.get("function_name") == "row" and not clause.get("arguments")
    is_one = node.get("type") == "SELECT_NODE" and all(value in _NOTHING for value in rest)
    if not is_one or not isinstance(clause, dict) or only_brackets:
        raise OptionError(f"a query is one expression, as it stands behind WHERE; got {shown(expression)}")
    return clause


_EXPECTED = {"type", "select_list", "from_table", "where_clause", "aggregate_handling"}
_NOTHING: tuple[Any, ...] = (None, [], {}, {"map": []})  # what the others are where they say nothing


def _parts(node: Any) -> Iterator[dict[str, Any]]:
    """Yield all objects in a tree."""
    waiting = [node]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def shown(expression: str) -> str:
    """Return an expression as errors show it."""
    text = one_line(expression)
    return repr(text if len(text) <= 200 else f"{text[:197]}...")


def one_line(text: str) -> str:
    """Return a text in one line."""
    return " ".join(text.split())
