"""Captions are lists, in the order of the rows, whatever file they come from."""

from __future__ import annotations

import json

import pytest

from shardpack.errors import SourceError
from shardpack.sources.layouts.detect import find_layout, list_tree
from shardpack.sources.layouts.layout import LayoutOptions
from shardpack.sources.scan import scan
from shardpack.sources.source import Problems
from shardpack.sources.tree import Tree
from tests.sources.trees import samples_of, write_tree

IMAGES = dict.fromkeys(["images/1.jpg", "images/2.jpg"], b"x")
CAPTIONS = {"images/1": ["a red hat", "a hat, on a table"], "images/2": ["x"]}


def listed(folder, files, layout="auto"):
    tree, problems = Tree(scan(write_tree(folder, files), Problems())), Problems()
    options = LayoutOptions(asked=layout != "auto")
    found = find_layout(tree, layout, options)
    listing = list_tree(tree, found, problems, options)
    labels = {key: json.loads(fields["json"]) for key, fields in samples_of(listing).items()}
    return labels, problems, found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("captions.csv", 'image,caption\n1.jpg,a red hat\n1.jpg,"a hat, on a table"\n2.jpg,x\n'),
        ("captions.txt", 'image,caption\n1.jpg,a red hat\n1.jpg,"a hat, on a table"\n2.jpg,x\n'),
        ("captions.txt", "1.jpg#0\ta red hat\n1.jpg#1\ta hat, on a table\n\n2.jpg#0\tx \n"),
        ("all.token", "1.jpg#0\ta red hat\r\n1.jpg#1\ta hat, on a table\r\n2.jpg#0\tx\r\n"),
        (
            "results.csv",
            "name| comment_number| comment\n1.jpg| 0| a red hat\n1.jpg| 1| a hat, on a table\n2.jpg| 0| x\n",
        ),
        ("images/c.jsonl", '{"f":"1.jpg","caption":["a red hat","a hat, on a table"]}\n{"f":"2.jpg","caption":"x"}\n'),
        ("x.tsv", "path\ttext\nimages/1\ta red hat\nimages/1\ta hat, on a table\nimages/2\tx\n"),
    ],
)
def test_captions(tmp_path, name, text):
    labels, problems, found = listed(tmp_path, {**IMAGES, name: text})
    assert labels == {key: {"captions": captions} for key, captions in CAPTIONS.items()}
    assert not problems.rejected
    assert (found.layout, found.uses, found.title) == ("captions", {name}, f"captions in {name}")


def test_what_does_not_fit_is_rejected_by_file_and_line(tmp_path):
    lines = [b"1.jpg#%d\tx" % number for number in range(30)]
    lines[3:6] = [b"9.jpg#0\tx", b"no number", b"1.jpg#0\t\xff"]
    labels, problems, _ = listed(tmp_path, {**IMAGES, "captions.txt": b"\n".join(lines)})
    assert labels == {"images/1": {"captions": ["x"] * 27}}
    assert [name for name, _ in problems.rejected] == [f"captions.txt:{number}" for number in (4, 5, 6)]
    assert "which does not exist" in problems.rejected[0][1]
    assert problems.rejected[1][1] == "expected name#number, tab, caption; correct the line"
    assert problems.left_out == {"an image without a caption": 1}


def test_a_caption_that_is_not_a_text(tmp_path):
    _, problems, _ = listed(tmp_path, {**IMAGES, "c.jsonl": '{"f":"1.jpg","caption":{}}\n{"f":"2.jpg","caption":null}'})
    assert [reason for _, reason in problems.rejected] == [
        "its caption is {}, expected a text; write one, or remove the row",
        "its caption is None, expected a text; write one, or remove the row",
    ]


def test_other_folders(tmp_path):
    with pytest.raises(SourceError, match=r"no captions in .*: expected a table with the columns image and caption"):
        listed(tmp_path, {**IMAGES, "captions.txt": "nothing of the kind"}, "captions")
    assert (
        listed(tmp_path, {**IMAGES, "captions.txt": "x", "labels.csv": "f,label\n1.jpg,3\n2.jpg,4\n"})[2].layout
        == "table"
    )


def test_the_tables_of_hugging_face_stay_as_they_are(tmp_path):
    files = {**IMAGES, "images/metadata.csv": "file_name,text\n1.jpg,x\n2.jpg,y\n"}
    labels, _, found = listed(tmp_path, files)
    assert (labels["images/1"], found.layout) == ({"text": "x"}, "table")


def test_labels_and_captions_are_a_question(tmp_path):
    tables = {"captions.csv": "f,caption\n1.jpg,x\n2.jpg,y\n", "labels.csv": "f,label\n1.jpg,3\n2.jpg,4\n"}
    with pytest.raises(SourceError, match=r"say which: --layout table or --layout captions"):
        listed(tmp_path, {**IMAGES, **tables})
