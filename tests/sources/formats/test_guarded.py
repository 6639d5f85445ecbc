"""A library that ends its process costs that process, and an error names what it was reading."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass

import pytest

from shardpack.errors import OptionError, SourceError
from shardpack.runtime import worker
from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.formats.guarded import GuardedRows, open_guarded
from shardpack.sources.formats.importer import FormatOptions
from shardpack.sources.row_source import BadRow, Row, Unit
from shardpack.storage.memory import MemoryStore

FOUND = FoundFiles("here/t.x", MemoryStore({"t.x": b""}), ("t.x",), is_file=True)


@dataclass(frozen=True)
class Numbers:
    """A source whose rows are numbers; row `dies_at` ends the process, row `fails_at` raises."""

    dies_at: int = -1
    fails_at: int = -1
    format: str = "numbers"
    units: tuple[Unit, ...] = (Unit("t.x", 200, 200),)
    classes: tuple[str, ...] | None = ("a",)
    version: str = "1"
    sentence: str = "Numbers"

    def rows(self, unit, first, stop):
        for number in range(first, self.units[unit].num_rows if stop is None else stop):
            if number == self.dies_at:
                os._exit(9)
            if number == self.fails_at:
                raise SourceError("cannot read on", path="t.x")
            yield BadRow("t.x, row 5", "bad") if number == 5 else Row(str(number), {"bin": b"x" * 40_000})


def open_numbers(_, options):
    if options.key_column == "die":
        os._exit(9)
    if options.key_column == "refuse":
        raise OptionError("refused")
    return Numbers(dies_at=150)


def test_rows_of_the_child_are_those_of_the_source():
    source = GuardedRows(Numbers())
    assert list(source.rows(0, 3, None)) == list(Numbers().rows(0, 3, None))
    assert list(source.rows(0, 3, 4)) == [Row("3", {"bin": b"x" * 40_000})]
    assert list(source.rows(0, 4, 4)) == []


def test_a_death_names_the_unit():
    rows = GuardedRows(Numbers(dies_at=150)).rows(0, 0, None)
    with pytest.raises(SourceError, match=r"reading t\.x ended its process, which ended with exit code 9; the file is"):
        list(rows)


def test_errors_of_ours_stay_what_they_are():
    with pytest.raises(SourceError, match="cannot read on"):
        list(GuardedRows(Numbers(fails_at=100)).rows(0, 0, None))


def test_the_source_is_opened_in_a_child():
    source = open_guarded(open_numbers, FOUND, FormatOptions())
    assert (source.format, source.classes, source.version, source.sentence) == ("numbers", ("a",), "1", "Numbers")
    assert pickle.loads(pickle.dumps(source)) == source
    with pytest.raises(SourceError, match=r"opening 'here/t\.x' ended its process, which ended with exit code 9"):
        open_guarded(open_numbers, FOUND, FormatOptions(key_column="die"))
    with pytest.raises(OptionError, match="refused"):
        open_guarded(open_numbers, FOUND, FormatOptions(key_column="refuse"))


def test_a_worker_reads_itself(monkeypatch):
    monkeypatch.setattr(worker, "_serving", [True])
    monkeypatch.setattr("shardpack.sources.formats.guarded.Guard", None)
    source = open_guarded(open_numbers, FOUND, FormatOptions())
    assert len(list(source.rows(0, 0, 10))) == 10
