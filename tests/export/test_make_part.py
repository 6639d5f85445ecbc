"""A part: its rows, what is skipped, and its note, which comes last."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from shardpack.errors import ExportError
from shardpack.export.exporter import Part
from shardpack.export.make_part import PartMade, PartTask, make_part
from shardpack.export.staging import Staging


@dataclass(frozen=True)
class Keys:
    """Writes the keys of a part to a file."""

    fields = ("json",)
    bad: tuple[str, ...] = ()

    def row_maker(self):
        return self.row

    def row(self, sample):
        if sample.key in self.bad:
            raise ExportError("does not fit")
        return sample.key

    def write(self, part, rows, files):
        keys = list(rows)
        with open(files.create(f"{part.number}.txt"), "w", encoding="utf-8") as file:
            file.write(" ".join(keys))
        return {"rows": len(keys)}


def task(ds, staging, exporter, on_error="raise"):
    return PartTask(exporter, Part(0, None, 0, 1, 0, 3, 1), ds.select(range(3)), staging.paths, on_error)


def test_a_part_is_written_and_noted(pets, tmp_path):
    advanced = []
    with Staging(str(tmp_path), "a", force=False) as staging:
        made = make_part(task(pets, staging, Keys()), advanced.append)
        assert made == PartMade({"rows": 3}, 3, ())
        assert PartMade.of_json(staging.paths.note(0)) == made
        staging.publish()
    assert sum(advanced) == 3
    assert (tmp_path / "0.txt").read_text() == "cat/0000 dog/0001 cat/0002"


def test_a_sample_that_does_not_fit_is_named_or_skipped(pets, tmp_path):
    with Staging(str(tmp_path), "a", force=False) as staging:
        with pytest.raises(ExportError, match=r"does not fit.*key='dog/0001'"):
            make_part(task(pets, staging, Keys(("dog/0001",))))
        assert staging.paths.note(0) is None
        made = make_part(task(pets, staging, Keys(("dog/0001",)), "skip"))
        assert made == PartMade({"rows": 2}, 2, (("dog/0001", "does not fit"),))
        assert PartMade.of_json(staging.paths.note(0)) == made
