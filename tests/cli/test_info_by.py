"""`info --by`: a line for each value, most samples first."""

from __future__ import annotations

import shardpack
from tests.table.datasets import labelled

LABELS = [{"class": "cat" if n % 3 else "hat", "ok": n > 4, **({"grade": n // 5} if n else {})} for n in range(6)]


def test_info_by(run, tmp_path):
    folder = labelled(tmp_path / "ds", LABELS)
    shardpack.table(folder)
    head, *lines = run("info", folder, "--by", "class").out.splitlines()
    assert head.split() == ["class", "samples", "share", "width", "height", "bytes"]
    assert [line.split()[:6] for line in lines] == [
        ["cat", "4", "66.7", "%", "22", "12"],
        ["hat", "2", "33.3", "%", "22", "12"],
    ]
    assert [line.split()[0] for line in run("info", folder, "--by", "grade").out.splitlines()] == [
        "grade",
        "0",
        "1",
        "-",
    ]
    assert "false" in run("info", folder, "--by", "ok").out
    found = run("info", folder, "--by", "class", "--where", "ok", "--json").json
    assert [(one["value"], one["num_samples"], one["mean_width"]) for one in found] == [("cat", 1, 20.0)]
    shardpack.delete(folder, ["001", "002"])
    assert [one["num_samples"] for one in run("info", folder, "--by", "class", "--json").json] == [2, 2]
