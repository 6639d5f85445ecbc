"""`info --by`: a line for each value, most samples first."""

from __future__ import annotations

import pytest

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


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--by", "class", "--plot", "nowhere/x.png"], 1, "cannot draw into 'nowhere/x.png': there is no folder"),
        (["--by", "class", "--plot", ".", "--force"], 1, "'.' is a folder; name a file in it"),
        (["--by", "class", "--plot", ""], 2, "--plot names no file"),
        (["--by", "class", "--plot", "a b.jpg"], 2, "ends in .png, got 'a b.jpg'; write --plot 'a b.png'"),
        (["--by", "class", "--plot", "x/png"], 2, "ends in .png, got 'x/png'; write --plot x/png.png"),
        (["--by", "class", "--force"], 2, "--force replaces the file of --plot"),
        (["--by", "class", "--by", "label"], 2, "--by is given twice; give it once"),
        (["--by", "class", "--where", "ok", "--where", "label = 1"], 2, "--where is given twice; give it once"),
        (["--by", "class", "--urls"], 2, "--urls is not for --by"),
        (["--by", "class", "--shards"], 2, "--shards is not for --by"),
        (["--urls", "--shards"], 2, "--shards is not for --urls"),
    ],
)
def test_options_that_mean_nothing_together_are_refused(run, tmp_path, arguments, code, text):
    folder = labelled(tmp_path / "ds", LABELS)
    shardpack.table(folder)
    done = run("info", folder, *arguments)
    assert (done.code, done.out) == (code, "")
    assert text in done.err
    assert done.err.count("\n") == 1
