"""`table`, `ls --where --columns`, `info --by`: made once, then asked."""

from __future__ import annotations

import json

import pytest
from PIL import Image

import shardpack
from tests.table.datasets import labelled

LABELS = [{"class": "cat" if n % 3 else "hat", "score": n / 4, "tags": ["x", n], "note": None} for n in range(6)]


@pytest.fixture
def folder(tmp_path):
    return labelled(tmp_path / "ds", LABELS)


@pytest.fixture
def tabled(folder):
    shardpack.table(folder)
    return folder


def test_table(run, folder):
    assert "would have made a table of 6 rows" in run("table", folder, "--dry-run").err
    assert "made a table of 6 rows" in run("table", folder).err
    done = run("table", folder)
    assert (done.code, done.out) == (0, "")
    assert "has a table already; --force makes it anew" in done.err
    report = run("table", folder, "--force", "--json").json
    assert (report["command"], report["generation"], report["added"]) == ("table", 3, 6)


def test_info_tells_of_the_table(run, folder):
    assert "label table" not in run("info", folder).out
    shardpack.table(folder)
    assert "label table  1 file\n" in run("info", folder).out


def test_ls_where(run, tabled):
    assert run("ls", tabled, "--where", "class = 'hat'").out == "000\n003\n"
    assert run("ls", tabled, "--where", "score > 0.6", "--match", "*4", "-n", 3).out == "004\n"
    assert json.loads(run("ls", tabled, "--where", "score = 0.25", "--json").out)["key"] == "001"


def test_ls_columns(run, tabled):
    done = run("ls", tabled, "--columns", "class, score,tags,note", "-n", 2)
    assert [line.split() for line in done.out.splitlines()] == [
        ["class", "score", "tags", "note"],
        ["hat", "0.0", '["\\"x\\"",', '"0"]', "-"],
        ["cat", "0.25", '["\\"x\\"",', '"1"]', "-"],
    ]
    rows = [
        json.loads(line)
        for line in run("ls", tabled, "--columns", "all", "--where", "score > 1", "--json").out.splitlines()
    ]
    assert [(row["key"], row["position"], row["class"]) for row in rows] == [("005", 5, "cat")]
    assert run("ls", tabled, "--columns", "class", "--match", "00[3-4]").out == "class\nhat\ncat\n"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("ls", "--where", "clas = 'hat'"), 2, "the columns are: key, position"),
        (("ls", "--where", "true) or (true; drop table x"), 2, "cannot be parsed"),
        (("ls", "--columns", "clas"), 2, "no column 'clas'; the table has: key"),
        (("ls", "--columns", ""), 2, "--columns names no column; write --columns key,class"),
        (("ls", "--columns", "class", "-l"), 2, "give one of them"),
        (("info", "--by", "clas"), 2, "no column 'clas'"),
        (("info", "--by", "tags"), 2, "holds lists"),
        (("info", "--where", "true"), 2, "are for --by"),
        (("info", "--split", "x"), 2, "is for --urls and --by"),
    ],
)
def test_mistakes_are_one_line(run, tabled, arguments, code, text):
    done = run(arguments[0], tabled, *arguments[1:])
    assert (done.code, done.out) == (code, "")
    assert text in done.err


def test_without_a_table_the_command_is_named(run, folder):
    for arguments in (("ls", folder, "--where", "true"), ("info", folder, "--by", "class")):
        done = run(*arguments)
        assert done.code == 2
        assert f'make one with "shardpack table {folder}"' in done.err


def test_plots_are_not_replaced_unless_forced(run, tabled, tmp_path):
    plot = tmp_path / "plot.png"
    assert run("info", tabled, "--by", "class", "--plot", plot).code == 0
    with Image.open(plot) as image:
        assert image.size == (900, 640)
    assert "--force" in run("info", tabled, "--by", "class", "--plot", plot).err
    assert run("info", tabled, "--by", "class", "--plot", plot, "--force").code == 0


@pytest.mark.parametrize("place", [0, 2])
def test_pack_makes_the_table_where_it_is_asked_to(run, images, tmp_path, place):
    arguments = [images, tmp_path / "out"]
    arguments.insert(place, "--table")  # without the name of a table beside the images
    assert run("pack", *arguments, "--jobs", 1).code == 0
    assert len(shardpack.open(tmp_path / "out").manifest.table) == 1
