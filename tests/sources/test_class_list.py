import pytest

import shardpack
from shardpack.errors import SourceError
from shardpack.sources.class_list import CLASS_LIST, class_list_text, names_lines, read_class_list
from tests.conftest import make_jpeg


def test_any_names_come_back():
    names = ("zebra", "no", "1e3", "", 'a "b" \\', "é\n", "tab\t", "\b\f\x01", "# x", "a: b", "[x]", "😀\r", "\x0b\x1c")
    assert read_class_list(class_list_text(names).encode()) == names


@pytest.mark.parametrize("end", ["\x85", "\u2028", "\u2029"])
def test_names_with_line_ends_of_unicode_come_back_also_where_they_are_bare(end):
    text = class_list_text([f"a{end}b", f"\\{end}"])
    assert end not in text, "readers of YAML 1.1 would fold it"
    assert read_class_list(text.encode()) == (f"a{end}b", f"\\{end}")
    assert read_class_list(f'names:\n  0: "a{end}b"\r\n  1: c\r'.encode()) == (f"a{end}b", "c")


def test_an_empty_list_of_lines():
    assert names_lines([]) == ["names:"]


@pytest.mark.parametrize(
    "text",
    [
        "names:\n",
        "names: [a, b]\n",
        "names:\n  1: a\n  0: b\n",
        "names:\n  0: a\n  2: b\n",
        "names:\n  0: a\n  1: a\n",
        "names:\n  0: [a]\n",
        "classes: a\n",
        "names: &x a\n",
        "a list",
        "\xff",
    ],
)
def test_what_is_no_list_is_refused(text):
    with pytest.raises(SourceError, match=r"remove it \(path='shardpack-classes.yaml'\)"):
        read_class_list(text.encode("latin-1"))


@pytest.fixture
def folders(tmp_path):
    for name in ("cow", "zebra"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / f"{name}.jpg").write_bytes(make_jpeg())
    return tmp_path / "in"


def test_folders_get_the_numbers_of_the_list(folders, tmp_path):
    (folders / CLASS_LIST).write_text(class_list_text(["zebra", "ant", "cow"]))
    said = []
    shardpack.pack(folders, tmp_path / "out", announce=said.append)
    ds = shardpack.open(tmp_path / "out")
    assert ds.classes == ("zebra", "ant", "cow")
    assert {one.key: one.decode("json") for one in ds} == {
        "cow/cow": {"label": 2, "class": "cow"},
        "zebra/zebra": {"label": 0, "class": "zebra"},
    }
    assert "3 classes: zebra, ant, cow" in said[0]


def test_a_class_that_is_not_in_the_list_is_added(folders, tmp_path):
    (folders / CLASS_LIST).write_text(class_list_text(["zebra"]))
    shardpack.pack(folders, tmp_path / "out")
    ds = shardpack.open(tmp_path / "out")
    assert ds.classes == ("zebra", "cow")
    assert ds["cow/cow"].decode("json") == {"label": 1, "class": "cow"}


def test_a_damaged_list_is_an_error(folders, tmp_path):
    (folders / CLASS_LIST).write_text("names:\n  7: x\n")
    with pytest.raises(SourceError, match="expected a name for each"):
        shardpack.pack(folders, tmp_path / "out")
    shardpack.pack(folders, tmp_path / "out", ignore=[CLASS_LIST])
    assert shardpack.open(tmp_path / "out").classes == ("cow", "zebra")


@pytest.fixture
def days(tmp_path):
    """A folder with two exports of one dataset."""
    with shardpack.ShardWriter(tmp_path / "ds", classes=["dog", "no sample", "cat"]) as writer:
        for number, (label, name) in enumerate([(2, "cat"), (0, "dog")]):
            writer.write(f"s{number}", {"jpg": make_jpeg(seed=number), "json": {"label": label, "class": name}})

    def export(to):
        for day in ("day1", "day2"):
            shardpack.export(shardpack.open(tmp_path / "ds"), tmp_path / "days" / day, to=to, jobs=1)
        return tmp_path / "days"

    return export


@pytest.mark.parametrize("to", ["folder", "mds"])
def test_equal_lists_of_folders_are_taken(days, tmp_path, to):
    shardpack.pack(days(to), tmp_path / "out", jobs=1, key_column=":row" if to == "mds" else None)
    ds = shardpack.open(tmp_path / "out")
    assert ds.classes == ("dog", "no sample", "cat")
    assert sorted({(one.decode("json")["label"], one.decode("json")["class"]) for one in ds}) == [
        (0, "dog"),
        (2, "cat"),
    ]


@pytest.mark.parametrize("to", ["folder", "mds"])
def test_other_lists_of_folders_are_refused(days, tmp_path, to):
    (days(to) / "day2" / CLASS_LIST).write_text(class_list_text(["cat"]))
    with pytest.raises(SourceError, match=f"'day1/{CLASS_LIST}' and 'day2/{CLASS_LIST}' name other classes; pack"):
        shardpack.pack(tmp_path / "days", tmp_path / "out", jobs=1)


def test_a_damaged_list_of_a_folder_is_named(days, tmp_path):
    (days("folder") / "day2" / CLASS_LIST).write_text("names:\n  7: x\n")
    with pytest.raises(SourceError, match=f"path='day2/{CLASS_LIST}'"):
        shardpack.pack(tmp_path / "days", tmp_path / "out", jobs=1)


@pytest.fixture
def flat(tmp_path):
    """A folder of two images and a list of two classes."""
    (tmp_path / "flat").mkdir()
    for number in range(2):
        (tmp_path / "flat" / f"im{number}.jpg").write_bytes(make_jpeg(seed=number))
    (tmp_path / "flat" / CLASS_LIST).write_text(class_list_text(["zebra", "ant"]))
    return tmp_path / "flat"


@pytest.mark.parametrize("where", ["metadata.csv", "im0.json"])
def test_labels_that_contradict_the_list_are_refused_by_name(flat, tmp_path, where):
    if where == "metadata.csv":
        (flat / where).write_text("file_name,label,class\nim0.jpg,0,ant\nim1.jpg,1,ant\n")
    else:
        (flat / where).write_text('{"annotations": [{"bbox": [1, 2, 3, 4], "label": 0, "class": "ant"}]}')
        (flat / "im1.json").write_text('{"label": 1, "class": "ant"}')
    reason = f"1 problem in the source: 'im0[.a-z]*': label 0 and class 'ant' contradict {CLASS_LIST}; correct"
    with pytest.raises(SourceError, match=reason):
        shardpack.pack(flat, tmp_path / "out", jobs=1)
    shardpack.pack(flat, tmp_path / "out", jobs=1, on_error="skip")
    assert list(shardpack.open(tmp_path / "out").keys()) == ["im1"]


def test_classes_that_the_list_does_not_have_are_noted(flat, tmp_path):
    (flat / "metadata.csv").write_text("file_name,label,class\nim0.jpg,7,lion\nim1.jpg,1,ant\n")
    said = []
    shardpack.pack(flat, tmp_path / "out", jobs=1, announce=said.append)
    assert f"; 1 with a class that {CLASS_LIST} does not have" in said[0]
    assert shardpack.open(tmp_path / "out")["im0"].decode("json") == {"label": 7, "class": "lion"}


@pytest.mark.parametrize("to", ["mds", "lmdb"])
def test_rows_that_contradict_the_list_are_refused_by_name(days, tmp_path, to):
    pytest.importorskip({"lmdb": "lmdb"}.get(to, "numpy"))
    folder = days(to) / "day1"
    (folder / CLASS_LIST).write_text(class_list_text(["dog", "no sample", "cow"]))
    with pytest.raises(SourceError, match=f"label 2 and class 'cat' contradict {CLASS_LIST}; correct"):
        shardpack.pack(folder, tmp_path / "out", jobs=1)
