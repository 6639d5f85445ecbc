from dataclasses import dataclass

import pytest

import shardpack
from shardpack.sources.layouts.any_tables import spaced_tables
from shardpack.sources.scan import scan
from shardpack.sources.source import Problems
from shardpack.sources.spaced_tables import spaced_table
from shardpack.sources.tree import FolderContents, Tree
from tests.conftest import make_jpeg

IMAGES = [f"{number:06}.jpg" for number in range(1, 5)]
ATTRIBUTES = "4\nBald Young \n" + "".join(f"{image} -1  1 \n" for image in IMAGES)
PARTITION = "".join(f"{image} {split}\n" for image, split in zip(IMAGES, (0, 0, 1, 2), strict=True))


@dataclass
class Recorded:
    """Contents that note which files are read whole."""

    contents: FolderContents
    whole: list[str]

    def read(self, name, *, max_bytes, first=None):
        self.whole += [name] if first is None else []
        return self.contents.read(name, max_bytes=max_bytes, first=first)


def read(text, name="list_attr_celeba.txt"):
    return spaced_table(name, text.encode())


def test_rows_behind_a_count_and_names_keep_their_lines():
    expected = (("image_id", "Bald", "Young"), b"\n\n" + b"\n".join(f"{image} -1 1".encode() for image in IMAGES), "")
    assert read(ATTRIBUTES) == read("\ufeff" + ATTRIBUTES.replace("\n", "\r\n")) == expected
    named = ATTRIBUTES.replace("Bald", "file Bald")
    assert read(named).columns == ("file", "Bald", "Young")


def test_numbers_are_splits_in_a_partition_alone():
    columns, data, _ = read(PARTITION, "Eval/list_eval_partition.txt")
    assert columns == ("image_id", "split")
    assert data.split() == b"000001.jpg train 000002.jpg train 000003.jpg val 000004.jpg test".split()
    assert read(PARTITION.replace(" 2", " 3"), "list_eval_partition.txt").columns == ("image_id", "partition")
    assert read(PARTITION, "identity_CelebA.txt").columns == ("image_id", "identity")
    as_csv = "image_id,partition\n" + PARTITION.replace(" ", ",")
    assert read(as_csv, "list_eval_partition.csv") == (columns, b"\n" + data, "")
    quoted = (
        as_csv.replace("image_id,partition", '"image_id","partition"').replace("0000", '"0000').replace("g,", 'g",')
    )
    blanks = as_csv.replace(",", ", ")
    for text in (quoted, blanks, as_csv.replace("\n", "\r\n")):
        assert read(text, "list_eval_partition.csv") == (columns, b"\n" + data, "")


def test_a_partition_may_have_names_of_columns_and_of_splits():
    texts = PARTITION.replace(" 0", " train").replace(" 1", " Val").replace(" 2", " test")
    for name in ("list_eval_partition.txt", "list_eval.txt"):
        assert read("4\nimage_name  evaluation_status\n" + texts, name).columns == ("image_name", "split")
        assert read("4\nitem_id partition\n" + texts.replace(" ", " 7 "), name).columns == (
            "image_id",
            "item_id",
            "split",
        )
        other = read("4\nimage_name evaluation_status\n" + texts.replace("test", "query"), name)
        assert other.columns == ("image_name", "evaluation_status")
    assert read(texts, "list_eval_partition.txt").columns == ("image_id", "split")


def test_what_is_not_as_expected_is_said():
    assert read(ATTRIBUTES).problem == read(PARTITION, "list_eval_partition.txt").problem == ""
    assert read(ATTRIBUTES.replace("4\n", "202599\n", 1)).problem == "its first line says 202,599 rows, and it has 4"
    for other in ("3", "x"):
        found = read(PARTITION.replace(" 2", f" {other}"), "list_eval_partition.txt")
        assert found.columns == ("image_id", "partition")
        assert found.problem == f"its splits are numbers, 0 for train, 1 for val and 2 for test, and one is {other!r}"


def test_a_text_file_that_is_no_table_is_not_read_whole(tmp_path):
    (tmp_path / "notes.txt").write_text("hello\n" * 1000)
    (tmp_path / "list_attr.txt").write_text(ATTRIBUTES)
    (tmp_path / "identity_CelebA.txt").write_text(PARTITION)
    tree = Tree(scan(tmp_path, Problems()))
    tree.contents = Recorded(tree.contents, [])
    assert [table.name for table in spaced_tables(tree)] == ["identity_CelebA.txt", "list_attr.txt"]
    assert tree.contents.whole == ["identity_CelebA.txt", "list_attr.txt"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (ATTRIBUTES, "list_attr_celeba.csv"),
        (ATTRIBUTES.replace("4\n", "four\n"), "a.txt"),
        ("9" * 5000 + "\n" + ATTRIBUTES, "a.txt"),
        (ATTRIBUTES + "000005.jpg 1\n", "a.txt"),
        (ATTRIBUTES.replace("Young", '"Young"'), "a.txt"),
        (PARTITION, "train.txt"),
        (PARTITION + "000005.jpg\n", "list_eval_partition.txt"),
        ("0\na b\n", "a.txt"),
        ("", "a.txt"),
        ("4", "a.txt"),
    ],
)
def test_others_are_none(text, name):
    assert read(text, name) is None


def test_tables_of_celeba_are_joined_and_make_splits(tmp_path):
    (tmp_path / "in" / "img_align_celeba").mkdir(parents=True)
    for number, image in enumerate(IMAGES):
        (tmp_path / "in" / "img_align_celeba" / image).write_bytes(make_jpeg(seed=number))
    (tmp_path / "in" / "list_attr_celeba.txt").write_text(ATTRIBUTES)
    (tmp_path / "in" / "list_eval_partition.txt").write_text(PARTITION)
    (tmp_path / "in" / "identity_CelebA.txt").write_text("".join(f"{image} 28\n" for image in IMAGES))
    said = []
    shardpack.pack(tmp_path / "in", tmp_path / "out", announce=said.append)
    ds = shardpack.open(tmp_path / "out")
    assert dict(ds.splits) == {"train": 2, "val": 1, "test": 1}
    assert ds[0].decode("json") == {"identity": 28, "Bald": -1, "Young": 1}
    assert said[0].startswith(
        "identity_CelebA.txt + list_attr_celeba.txt + list_eval_partition.txt, joined by image: 4"
    )


def test_a_row_without_its_image_is_named_by_its_line(tmp_path):
    (tmp_path / "in").mkdir()
    for image in IMAGES[:3]:
        (tmp_path / "in" / image).write_bytes(make_jpeg())
    table = tmp_path / "in" / "list_attr_celeba.txt"
    table.write_text(ATTRIBUTES)
    with pytest.raises(shardpack.ShardpackError, match=r"'list_attr_celeba.txt:6'.*000004"):
        shardpack.pack(tmp_path / "in", tmp_path / "out", table=table, key_column="image_id")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("list_attr_celeba.txt", ATTRIBUTES.replace("4\n", "202599\n", 1), "its first line says 202,599 rows"),
        ("list_eval_partition.txt", PARTITION.replace(" 2", " 3"), "its splits are numbers, 0 for train"),
    ],
)
def test_a_table_that_is_nearly_right_is_a_question_until_it_is_named(tmp_path, name, text, said):
    (tmp_path / "in").mkdir()
    for image in IMAGES:
        (tmp_path / "in" / image).write_bytes(make_jpeg())
    table = tmp_path / "in" / name
    table.write_text(text)
    with pytest.raises(
        shardpack.ShardpackError, match=rf"{name}: {said}.*\(--table {name} --key-column image_id\), or"
    ):
        shardpack.pack(tmp_path / "in", tmp_path / "out")
    shardpack.pack(tmp_path / "in", tmp_path / "out", table=table, key_column="image_id")
    assert len(shardpack.open(tmp_path / "out")) == 4
