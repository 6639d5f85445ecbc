"""Rows are drawn from all of a source, and stand for it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from shardpack.errors import SourceError
from shardpack.inspect.draw_rows import draw_rows
from shardpack.sources.row_source import BadRow, Row, Unit

JPEG = b"\xff\xd8\xff" + bytes(997)


@dataclass
class Rows:
    """Units of rows, each a field -> value, or a text that says what is wrong with it."""

    contents: list[list[dict | str]]
    counted: bool = True
    whole: bool = False
    read: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def units(self):
        return [
            Unit(f"unit {number}", len(rows) if self.counted else None, 1100 * len(rows), is_whole=self.whole)
            for number, rows in enumerate(self.contents)
        ]

    def rows(self, unit, first, stop):
        self.read.append((unit, first, stop))
        for number, row in enumerate(self.contents[unit][first:stop], start=first):
            name = f"{unit}/{number}"
            yield BadRow(name, row) if isinstance(row, str) else Row(name, row)


def images(count):
    return [{"jpg": JPEG, "json": {"label": number}} for number in range(count)]


def test_stretches_are_spread_over_one_unit():
    draw = draw_rows(source := Rows([images(80)]), 16)
    assert source.read == [(0, first, first + 2) for first in range(0, 80, 10)]
    assert [one.name for one in draw.samples][:4] == ["0/0", "0/1", "0/10", "0/11"]
    assert (draw.num_images, draw.image_bytes, draw.other_bytes) == (80, 1000, 1024)
    assert draw.overhead == pytest.approx(1 - (1000 + 11.375) / (512 + 1024 + 1024), abs=1e-3)
    assert draw.samples[0].payload == JPEG


def test_stretches_are_spread_over_units():
    draw = draw_rows(source := Rows([images(3) for _ in range(20)]), 8)
    assert source.read == [(unit, 0, 1) for unit in (0, 2, 5, 7, 10, 12, 15, 17)]
    assert (len(draw.samples), draw.num_images) == (8, 60)
    assert len(draw_rows(Rows([images(3), [], images(2)]), 100).samples) == 5


def test_rows_that_are_read_beyond_the_wanted_count_too():
    draw = draw_rows(Rows([images(20) for _ in range(3)]), 16)  # 6 of each
    assert (len(draw.samples), draw.num_images) == (16, 60)


@pytest.mark.parametrize("source", [Rows([images(50)], counted=False), Rows([images(50)], whole=True)])
def test_only_the_beginning_is_read_where_all_before_must_be(source):
    draw = draw_rows(source, 5)
    assert source.read == [(0, 0, 5)]
    assert len(draw.samples) == 5
    assert draw.num_images == pytest.approx(50, abs=5), "estimated from lengths, where it is not counted"


def test_rows_without_images_count_as_such():
    draw = draw_rows(Rows([[{"jpg": JPEG, "seg.png": b"\x89PNG"}, {"txt": "a"}] * 20]), 40)
    assert (len(draw.samples), draw.num_images) == (20, 20)
    assert {one.image for one in draw.samples} == {"jpg"}


def test_what_cannot_be_read_is_named():
    draw = draw_rows(Rows([["no key", {"jpg": JPEG, "npz": 3}, *images(2)]]), 4)
    assert draw.unread["0/0"] == "no key"
    assert "'npz' cannot be stored" in draw.unread["0/1"]
    assert [one.name for one in draw.samples] == ["0/2", "0/3"]


@pytest.mark.parametrize("rows", [[], [[]], [[{"npy": np.zeros(3)}]]])
def test_without_images_there_is_nothing_to_try(rows):
    with pytest.raises(SourceError, match="there are no images to try"):
        draw_rows(Rows(rows), 4)
