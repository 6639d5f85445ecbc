"""A problem made from an error, and printed as a line."""

from __future__ import annotations

import pytest

from shardpack.errors import CorruptIndexError, CorruptManifestError, ShardNotFoundError, StaleIndexError, StorageError
from shardpack.inspect.problem import Problem, problem_of


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (CorruptIndexError, "damaged"),
        (CorruptManifestError, "damaged"),
        (StaleIndexError, "stale"),
        (ShardNotFoundError, "missing"),
        (StorageError, "unreadable"),
    ],
)
def test_an_error_is_a_problem_of_its_file(error, kind):
    found = problem_of(error("it is so; do this", shard="a.tar", key="k", offset=3), "b.tar")
    assert found == Problem(kind, "a.tar", "it is so; do this", "k", 3)
    assert problem_of(error("it is so"), "b.tar").shard == "b.tar"


def test_as_a_line():
    assert str(Problem("damaged", "a.tar", "no", key="k", offset=3)) == "damaged: a.tar, key 'k', offset 3: no"
