"""A row becomes the label of its image; rows that do not fit are named by file and line."""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
import tracemalloc
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import MissingDependencyError, OptionError, SourceError
from shardpack.sources.layouts.any_tables import split_of_name
from shardpack.sources.layouts.detect import find_layout, list_tree, read_tree
from shardpack.sources.layouts.layout import LayoutOptions
from shardpack.sources.layouts.table import Table, find_tables
from shardpack.sources.scan import scan
from shardpack.sources.source import Problems
from shardpack.sources.splits import counted_splits, split_of
from shardpack.sources.tree import Tree
from tests.sources.trees import files_of, samples_of, write_tree
from tests.strategies import examples


def listed(folder, *, rename_keys=False):
    """Return labels by key, and the problems."""
    listing, problems = listing_of_table(folder, rename_keys=rename_keys)
    return {key: json.loads(fields["json"]) for key, fields in samples_of(listing).items()}, problems


def listing_of_table(folder, **options):
    """Return the listing of a folder with tables, and the problems."""
    tree, problems, options = Tree(scan(folder, Problems())), Problems(), LayoutOptions(asked=True, **options)
    found = find_layout(tree, "table", options)
    return list_tree(tree, found, problems, options), problems


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("table")


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (["1", "", "-3"], [1, None, -3]),
        (["1", "2.5", "1e2"], [1.0, 2.5, 100.0]),
        (["1", "x", ""], ["1", "x", None]),
        (["007", "8"], ["007", "8"]),
        (["123456789012345678", "0"], [123456789012345678, 0]),
        (["1234567890123456789", "1"], ["1234567890123456789", "1"]),
        (["1234567890123456", "0.5"], ["1234567890123456", "0.5"]),
        (["nan", "1.0"], ["nan", "1.0"]),
        (["1e999", "1.0"], ["1e999", "1.0"]),
        (["True", "False"], ["True", "False"]),
        (["", ""], [None, None]),
    ],
)
def test_csv_columns(tmp_path, column, values):
    names = [f"{number}.jpg" for number in range(len(column))]
    write_tree(tmp_path, names)
    rows = "".join(f"{name},{cell}\n" for name, cell in zip(names, column, strict=True))
    write_tree(tmp_path, {"metadata.csv": "file_name,x\n" + rows})
    labels, problems = listed(tmp_path)
    assert [label["x"] for label in labels.values()] == values
    assert [type(label["x"]) for label in labels.values()] == [type(value) for value in values]
    assert not problems.rejected


@examples(40)
@given(
    st.lists(
        st.dictionaries(
            st.text(max_size=3).filter(lambda name: name != "file_name"),
            st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=3),
            max_size=3,
        ),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
def test_jsonl_labels_are_the_lines_without_the_file_name(shared, records, escaped):
    folder = shared / "jsonl"
    write_tree(folder, [f"{number}.jpg" for number in range(4)])
    lines = [
        json.dumps({"file_name": f"{number}.jpg", **record}, ensure_ascii=escaped)
        for number, record in enumerate(records)
    ]
    write_tree(folder, {"metadata.jsonl": "\n".join(lines)})
    labels, problems = listed(folder)
    assert list(labels.values()) == records
    assert [list(label) for label in labels.values()] == [list(record) for record in records]  # order kept
    assert problems.left_out["an image without a row"] == 4 - len(records)


def test_the_three_formats_agree(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = {"file_name": ["d/1.jpg", "d/2.jpg"], "n": [1, None], "x": [0.5, 2.0], "text": ["é", "a,b"]}
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    results = []
    for name in ("metadata.csv", "metadata.jsonl", "metadata.parquet"):
        folder = write_tree(tmp_path / name.rpartition(".")[2], ["d/1.jpg", "d/2.jpg"])
        if name.endswith("csv"):
            write_tree(folder, {name: '\ufefffile_name,n,x,text\r\nd/1.jpg,1,0.5,é\r\n\r\nd/2.jpg,,2.0,"a,b"\r\n'})
        elif name.endswith("jsonl"):
            write_tree(folder, {name: "\ufeff" + "\r\n\n".join(json.dumps(row) for row in rows)})
        else:
            parquet.write_table(arrow.table(table), folder / name)
        labels, problems = listed(folder)
        assert not problems.rejected
        assert not problems.left_out
        results.append(labels)
    assert results[0] == results[1] == results[2]
    assert list(results[0]["d/1"]) == ["n", "x", "text"]


def test_labels_are_compact_utf8(tmp_path):
    write_tree(tmp_path, ["1.jpg", "1.seg.png"])
    write_tree(tmp_path, {"metadata.csv": "caption,file_name,label\nun café,1.jpg,3\n"})
    listing, _ = listing_of_table(tmp_path)
    assert samples_of(listing) == {
        "1": {"jpg": "1.jpg", "json": '{"caption":"un café","label":3}'.encode(), "seg.png": "1.seg.png"}
    }
    assert (listing.classes, listing.by_class) == (None, False)


def test_tables_in_several_folders(tmp_path):
    write_tree(tmp_path, ["a/1.jpg", "b/x/2.jpg", "c/3.jpg"])
    write_tree(tmp_path, {"a/metadata.csv": "file_name,n\n1.jpg,1\n", "b/metadata.csv": "file_name,n\nx/2.jpg,one\n"})
    write_tree(tmp_path, {"c/metadata.jsonl": '{"file_name": "../a/1.jpg"}\n{"file_name": "3.jpg"}'})
    labels, problems = listed(tmp_path)
    assert labels == {"b/x/2": {"n": "one"}, "c/3": {}}
    assert problems.rejected == [
        ("a/1.jpg", "is described by a/metadata.csv:2 and by c/metadata.jsonl:1; keep one of the rows")
    ]
    (tmp_path / "c" / "metadata.jsonl").unlink()
    labels, _ = listed(tmp_path)
    assert labels == {"a/1": {"n": "1"}, "b/x/2": {"n": "one"}}  # one type in all tables


def test_each_misfit_is_rejected_by_file_and_line(tmp_path):
    write_tree(tmp_path, ["1.jpg", "2.jpg", "2.json", "3.jpg", "4.jpg", "4.seg.png", "5.jpg", "5.png"])
    rows = [
        "1.jpg,1",
        "2.jpg,2",
        "missing.jpg,3",
        "../1.jpg,4",
        f"{tmp_path}/1.jpg,5",
        "3.jpg,6,7",
        ",8",
        "4.seg.png,9",
    ]
    write_tree(tmp_path, {"metadata.csv": "file_name,n\n" + "\n".join([*rows, "5.jpg,10", "5.png,11", "./1.jpg,1"])})
    labels, problems = listed(tmp_path)
    assert labels == {}
    reasons = dict(problems.rejected)
    assert reasons.pop("metadata.csv:4").startswith("names 'missing.jpg', which does not exist")
    assert reasons.pop("metadata.csv:5").startswith("names '../1.jpg', which is outside the source")
    assert reasons.pop("metadata.csv:6").startswith(f"names '{tmp_path}/1.jpg', which is outside the source")
    assert reasons.pop("metadata.csv:7") == "malformed CSV: expected 2 cells, got 3; correct the line"
    assert reasons.pop("metadata.csv:8").startswith("has no file_name")
    assert reasons.pop("metadata.csv:9").startswith("names '4.seg.png', which is not an image with its own sample")
    assert reasons.pop("1.jpg").startswith("is described by metadata.csv:2 and by metadata.csv:12")
    assert reasons.pop("2.jpg").startswith("has a label of its own in a .json file")
    assert reasons.pop("5.jpg").startswith("is described by metadata.csv:10 and by metadata.csv:11")
    assert not reasons
    assert problems.left_out == {"an image without a row": 2}


def test_file_names_stay_text(tmp_path):
    write_tree(tmp_path, {"1.jpg": b"x", "metadata.csv": "file_name\n1\n"})
    _, problems = listed(tmp_path)
    assert problems.rejected[0][1].startswith("names '1', which does not exist")


def test_malformed_lines_of_jsonl(tmp_path):
    write_tree(tmp_path, ["1.jpg", "2.jpg", "3.jpg", "4.jpg"])
    lines = [
        '{"file_name": "1.jpg"}',
        "{",
        "[1]",
        "",
        '{"name": 1}',
        '{"file_name": 7}',
        '{"file_name": "2.jpg", "x": NaN}',
    ]
    lines += ['{"file_name": "3.jpg", "x": 1e999}', '{"file_name": "4.jpg", "x": "\\ud800"}']
    write_tree(tmp_path, {"metadata.jsonl": "\n".join(lines).encode() + b'\n{"file_name": "\xe9"}'})
    labels, problems = listed(tmp_path)
    assert labels == {"1": {}, "4": {"x": "\ud800"}}
    assert [name for name, _ in problems.rejected] == [f"metadata.jsonl:{line}" for line in (2, 3, 5, 6, 7, 8, 10)]
    reasons = [reason for _, reason in problems.rejected]
    assert reasons[0].startswith("not JSON: ")
    assert reasons[1] == "expected a JSON object, got list; correct the line"
    assert reasons[4] == "not JSON: NaN is not a JSON number; write null; correct the line"
    assert reasons[5].startswith("JSON cannot represent a value: ")
    assert reasons[6].startswith("not UTF-8 at byte 15")


def test_a_image_that_is_bad_anyway_is_reported_once(tmp_path):
    write_tree(tmp_path, {"1.jpg": b"", "1.cls": b"3", "metadata.csv": "file_name\n1.jpg\n"})
    _, problems = listed(tmp_path)
    assert [name for name, _ in problems.rejected] == ["1.jpg"]


def test_dotted_names_with_rename_keys(tmp_path):
    write_tree(tmp_path, ["v.1.jpg", "v.2.jpg"])
    write_tree(tmp_path, {"metadata.csv": "file_name,n\nv.1.jpg,1\nv.2.jpg,2\n"})
    assert listed(tmp_path, rename_keys=True)[0] == {"v.1": {"n": 1}, "v.2": {"n": 2}}


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("metadata.csv", "", r"metadata.csv is empty; expected a header"),
        ("metadata.csv", "\n\n", r"metadata.csv is empty; expected a header"),
        ("metadata.csv", "file_name,a,a\n", r"metadata.csv has two columns 'a'; rename one"),
        ("metadata.csv", 'file_name\n1.jpg\n"2.jpg\n3.jpg\n', r"metadata.csv:3: malformed CSV: "),
        ("metadata.csv", 'file_name,t\n1.jpg,"a"b\n', r"metadata.csv:2: malformed CSV: "),
        ("metadata.csv", b"file_name\n1.jpg\n\xe9.jpg\n", r"metadata.csv:3: not UTF-8: .*; save it as UTF-8"),
        ("metadata.jsonl", "\n", r"metadata.jsonl is empty; expected lines like {"),
        ("metadata.jsonl", "{}", r"metadata.jsonl has no column 'file_name': found none; name the one"),
    ],
)
def test_bad_tables_are_one_error(tmp_path, name, content, why):
    write_tree(tmp_path, {"1.jpg": b"x", name: content})
    with pytest.raises(SourceError, match=why):
        listed(tmp_path)


def test_lines_are_counted_through_quoted_line_breaks(tmp_path):
    write_tree(tmp_path, ["1.jpg"])
    write_tree(tmp_path, {"metadata.csv": 'file_name,t\n1.jpg,"a\nb"\n\nx.jpg,"c\nd"\ny.jpg\n'})
    labels, problems = listed(tmp_path)
    assert labels == {"1": {"t": "a\nb"}}
    assert sorted(name for name, _ in problems.rejected) == ["metadata.csv:5", "metadata.csv:7"]


def test_two_tables_in_a_folder(tmp_path):
    write_tree(tmp_path, {"d/metadata.csv": "file_name\n", "d/metadata.jsonl": "", "d/1.jpg": b"x"})
    with pytest.raises(SourceError, match=r"two tables in one folder: d/metadata.csv and d/metadata.jsonl; keep one"):
        listed(tmp_path)


def test_no_table(tmp_path):
    write_tree(tmp_path, ["1.jpg", "my_metadata.csv"])
    tree = Tree(scan(tmp_path, Problems()))
    assert find_tables(tree) == []
    assert Table().find(tree, LayoutOptions()) is None
    with pytest.raises(SourceError, match=r"expected a metadata.csv, metadata.jsonl or metadata.parquet"):
        Table().find(tree, LayoutOptions(asked=True))


def test_an_unreadable_table(tmp_path):
    tree = Tree(scan(write_tree(tmp_path, ["1.jpg", "metadata.csv"]), Problems()))
    (tmp_path / "metadata.csv").unlink()
    with pytest.raises(SourceError, match=r"cannot read 'metadata.csv': No such file"):
        Table().find(tree, LayoutOptions())


def test_parquet_values(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    write_tree(tmp_path, ["1.jpg", "2.jpg", "3.jpg"])
    table = {
        "file_name": ["1.jpg", "2.jpg", "3.jpg"],
        "day": [dt.date(2026, 11, 20), None, None],
        "price": [Decimal("1.50"), None, None],
        "boxes": [[1.0, float("nan")], [], None],
        "point": [{"x": 1, "y": float("nan")}, None, None],
        "raw": [None, b"bytes", None],
        "far": [None, None, float("inf")],
    }
    parquet.write_table(arrow.table(table), tmp_path / "metadata.parquet", row_group_size=1)
    labels, problems = listed(tmp_path)
    assert labels == {
        "1": {
            "day": "2026-11-20",
            "price": "1.50",
            "boxes": [1.0, None],
            "point": {"x": 1, "y": None},
            "raw": None,
            "far": None,
        }
    }
    assert [name for name, _ in problems.rejected] == ["metadata.parquet:2", "metadata.parquet:3"]
    assert problems.rejected[0][1] == "JSON cannot represent a value: a bytes; change it, or drop it"


def test_files_that_are_not_parquet(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    write_tree(tmp_path, {"1.jpg": b"x", "metadata.parquet": b"PAR1 or not"})
    with pytest.raises(SourceError, match=r"cannot read metadata.parquet: .*; write it again, or use metadata.jsonl"):
        listed(tmp_path)
    parquet.write_table(arrow.table({"path": ["1.jpg"]}), tmp_path / "metadata.parquet")
    assert listed(tmp_path)[0] == {"1": {}}  # its only column names the image


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    write_tree(tmp_path, ["1.jpg", "metadata.parquet"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=re.escape('run pip install "shardpack[parquet]"')):
        listed(tmp_path)


def tables_of(folder, files, **options):
    """Return (labels by key, splits, classes, what is said) of a folder with these files."""
    tree, problems = Tree(scan(write_tree(folder, files), Problems())), Problems()
    options = LayoutOptions(asked=bool(options), **options)
    found = find_layout(tree, "table" if options.asked else "auto", options)
    listing = list_tree(tree, found, problems, options)
    assert not problems.rejected, problems.rejected
    labels = {key: json.loads(fields["json"]) for key, fields in samples_of(listing).items()}
    return labels, counted_splits(listing), listing.classes, (found.layout, found.title, found.label)


IMAGES = dict.fromkeys(["a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg"], b"x")
CATS = {"a/1": "cat", "a/2": "dog", "b/3": "cat", "b/4": "dog"}


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("labels.csv", "file,label\na/1.jpg,cat\na/2.jpg,dog\nb/3.jpg,cat\nb/4.jpg,dog\n"),
        ("b/x.csv", "label,file\ncat,../a/1.jpg\ndog,../a/2.jpg\ncat,3.jpg\ndog,4.jpg\n"),
        ("labels.tsv", "id\tbreed\n1\tcat\n2\tdog\n3\tcat\n4\tdog\n"),
        ("metadata.csv", "image;class\n1.jpg;cat\n2.jpg;dog\n3.jpg;cat\n4.jpg;dog\n"),
        ("x.csv", "path,category\n/me/a/1.jpg,cat\n/me/a/2.jpg,dog\n/me/b/3.jpg,cat\n/me/b/4.jpg,dog\n"),
        ("x.ndjson", '{"n":1,"class":"cat"}\n{"n":2,"class":"dog"}\n{"n":3,"class":"cat"}\n{"n":4,"class":"dog"}'),
        ("x.csv", "no,file,class\n9,1.JPG,cat\n8,2.JPG,dog\n7,3.JPG,cat\n6,4.JPG,dog\n".replace("JPG", "jpg")),
    ],
)
def test_any_table_is_found_by_its_values(tmp_path, name, table):
    labels, splits, classes, (layout, title, _) = tables_of(tmp_path, {**IMAGES, name: table})
    assert {key: label["class"] for key, label in labels.items()} == CATS
    assert {key: label["label"] for key, label in labels.items()} == {key: int(c == "dog") for key, c in CATS.items()}
    assert (splits, classes, layout, title) == ({}, ("cat", "dog"), "table", name)


def test_numbers_are_labels_as_they_are_and_other_columns_stay(tmp_path):
    table = "file,target,age,note\n1.jpg,7,30,x\n2.jpg,2,,\n3.jpg,7,5,y\n4.jpg,7,6,z\n"
    labels, _, classes, said = tables_of(tmp_path, {**IMAGES, "x.csv": table})
    assert labels["a/1"] == {"label": 7, "age": 30, "note": "x"}
    assert labels["a/2"] == {"label": 2, "age": None, "note": None}
    assert classes is None
    assert said == ("table", "x.csv", "label from column 'target'; columns age, note")


def test_numbers_and_names_of_classes(tmp_path):
    table = "file,class,label,n\n1.jpg,cat,1,5\n2.jpg,dog,0,6\n3.jpg,cat,1,7\n4.jpg,dog,0,8\n"
    labels, _, classes, said = tables_of(tmp_path, {**IMAGES, "x.csv": table})
    assert labels["a/1"] == {"label": 1, "class": "cat", "n": 5}
    assert classes == ("dog", "cat")
    assert said[2] == "label from column 'label' and class from 'class'; column n"
    labels, _, classes, _ = tables_of(tmp_path, {**IMAGES, "x.csv": table.replace(",1,", ",4,")})
    assert (labels["a/1"], classes) == ({"label": 4, "class": "cat", "n": 5}, None)
    labels, _, classes, _ = tables_of(tmp_path, {**IMAGES, "x.csv": table.replace("dog,0,8", "cat,0,8")})
    assert (labels["b/4"], classes) == ({"class": "cat", "label": 0, "n": 8}, None)


def test_columns_can_be_named(tmp_path):
    table = "one,two,kind,label\n1.jpg,4.jpg,x,0\n2.jpg,3.jpg,y,1\n3.jpg,2.jpg,x,0\n4.jpg,1.jpg,y,1\n"
    files = {**IMAGES, "x.csv": table}
    with pytest.raises(SourceError, match=r"not clear which column of x.csv names .* 'one' 100 %, 'two' 100 %, 'kind'"):
        tables_of(tmp_path, files)
    labels, *_ = tables_of(tmp_path, files, table="x.csv", key_column="two")
    assert labels["a/1"] == {"label": 1, "one": "4.jpg", "kind": "y"}
    labels, *_ = tables_of(tmp_path, files, key_column=0, label_column="label")
    assert labels["b/4"] == {"label": 1, "two": "1.jpg", "kind": "y"}
    with pytest.raises(SourceError, match=r"x.csv has a column 'label' beside 'kind', .*; rename it, or leave out"):
        tables_of(tmp_path, files, table="x.csv", key_column="one", label_column="kind")
    with pytest.raises(
        OptionError, match=r"key_column is 'three', which is not a column of x.csv; choose one of 'one'"
    ):
        tables_of(tmp_path, files, table="x.csv", key_column="three")
    with pytest.raises(SourceError, match=r"no value of the column 'kind' of x.csv names an image, such as 'x'; name"):
        tables_of(tmp_path, files, table="x.csv", key_column="kind")


def test_a_table_without_names_of_columns_is_a_question_that_numbers_answer(tmp_path):
    files = {**IMAGES, "x.csv": "1.jpg,cat\n2.jpg,dog\n3.jpg,cat\n4.jpg,dog\n"}
    with pytest.raises(
        SourceError, match=r"--table x.csv --key-column 0 --label-column 1\), or leave .*--ignore x.csv"
    ):
        tables_of(tmp_path, files)
    labels, _, classes, _ = tables_of(tmp_path, files, table="x.csv", key_column="0", label_column="1")
    assert {key: label["class"] for key, label in labels.items()} == CATS
    assert classes == ("cat", "dog")
    (tmp_path / "x.csv").unlink()
    files = {**IMAGES, "list.txt": "1.jpg 5\n2.jpg 6\n3.jpg 5\n4.jpg 6\n"}
    labels, *_ = tables_of(tmp_path, files, table="list.txt", key_column="0")
    assert labels["b/4"] == {"label": 6}


def test_a_table_outside_of_the_tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tree(tmp_path, {"out/x.csv": "image,label\n1.jpg,cat\n2.jpg,dog\n3.jpg,cat\n4.jpg,dog\n"})
    labels, *_ = tables_of(tmp_path / "in", IMAGES, table="out/x.csv")
    assert {key: label["class"] for key, label in labels.items()} == CATS


def test_tables_of_splits(tmp_path):
    images = dict.fromkeys(["train/1.jpg", "train/2.jpg", "val/1.jpg"], b"x")
    tables = {"train.csv": "image,label\n1.jpg,cat\n2.jpg,dog\n", "val_labels.csv": "image,label\n1.jpg,dog\n"}
    labels, splits, classes, _ = tables_of(tmp_path, {**images, **tables})
    assert {key: label["class"] for key, label in labels.items()} == {
        "train/1": "cat",
        "train/2": "dog",
        "val/1": "dog",
    }
    assert (splits, classes) == ({"train": 2, "val": 1}, ("cat", "dog"))


def test_tables_of_splits_over_one_folder(tmp_path):
    tables = {"train.csv": "f,label\n1.jpg,x\n2.jpg,y\n3.jpg,x\n", "test.csv": "f,label\n4.jpg,y\n"}
    _, splits, _, _ = tables_of(tmp_path, {**IMAGES, **tables})
    assert splits == {"train": 3, "test": 1}


def test_two_tables_are_a_question(tmp_path):
    tables = {"train.csv": "id,label\n1,x\n2,y\n3,x\n", "sample_submission.csv": "id,label\n4,y\n"}
    with pytest.raises(SourceError, match=r"2 tables name images: .*--table sample_submission.csv --ignore train.csv"):
        tables_of(tmp_path, {**IMAGES, **tables})


def test_a_table_of_few_of_the_images_is_a_question(tmp_path):
    files = {**dict.fromkeys([f"c{n % 2}/{n}.jpg" for n in range(9)], b"x"), "bad.csv": "f,label\n1.jpg,3\n2.jpg,3\n"}
    with pytest.raises(SourceError, match=r"bad.csv describes at most 2 of 9 images; .*--table bad.csv.*--ignore bad"):
        tables_of(tmp_path, files)
    labels, *_ = tables_of(tmp_path, files, table="bad.csv")
    assert list(labels) == ["c0/2", "c1/1"]


def test_several_rows_for_an_image_are_a_question(tmp_path):
    table = "f,x,label\n1.jpg,1,a\n1.jpg,2,b\n2.jpg,1,a\n"
    with pytest.raises(SourceError, match=r"x.csv has several rows for many images, .*\(--ignore x.csv\)"):
        tables_of(tmp_path, {**IMAGES, "x.csv": table})


def test_a_name_that_fits_two_images(tmp_path):
    files = {"a/1.jpg": b"x", "b/1.jpg": b"x", "x.csv": "image,label\n1.jpg,cat\n"}
    tree, problems, options = Tree(scan(write_tree(tmp_path, files), Problems())), Problems(), LayoutOptions()
    list_tree(tree, find_layout(tree, "auto", options), problems, options)
    assert problems.rejected == [
        ("x.csv:2", "names '1.jpg', which fits 'a/1.jpg' and 'b/1.jpg'; write a path with folders")
    ]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.csv", "train"),
        ("labels_Val.csv", "Val"),
        ("x/dev-set.1.csv", "dev"),
        ("test/labels.csv", "test"),
        ("train_test.csv", None),
        ("trainer.csv", None),
    ],
)
def test_the_split_of_a_table_s_name(name, split):
    assert split_of_name(name) == split


def test_tables_of_other_things_are_not_used(tmp_path):
    files = {"1.jpg": b"x", "1.json": "{}", "prices.csv": "item,price\n7,3\n"}
    tree = Tree(scan(write_tree(tmp_path, files), Problems()))
    assert Table().find(tree, LayoutOptions()) is None


def line_of(folder, files, **options):
    """Return what is said of a folder, its listing, and the problems."""
    tree, problems = Tree(scan(write_tree(folder, files), Problems())), Problems()
    found = read_tree(tree, "auto", problems, LayoutOptions(**options))
    return found.sentence, found.listing, problems


PHOTOS = {f"{name}.jpg": b"image" for name in "abcd"}


@pytest.mark.parametrize("column", ["split", "Split"])
def test_a_column_called_split_makes_splits(tmp_path, column):
    rows = "a.jpg,cat,val\nb.jpg,dog,train\nc.jpg,cat,\nd.jpg,dog,train\n"
    said, listing, _ = line_of(tmp_path, {**PHOTOS, "labels.csv": f"name,kind,{column}\n{rows}"})
    assert f"train 2, val 1; a sample is jpg + json (label from column 'kind'; split from column '{column}'" in said
    assert [split_of(listing, sample) for sample in range(4)] == ["val", "train", None, "train"]
    labels = [json.loads(fields["json"]) for fields in samples_of(listing).values()]
    assert labels[0] == {"label": 0, "class": "cat"}


def test_a_table_of_nothing_but_splits_has_no_label(tmp_path):
    said, listing, _ = line_of(tmp_path, {**PHOTOS, "s.csv": "name,split\na,train\nb,train\nc,query\nd,query\n"})
    assert counted_splits(listing) == {"train": 2, "query": 2}
    assert "split from column 'split'" in said
    assert listing.classes is None


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "metadata.parquet", "x.jsonl"])
def test_splits_of_every_kind_of_table(tmp_path, name):
    rows = [{"file_name": image, "split": "train" if image < "c" else "test"} for image in sorted(PHOTOS)]
    if name.endswith("parquet"):
        pa = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pa.Table.from_pylist(rows), tmp_path / name)
        files = PHOTOS
    elif name.endswith("csv"):
        files = {**PHOTOS, name: "file_name,split\n" + "".join(f"{row['file_name']},{row['split']}\n" for row in rows)}
    else:
        files = {**PHOTOS, name: "\n".join(map(json.dumps, rows))}
    assert counted_splits(line_of(tmp_path, files)[1]) == {"train": 2, "test": 2}


def test_folders_and_a_column_that_say_different_splits_are_a_question(tmp_path):
    images = {"train/a.jpg": b"x", "train/b.jpg": b"x", "valid/c.jpg": b"x"}
    for number, (one, other) in enumerate([("train", "val"), ("Training", "validation"), ("train", "query")]):
        table = f"name,split\ntrain/a.jpg,{one}\ntrain/b.jpg,{one}\nvalid/c.jpg,{other}\n"
        listing = line_of(tmp_path / str(number), {**images, "x.csv": table})[1]
        assert counted_splits(listing) == {one: 2, other: 1}
    table = "name,split\ntrain/a.jpg,train\ntrain/b.jpg,val\nvalid/c.jpg,train\n"
    with pytest.raises(SourceError, match=r"x\.csv:3 says that 'train/b' is in the split 'val', but its folder is"):
        line_of(tmp_path / "x", {**images, "x.csv": table})
    one_folder = {f"train/{name}": payload for name, payload in PHOTOS.items()}
    table = "name,split\na,train\nb,val\nc,train\nd,val\n"
    assert counted_splits(line_of(tmp_path / "y", {**one_folder, "x.csv": table})[1]) == {"train": 2, "val": 2}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_all_rows_decide_about_a_column_called_split(tmp_path, kind):
    images = {f"{number:04}.jpg": b"x" for number in range(1200)}
    rows = [{"name": name, "y": "pq"[number % 2]} for number, name in enumerate(images)]
    said_late = [{**row, "split": "train"} if number >= 1100 else row for number, row in enumerate(rows)]
    labels = counted_splits(line_of(tmp_path / "1", {**images, f"x.{kind}": table_of(said_late, kind)})[1])
    assert labels == {"train": 100}
    numbers_first = [{**row, "split": "train" if number >= 1100 else "0"} for number, row in enumerate(rows)]
    with pytest.raises(SourceError, match="not clear whether the column 'split'"):
        line_of(tmp_path / "2", {**images, f"x.{kind}": table_of(numbers_first, kind)})


def table_of(rows, kind):
    """Return the bytes of a table."""
    if kind == "jsonl":
        return "\n".join(map(json.dumps, rows))
    if kind == "csv":
        return "name,y,split\n" + "".join(f"{row['name']},{row['y']},{row.get('split', '')}\n" for row in rows)
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.Table.from_pylist([{"split": None, **row} for row in rows]), out := pa.BufferOutputStream())
    return out.getvalue().to_pybytes()


def test_numbers_are_no_splits(tmp_path):
    _, listing, _ = line_of(tmp_path, {**PHOTOS, "x.csv": "name,y,split\na,p,0\nb,p,1\nc,p,2\nd,p,0\n"})
    assert counted_splits(listing) == {}
    assert [json.loads(fields["json"])["split"] for fields in samples_of(listing).values()] == [0, 1, 2, 0]


@pytest.mark.parametrize("values", [("fold 1", "fold 2"), ("train", "3"), ("train", "Train")])
def test_what_may_be_no_split_is_a_question(tmp_path, values):
    one, other = values
    files = {**PHOTOS, "x.csv": f"name,split\na,{one}\nb,{one}\nc,{other}\nd,{other}\n"}
    with pytest.raises(SourceError, match=r"not clear whether the column 'split' of x\.csv .*\(--label-column split\)"):
        line_of(tmp_path, files)
    _, listing, _ = line_of(tmp_path, files, label_column="split")
    assert listing.classes == tuple(sorted(values))


def test_a_table_named_after_a_split_with_a_column_of_splits_is_a_question(tmp_path):
    files = {f"{split}.csv": f"name,split\n{name},{split}\n" for split, name in (("train", "a"), ("val", "b"))}
    with pytest.raises(SourceError, match="the table is named after one; rename one of them"):
        line_of(tmp_path, {**PHOTOS, **files})


def test_a_value_that_is_no_text_is_rejected(tmp_path):
    rows = [{"name": name, "split": "train"} for name in "abcd"]
    rows[3]["split"] = ["x"]
    files = {**PHOTOS, "x.jsonl": "\n".join(map(json.dumps, rows))}
    with pytest.raises(SourceError, match="not clear whether"):
        line_of(tmp_path, files)


def test_texts_of_the_shape_of_labels_are_read(tmp_path):
    rows = [f'{image},"[{{""bbox"": [1, 2, 3, 4]}}]"' for image in sorted(PHOTOS)]
    said, listing, _ = line_of(tmp_path, {**PHOTOS, "metadata.csv": "\n".join(["file_name,annotations", *rows])})
    assert "(column annotations; annotations read as JSON)" in said
    assert json.loads(samples_of(listing)["a"]["json"]) == {"annotations": [{"bbox": [1, 2, 3, 4]}]}


# -- joined tables --------------------------------------------------------------------------------

BOXES = "name,x,y\nd,4,0\nc,3,0\nb,2,0\na,1,0\n"
POINTS = "image,eye,partition\na.jpg,10,0\nb.jpg,20,0\nc.jpg,30,1\nd.jpg,40,1\n"
KINDS = "image,kind,class\na,p,cat\nb,q,dog\nc,p,dog\nd,p,cat\n"


def test_tables_of_different_columns_are_joined_by_image(tmp_path):
    files = {**PHOTOS, "boxes.csv": BOXES, "kinds.csv": KINDS, "list_eval_partition.csv": POINTS}
    said, listing, problems = line_of(tmp_path, files)
    assert said.startswith("boxes.csv + kinds.csv + list_eval_partition.csv, joined by image: 4 samples; ")
    assert "label from column 'class'; columns x, y, kind, eye, ...; 2 classes: cat, dog" in said
    assert not problems.rejected
    assert json.loads(samples_of(listing)["b"]["json"]) == {
        "x": 2,
        "y": 0,
        "label": 1,
        "class": "dog",
        "kind": "q",
        "eye": 20,
        "partition": 0,
    }


def test_images_that_one_of_joined_tables_lacks_are_rejected(tmp_path):
    files = {**PHOTOS, "boxes.csv": BOXES, "points.csv": POINTS.replace("d.jpg", "e.jpg"), "e.jpg": b"image"}
    _, listing, problems = line_of(tmp_path, files)
    assert list(listing.keys) == ["a", "b", "c"]
    assert problems.rejected == [
        ("d.jpg", "is described by boxes.csv:2, and has no row in points.csv; add it"),
        ("e.jpg", "is described by points.csv:5, and has no row in boxes.csv; add it"),
    ]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ("name,x,z\na,1,0\nb,2,0\nc,3,0\nd,4,0\n", "'x' would be from boxes.csv and from other.csv"),
        ("name,z\na,1\nb,2\n", "different images: boxes.csv has 4 rows, and other.csv 2"),
    ],
)
def test_tables_that_cannot_be_joined_are_a_question(tmp_path, other, why):
    with pytest.raises(
        SourceError, match=rf"cannot be joined, as .*{re.escape(why)}; use one and leave out the others"
    ):
        line_of(tmp_path, {**PHOTOS, "boxes.csv": BOXES, "other.csv": other})


def test_two_labels_are_not_joined(tmp_path):
    files = {**PHOTOS, "a.csv": KINDS, "b.csv": "name,label\na,1\nb,2\nc,3\nd,4\n"}
    with pytest.raises(SourceError, match=r"'label' would be from a\.csv and from b\.csv"):
        line_of(tmp_path, files)


def test_the_label_column_of_joined_tables_is_in_one_of_them(tmp_path):
    files = {**PHOTOS, "boxes.csv": BOXES, "points.csv": POINTS}
    _, listing, _ = line_of(tmp_path, files, label_column="partition")
    assert json.loads(samples_of(listing)["c"]["json"]) == {"x": 3, "y": 0, "label": 1, "eye": 30}
    with pytest.raises(OptionError, match="label_column is 'kind', which is not a column"):
        line_of(tmp_path, files, label_column="kind")


@pytest.mark.parametrize("text", ["", "x" * 1000])
def test_a_row_takes_little_memory(text):
    count = 3_000
    names = [f"{number // 100:03d}/{number:06d}.jpg" for number in range(count)]
    rows = [f"{name},c{number % 3},{number},{text}\n" for number, name in enumerate(names)]
    table = memoryview(f"name,class,x,text\n{''.join(rows)}".encode())

    class Contents:
        def read(self, name, *, max_bytes, first=None):  # noqa: ARG002 - the protocol's names
            return bytes(table)

    tree, problems, options = Tree(files_of([*names, "t.csv"]), Contents()), Problems(), LayoutOptions()
    tracemalloc.start()
    try:
        found = find_layout(tree, "table", options)
        tracemalloc.reset_peak()
        listing = list_tree(tree, found, problems, options)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < (450 + 2.5 * len(text)) * count  # the table, what its rows say, and some rows at once
    assert now < (300 + 1.2 * len(text)) * count  # the labels alone
    assert found.layout == "table"
    labels = [json.loads(fields["json"]) for fields in samples_of(listing).values()]
    assert [label["x"] for label in labels] == list(range(count))
    assert [label["label"] for label in labels] == [number % 3 for number in range(count)]


def test_numbers_and_names_of_classes_in_a_joined_table_are_classes(tmp_path):
    kinds = "image,label,class\na,0,cat\nb,1,dog\nc,1,dog\nd,0,cat\n"
    said, listing, _ = line_of(tmp_path, {**PHOTOS, "boxes.csv": BOXES, "kinds.csv": kinds})
    assert "label from column 'label' and class from 'class'" in said
    assert listing.classes == ("cat", "dog")
    assert json.loads(samples_of(listing)["b"]["json"]) == {"x": 2, "y": 0, "label": 1, "class": "dog"}


def test_a_cell_that_is_too_long_is_told(tmp_path):
    table = "name,label,more\n" + "".join(f"{name},x,{'y' * 140_000}\n" for name in "abcd")
    with pytest.raises(SourceError, match=r"l\.csv cannot be read as CSV: field larger than field limit"):
        line_of(tmp_path, {**PHOTOS, "l.csv": table}, table="l.csv")


def test_a_table_with_the_line_ends_of_old_macs(tmp_path):
    listing = line_of(tmp_path, {**PHOTOS, "l.csv": "name,kind\ra,p\rb,q\rc,p\rd,q\r"})[1]
    assert listing.classes == ("p", "q")
