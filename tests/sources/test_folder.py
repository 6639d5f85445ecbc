"""A folder source finds the right layout, reports all problems at once, and lists the same samples each time."""

from __future__ import annotations

import json
import os

import pytest

import shardpack
from shardpack.errors import OptionError, SourceError
from shardpack.sources.folder import FolderSource
from shardpack.sources.source import ListOptions
from tests.conftest import image_folder, make_jpeg
from tests.sources.trees import fake_scandir, needs_byte_names, samples_of, write_tree

JPEG = make_jpeg()
COCO = json.dumps({"images": [{"id": 1, "file_name": "a/1.jpg"}], "annotations": []})

# name -> (files, the layout that "auto" finds, keys)
SOURCES = {
    "class folders": (["a/1.jpg", "b/2.jpg", "b/c/3.jpg"], "classes", ["a/1", "b/2", "b/c/3"]),
    "one image in no folder": (["a/1.jpg", "2.jpg"], "files", ["2", "a/1"]),
    "sidecars": (["a/1.jpg", "a/1.json", "b/2.jpg"], "files", ["a/1", "b/2"]),
    "captions": (["a/1.jpg", "a/1.txt"], "files", ["a/1"]),
    "masks are no labels": (["a/1.jpg", "a/1.seg.png"], "classes", ["a/1"]),
    "table": ({"a/1.jpg": b"x", "metadata.csv": "file_name\na/1.jpg\n"}, "table", ["a/1"]),
    "table in a folder": ({"a/1.jpg": b"x", "a/metadata.jsonl": '{"file_name": "1.jpg"}'}, "table", ["a/1"]),
    "coco": ({"a/1.jpg": b"x", "annotations.json": COCO}, "coco", ["a/1"]),
    "coco of roboflow": ({"a/1.jpg": b"x", "_annotations.coco.json": COCO}, "coco", ["a/1"]),
}


def listed(path, layout="auto", annotations=None, ignore=(), **options):
    return FolderSource(path, layout, annotations, ignore=ignore).list(ListOptions(**options))


every_source = pytest.mark.parametrize(("files", "layout", "keys"), SOURCES.values(), ids=SOURCES)


@every_source
def test_auto_finds_the_layout(tmp_path, files, layout, keys):
    source = listed(write_tree(tmp_path, files))
    assert source.layout == layout
    assert list(source.listing.keys) == keys
    assert not source.problems.rejected
    labelled = {key for key, fields in samples_of(source.listing).items() if "json" in fields}
    assert labelled == (set(keys) if layout != "files" else labelled)


@pytest.mark.parametrize("files", [files for files, _, _ in SOURCES.values()], ids=SOURCES)
def test_the_disk_s_order_does_not_matter(tmp_path, monkeypatch, files):
    write_tree(tmp_path, files)
    write_tree(tmp_path, [".hidden", "z/.hidden", "notes.md", "a/extra.md", "z/extra.md"])
    results = []
    for seed in range(5):
        with monkeypatch.context() as patch:
            fake_scandir(patch, shuffle_seed=seed)
            found = listed(tmp_path)
        listing, problems = found.listing, found.problems
        columns = [listing.start.tolist(), listing.size.tolist(), listing.mtime_ns.tolist(), listing.classes]
        results.append((samples_of(listing), list(listing.keys), columns, problems, found.layout))
    assert all(result == results[0] for result in results)
    assert results[0][3].left_out_examples["hidden"] == ".hidden"


@pytest.mark.parametrize("layout", ["classes", "files", "table", "coco"])
def test_the_layout_can_be_chosen(tmp_path, layout):
    write_tree(tmp_path, {"a/1.jpg": b"x", "annotations.json": COCO, "metadata.csv": "file_name,n\na/1.jpg,1\n"})
    others = {"table": ["annotations.json"], "coco": ["metadata.csv"]}
    source = listed(tmp_path, layout=layout, ignore=others.get(layout, ["annotations.json", "metadata.csv"]))
    assert source.layout == layout
    fields = samples_of(source.listing)["a/1"]
    assert (
        fields.get("json")
        == {
            "classes": b'{"label":0,"class":"a"}',
            "files": None,
            "table": b'{"n":1}',
            "coco": b'{"id":1,"annotations":[]}',
        }[layout]
    )


def test_annotations_imply_coco_and_are_found_from_here_or_from_the_source(tmp_path, monkeypatch):
    source = write_tree(
        tmp_path / "source",
        {"a/1.jpg": b"x", "a/2.jpg": b"x", "metadata.csv": "file_name\na/1.jpg\n", "annotations/val.json": COCO},
    )
    (tmp_path / "here.json").write_text(COCO.replace("a/1", "a/2"))
    monkeypatch.chdir(tmp_path)
    for path, key in ((tmp_path / "here.json", "a/2"), ("here.json", "a/2"), ("annotations/val.json", "a/1")):
        others = ["*.csv", "annotations/*"] if "here" in str(path) else ["*.csv"]
        found = listed("source", annotations=path, ignore=others)
        assert (found.layout, list(found.listing.keys)) == ("coco", [key])
        assert found.listing.root == "source"
    with pytest.raises(SourceError, match=r"cannot read 'missing.json': No such file"):
        listed(source, annotations="missing.json")


def test_coco_without_annotations(tmp_path):
    write_tree(tmp_path, ["1.jpg"])
    with pytest.raises(SourceError, match=r"no annotations of COCO in .*annotations.json or .*\(--annotations\)"):
        listed(tmp_path, layout="coco")


@pytest.mark.parametrize("layout", ["classes", "files", "table"])
def test_annotations_are_for_coco(layout):
    with pytest.raises(OptionError, match=r"annotations are for the layout 'coco', got .*; leave one of them out"):
        FolderSource("/nowhere", layout, "x.json")


def test_all_problems_in_one_error_or_skipped(tmp_path):
    write_tree(tmp_path, ["a/1.jpg", "a/A B.jpg", "a/v.2.jpg", "a/3.jpg", "a/3.my mask.png"])
    write_tree(tmp_path, {"a/4.jpg": b"", "a/5.jpg": b"x", "notes.md": "x"})
    os.symlink("nowhere", tmp_path / "a" / "6.jpg")
    with pytest.raises(
        SourceError, match=r"^5 problems in the source: .*; and 2 more; correct them, or leave them out"
    ):
        listed(tmp_path)
    source = listed(tmp_path, on_error="skip")
    assert list(source.listing.keys) == ["a/1", "a/5"]
    assert source.listing.fields == ("jpg", "json")
    assert sorted(name for name, _ in source.problems.rejected) == [
        "a/3.jpg",
        "a/4.jpg",
        "a/6.jpg",
        "a/A B.jpg",
        "a/v.2.jpg",
    ]
    assert source.problems.left_out == {"not in a sample, .md": 1}


@needs_byte_names
def test_rename_keys_packs_whatever_the_disk_can_name(tmp_path):
    names = [b"caf\xe9/1.jpg", b"caf\xe9/\xff .jpg", b"Cat/x.1.JPG", b"Cat/x.1.Seg.png", b"cat/x.1.jpg", b"50%/__a.jpg"]
    for name in names:
        path = os.path.join(os.fsencode(tmp_path), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"x")
    source = listed(tmp_path, rename_keys=True)
    assert source.layout == "classes"
    assert list(source.listing.classes) == ["50%", "Cat", "caf%E9", "cat"]
    found = samples_of(source.listing)
    assert {key: json.loads(fields.pop("json"))["class"] for key, fields in found.items()} == {
        "%43at/x%2E1": "Cat",
        "50%25/%5F_a": "50%",
        "caf%E9/%FF%20": "caf%E9",
        "caf%E9/1": "caf%E9",
        "cat/x%2E1": "cat",
    }
    assert sorted(os.fsencode(path) for fields in found.values() for path in fields.values()) == sorted(names)
    assert found["%43at/x%2E1"].keys() == {"jpg", "seg.png"}
    rejected = dict(listed(write_tree(tmp_path, ["ok/1.jpg"]), on_error="skip").problems.rejected)
    assert len(rejected) == 6
    assert rejected["caf\udce9/1.jpg"].startswith("its name is not UTF-8; rename it, or pass rename_keys")


def test_an_empty_source_says_what_was_looked_for_and_what_was_found(tmp_path):
    with pytest.raises(
        SourceError, match=r"no images to pack in .*: looked for .*\.jpg, .*; found 0 files; name the folder that holds"
    ):
        listed(tmp_path)
    write_tree(tmp_path, ["a.json", "b.json", ".c.jpg"])
    with pytest.raises(
        SourceError,
        match=r"found 2 files; 1 left out: hidden \(such as '.c.jpg'\); 2 left out: not in a sample, .json",
    ):
        listed(tmp_path)
    write_tree(tmp_path, ["x y.jpg"])
    with pytest.raises(SourceError, match=r"; 1 rejected, such as 'x y.jpg': it has a space"):
        listed(tmp_path, on_error="skip")


def test_progress_reaches_the_number_of_files(tmp_path):
    counts = []
    image_folder(tmp_path)
    source = listed(tmp_path, progress=counts.append)
    assert counts[-1] == 6
    assert source.listing.num_samples == 6
    assert source.listing.by_class


def test_no_image_is_opened(tmp_path, monkeypatch):
    image_folder(tmp_path)

    def refuse(*args, **_):
        raise AssertionError(args)

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr(os, "open", refuse)
    assert listed(tmp_path).layout == "classes"


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("labels.csv", ("--table labels.csv", "--ignore labels.csv")),
        ("a/my labels.tsv", ("--table 'a/my labels.tsv'", "--ignore 'a/my labels.tsv'")),
        ("x.json", ("--annotations x.json", "--ignore x.json")),
        ("a/notes.txt", ("--table a/notes.txt --key-column 0", "--ignore a/notes.txt")),
        ("data.yaml", ("--layout", "--ignore data.yaml")),
    ],
)
def test_what_may_hold_labels_is_a_question(tmp_path, name, answers):
    write_tree(tmp_path, {"a/0.jpg": b"x", "b/0.jpg": b"x", name: "?"})
    with pytest.raises(SourceError, match=r"files that may hold labels .*'classes': ") as error:
        listed(tmp_path)
    assert repr(name) in str(error.value)
    assert all(answer in str(error.value) for answer in answers)
    found = listed(tmp_path, ignore=[answers[1].removeprefix("--ignore ").strip("'")])
    assert found.problems.left_out == {"ignored": 1}


@pytest.mark.parametrize(
    "files",
    [
        {"a/1.jpg": b"x", "b/2.jpg": b"x", "labels.txt": "?"},
        {"images/1.jpg": b"x", "b/2.jpg": b"x"},
        {"train/1.jpg": b"x", "test/1.jpg": b"x", "extra/1.jpg": b"x", "x.csv": "id\n7\n"},
    ],
)
def test_nothing_is_asked_where_labels_do_not_matter(tmp_path, files):
    write_tree(tmp_path, files)
    with pytest.raises(SourceError, match="--"):
        listed(tmp_path)
    listing = FolderSource(tmp_path, ask=False).list(ListOptions()).listing
    assert sorted(f"{key}.jpg" for key in listing.keys) == sorted(name for name in files if name.endswith("jpg"))


def test_one_line_says_what_was_found(tmp_path):
    write_tree(tmp_path, ["train/a/1.jpg", "train/b/2.png", "test/3.jpg"])
    write_tree(tmp_path, {"README.txt": "x", "train/a/.cache": "x", "labels.cache": "x"})
    found = listed(tmp_path)
    assert found.sentence == (
        "class folders: 3 samples in train 2, test 1; a sample is jpg or png + json (label and class; 2 classes: a, b) "
        "in 2 of 3"
    )
    assert found.problems.left_out == {"hidden": 1, "not in a sample, .cache": 1, "not in a sample, .txt": 1}


@pytest.mark.parametrize(
    "files",
    [
        {
            "images/a.jpg": JPEG,
            "annotations.json": b'{"images": [{"id": 1, "file_name": "a.jpg", "width": 32, "height": 24}], '
            b'"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}], '
            b'"categories": [{"id": 1, "name": "x"}]}',
        },
        {
            "JPEGImages/a.jpg": JPEG,
            "JPEGImages/b.jpg": JPEG,
            **{
                f"Annotations/{name}.xml": b"<annotation><object><name>x</name><bndbox><xmin>1</xmin><ymin>1</ymin>"
                b"<xmax>5</xmax><ymax>5</ymax></bndbox></object></annotation>"
                for name in "ab"
            },
            "ImageSets/Main/train.txt": b"a\n",
            "ImageSets/Main/val.txt": b"b\n",
        },
        {
            "a.jpg": JPEG,
            "a.json": b'{"imagePath": "a.jpg", "imageWidth": 32, "imageHeight": 24, "shapes": '
            b'[{"label": "x", "shape_type": "point", "points": [[1, 2]]}]}',
        },
        {"a.jpg": JPEG, "b.jpg": JPEG, "captions.token": b"a.jpg#0\tone\nb.jpg#0\ttwo\n"},
        {"a.jpg": JPEG, "b.jpg": JPEG, "labels.csv": b"file,label\na.jpg,x\nb.jpg,y\n"},
        {
            "a.jpg": JPEG,
            "b.jpg": JPEG,
            "labels.jsonl": b'{"file": "a.jpg", "label": "x"}\n{"file": "b.jpg", "label": "y"}\n',
        },
    ],
)
def test_a_byte_order_mark_and_line_ends_of_windows_change_nothing(tmp_path, files):
    marked = {
        name: data if data == JPEG else b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n") for name, data in files.items()
    }
    for name, written in (("plain", files), ("marked", marked)):
        for path, data in written.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_bytes(data)
        shardpack.pack(tmp_path / name, tmp_path / f"{name}-out")
    plain, other = (shardpack.open(tmp_path / f"{name}-out") for name in ("plain", "marked"))
    assert (other.splits, other.classes) == (plain.splits, plain.classes)
    assert [dict(one) for one in other] == [dict(one) for one in plain]


def test_blanks_behind_the_commas_of_a_table_are_no_part_of_what_it_says(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.jpg").write_bytes(JPEG)
    (tmp_path / "labels.csv").write_text('file , label, note\na.jpg, cat, "one, two"\nb.jpg, dog, three\n')
    shardpack.pack(tmp_path, tmp_path / "out")
    first = shardpack.open(tmp_path / "out")[0]
    assert first.decode("json") == {"label": 0, "class": "cat", "note": "one, two"}
