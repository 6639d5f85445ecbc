"""Files stay small enough to be read in one go."""

from __future__ import annotations

from statistics import median

from tests.conftest import ROOT

CEILING = 400
MEDIAN = 200  # aim: 150


def test_no_file_is_long_and_the_usual_one_is_short():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "shardpack").rglob("*.py")}
    long = {str(path.relative_to(ROOT)): count for path, count in lines.items() if count > CEILING}
    assert not long, f"over {CEILING} lines: {long}"
    middle = median(count for path, count in lines.items() if path.name != "__init__.py")
    assert middle <= MEDIAN, f"the median file has {middle} lines"
