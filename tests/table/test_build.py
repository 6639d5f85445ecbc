"""A table has a row for each sample, in files of limited length, and the same bytes however its rows came."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from shardpack.codecs.label_types import FLOAT, STR
from shardpack.table.build import all_positions, finished_files, read_rows, write_rows
from shardpack.table.rows import Naming
from tests.table.datasets import built, cache_of, labelled, values

LABELS = [{"class": "ab"[n % 2], "n": n if n < 6 else n + 0.5, **({"late": "x"} if n == 9 else {})} for n in range(10)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return labelled(tmp_path_factory.mktemp("build") / "ds", LABELS, max_shard_samples=4)


def contents(made):
    return [Path(file.path).read_bytes() for file in made.files]


def test_files_hold_all_rows_with_one_type_each(folder, tmp_path):
    done = []
    made = built(folder, tmp_path, file_rows=4, batch_rows=3, total=10, progress=lambda *what: done.append(what))
    assert [file.num_rows for file in made.files] == [4, 4, 2]
    assert made.types == {"n": FLOAT, "late": STR}
    tables = [pq.read_table(file.path) for file in made.files]
    assert len({tuple(table.schema.names) for table in tables}) == 1
    rows = [row for table in tables for row in values(table)]
    assert [row["position"] for row in rows] == list(range(10))
    assert [(row["class"], row["n"], row.get("late")) for row in rows] == [
        (label["class"], label["n"], label.get("late")) for label in LABELS
    ]
    assert done == [("table", rows, 10) for rows in (3, 6, 9, 10)]


def test_bytes_do_not_depend_on_how_rows_come(folder, tmp_path):
    made = []
    for number, batch_rows in enumerate((1, 3, 100)):
        (tmp_path / str(number)).mkdir()
        made.append(contents(built(folder, tmp_path / str(number), file_rows=4, batch_rows=batch_rows)))
    assert made[0] == made[1] == made[2]


class KilledError(Exception):
    """Stands for the end of a process."""


@pytest.mark.parametrize("batches", [0, 2, 3, 4])  # of 3 rows: 0, 1, 2 and 2 files of 4 rows
def test_a_run_goes_on_behind_the_files_of_one_that_was_killed(folder, tmp_path, batches):
    (tmp_path / "whole").mkdir()
    expected = contents(built(folder, tmp_path / "whole", file_rows=4))

    def killed(_, done, __):
        if done == min(3 * batches, 10):
            raise KilledError

    if batches:
        with pytest.raises(KilledError):
            built(folder, tmp_path, file_rows=4, batch_rows=3, progress=killed)
    finished = finished_files(str(tmp_path))
    first, done = sum(file.num_rows for file, _ in finished), []
    assert first == {0: 0, 2: 4, 3: 8, 4: 8}[batches]
    rows = read_rows(cache_of(folder), all_positions(10, 3, first=first), Naming())
    made = write_rows(rows, str(tmp_path), finished=finished, file_rows=4, progress=lambda *what: done.append(what[1]))
    assert contents(made) == expected
    assert done[0] == (first or 3)


def test_a_file_that_is_not_whole_is_made_again(folder, tmp_path):
    built(folder, tmp_path, file_rows=4)
    whole = (tmp_path / "000001.parquet").read_bytes()
    (tmp_path / "000001.parquet").write_bytes(whole[:-1])
    assert [file.num_rows for file, _ in finished_files(str(tmp_path))] == [4]


def test_long_rows_make_files_of_fewer(folder, tmp_path):
    assert len(built(folder, tmp_path, file_bytes=1, batch_rows=5).files) == 2


def test_positions_may_be_moved_and_chosen(folder):
    cache = cache_of(folder)
    rows = list(read_rows(cache, [next(all_positions(10))[[2, 7]]], Naming(), first=100))
    assert [row["position"] for some in rows for row in values(some.table)] == [102, 107]
    assert [row["key"] for some in rows for row in values(some.table)] == ["002", "007"]
