"""One row of any format: a sample, or what is wrong with it."""

from __future__ import annotations

from shardpack.errors import DecodeError
from shardpack.sources.formats.mapping import RowMapping
from shardpack.sources.formats.row_keys import RowKeys
from shardpack.sources.formats.row_maker import RowMaker
from shardpack.sources.row_source import BadRow, Row, Unit

MAKER = RowMaker(RowMapping(key_column="id"), RowKeys.of([Unit("a", 2, 0, "train"), Unit("b", 2, 0, "val")]))


def test_a_sample():
    assert MAKER.row(1, 0, "b, row 0", lambda: {"id": "x", "n": 1}) == Row("val/x", {"json": {"n": 1}})


def test_what_is_wrong_is_a_bad_row():
    def damaged():
        raise DecodeError("damaged at byte 3")

    assert MAKER.row(1, 0, "b, row 0", damaged) == BadRow("b, row 0", "damaged at byte 3")
    assert MAKER.row(1, 0, "b, row 0", dict).reason.startswith("key column 'id' holds None")


def test_the_first_rows_tell_whether_keys_have_their_split():
    units = [Unit("a", 2, 0, "train"), Unit("b", 2, 0, "val")]
    mapping = RowMapping(key_column="id")

    def keys(*drawn):
        maker = RowMaker.of(mapping, units, [{"id": key} for key in drawn])
        return [maker.row(0, 0, "", lambda key=key: {"id": key}).key for key in ("train/a", "a")]

    assert keys("train/a", "val/b") == ["train/a", "a"]
    assert keys("train/a", "b") == keys() == keys(None) == ["train/train/a", "train/a"]


def test_numbers_of_rows_get_their_split():
    maker = RowMaker.of(RowMapping(), [Unit("a", 1, 0, "train"), Unit("b", 1, 0, "val")], [{"id": "train/a"}])
    assert maker.row(1, 0, "", dict) == Row("val/000000", {})
