"""ImageNet's labels are the order of its classes, in the training folders and in the validation list."""

from __future__ import annotations

import json

import pytest

from shardpack.errors import SourceError
from shardpack.sources.layouts.detect import read_tree
from shardpack.sources.layouts.layout import LayoutOptions
from shardpack.sources.scan import scan
from shardpack.sources.source import Problems
from shardpack.sources.splits import counted_splits
from shardpack.sources.tree import Tree
from tests.sources.trees import samples_of, write_tree

DATA = "ILSVRC/Data/CLS-LOC"
MAPPING = "n01440764 tench, Tinca tinca\nn02012849 crane\nn03126707 crane\n"
KAGGLE = {
    f"{DATA}/train/n02012849/n02012849_1.JPEG": b"x",
    f"{DATA}/train/n01440764/n01440764_1.JPEG": b"x",
    f"{DATA}/val/ILSVRC2012_val_00000001.JPEG": b"x",
    f"{DATA}/test/ILSVRC2012_test_00000001.JPEG": b"x",
    "ILSVRC/Annotations/CLS-LOC/train/n01440764/n01440764_1.xml": "<annotation/>",
    "ILSVRC/ImageSets/CLS-LOC/train_cls.txt": "n01440764/n01440764_1 1\n",
    "LOC_synset_mapping.txt": MAPPING,
    "LOC_val_solution.csv": "ImageId,PredictionString\nILSVRC2012_val_00000001,n03126707 85 1 499 272 n03126707 1 2\n",
    "LOC_train_solution.csv": "ImageId,PredictionString\n",
    "LOC_sample_submission.csv": "ImageId,PredictionString\nILSVRC2012_test_00000001,0 0 0\n",
}


def listed(folder, files, layout="auto", **options):
    """Return labels by the last component of the key, and what was listed."""
    tree = Tree(scan(write_tree(folder, files), Problems()))
    found = read_tree(tree, layout, Problems(), LayoutOptions(asked=layout != "auto", **options))
    samples = samples_of(found.listing)
    return {key.rpartition("/")[2]: json.loads(fields.get("json", "null")) for key, fields in samples.items()}, found


def test_the_tree_of_kaggle(tmp_path):
    labels, found = listed(tmp_path, KAGGLE)
    assert labels == {
        "n01440764_1": {"label": 0, "class": "tench, Tinca tinca", "wnid": "n01440764"},
        "n02012849_1": {"label": 1, "class": "crane (n02012849)", "wnid": "n02012849"},
        "ILSVRC2012_val_00000001": {"label": 2, "class": "crane (n03126707)", "wnid": "n03126707"},
        "ILSVRC2012_test_00000001": None,
    }
    assert found.layout == "imagenet"
    assert counted_splits(found.listing) == {"train": 2, "val": 1, "test": 1}
    assert found.listing.classes == ("tench, Tinca tinca", "crane (n02012849)", "crane (n03126707)")
    assert found.problems.left_out == {"boxes, which --layout voc reads": 1}
    assert "ImageNet: 4 samples in train 2, val 1, test 1; a sample is jpeg" in found.sentence
    assert found.sentence.endswith("; 1 images without a class")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LOC_synset_mapping.txt", MAPPING),
        ("synset_words.txt", MAPPING),
        ("meta/imagenet_class_index.json", '{"0": ["n01440764", "tench"], "1": ["n02012849", "crane"]}'),
        ("words.txt", "n00000001\tthing\nn02012849\tcrane\nn01440764\ttench\n"),
    ],
)
def test_files_that_name_wnids(tmp_path, name, text):
    files = {"n02012849/1.jpg": b"x", "n01440764/2.jpg": b"x", name: text}
    labels, found = listed(tmp_path, files)
    assert [labels[key]["label"] for key in ("2", "1")] == [0, 1]
    assert labels["1"]["class"].startswith("crane")
    assert labels["1"]["wnid"] == "n02012849"
    assert len(found.listing.classes) == (3 if text == MAPPING else 2)


def test_wnids_without_names_are_classes(tmp_path):
    files = {"train/n02012849/1.jpg": b"x", "train/n01440764/2.jpg": b"x", "val/n01440764/3.jpg": b"x"}
    labels, found = listed(tmp_path, files)
    assert (found.layout, labels["1"]) == ("classes", {"label": 1, "class": "n02012849"})
    labels, found = listed(tmp_path, files, "imagenet")
    assert labels["1"] == {"label": 1, "class": "n02012849", "wnid": "n02012849"}


def test_numbers_of_the_development_kit_are_a_question(tmp_path):
    files = {
        "train/n01440764/1.JPEG": b"x",
        "val/ILSVRC2012_val_00000001.JPEG": b"x",
        "LOC_synset_mapping.txt": MAPPING,
        "ILSVRC2012_validation_ground_truth.txt": "490\n",
    }
    with pytest.raises(SourceError, match=r"cannot be told; .*--ignore ILSVRC2012_validation_ground_truth.txt\)"):
        listed(tmp_path, files)
    labels, _ = listed(tmp_path, files, ignore=["ILSVRC2012_validation_ground_truth.txt"])
    assert labels["ILSVRC2012_val_00000001"] is None


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (
            {"LOC_synset_mapping.txt": "n01440764 tench\n"},
            r"LOC_synset_mapping.txt has no line for 'n02012849'",
        ),
        ({"LOC_synset_mapping.txt": "1 tench\n"}, r"LOC_synset_mapping.txt:1: expected a wnid and a name"),
        ({"LOC_val_solution.csv": "a,b\nx,9\n"}, r"LOC_val_solution.csv:2: expected an image and a wnid, got 'x,9'"),
    ],
)
def test_damaged_files_are_named(tmp_path, changed, why):
    with pytest.raises(SourceError, match=why):
        listed(tmp_path, {**KAGGLE, **changed})


def test_other_folders(tmp_path):
    with pytest.raises(SourceError, match=r"no folders like n01440764 in .*, and no LOC_val_solution.csv; choose"):
        listed(tmp_path, {"cat/1.jpg": b"x"}, "imagenet")
