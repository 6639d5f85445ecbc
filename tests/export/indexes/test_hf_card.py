"""The card: which tars make which split, which fields are of which type."""

from __future__ import annotations

import pytest

import shardpack
from shardpack.errors import OptionError
from shardpack.export.indexes.hf_card import CardContents, CardSplit, encode, feature_type, tar_patterns
from tests.export.indexes.samples import exported


def test_the_whole_card(ds, tmp_path):
    card = exported(ds, tmp_path, "hf-card")["README.md"].decode()
    assert card == (
        '---\nconfigs:\n- config_name: default\n  data_files:\n  - split: "train"\n    path: "shard-*.tar"\n'
        'dataset_info:\n  features:\n  - name: "cls"\n    dtype: int64\n  - name: "jpg"\n    dtype: image\n'
        '  - name: "json"\n    dtype: json\n  - name: "seg.png"\n    dtype: image\n'
        '  - name: "txt"\n    dtype: string\n'
        '  - name: "__key__"\n    dtype: string\n  - name: "__url__"\n    dtype: string\n'
        '  splits:\n  - name: "train"\n    num_bytes: 19968\n    num_examples: 7\n'
        "  download_size: 19968\n  dataset_size: 19968\nsize_categories:\n- n<1K\n---\n\n"
        "# ds\n\n7 samples in 3 tars, 19.5 KiB.\n\n"
        "| split | samples | tars |\n| --- | --- | --- |\n| train | 7 | 3 |\n\n"
        "| field | samples |\n| --- | --- |\n| `cls` | 1 |\n| `jpg` | 5 |\n| `json` | 6 |\n"
        "| `seg.png` | 1 |\n| `txt` | 1 |\n\n"
        "Classes, by label: 0 cat, 1 dog.\n"
    )


@pytest.mark.parametrize(
    ("tars", "among", "patterns"),
    [
        (["train-0.tar", "train-1.tar"], ["train-0.tar", "train-1.tar", "val-0.tar"], ["train-*.tar"]),
        (["d/a-0.tar"], ["d/a-0.tar", "e/a-0.tar"], ["d/a-*.tar"]),
        (["a-0.tar"], ["a-0.tar", "a-1.tar"], ["a-0.tar"]),
        (["x.tar", "y.tar"], ["x.tar", "y.tar"], ["*.tar"]),
        (["a[1].tar"], ["a[1].tar"], ["a[[]1[]].tar"]),
        ([], ["a.tar"], []),
    ],
)
def test_patterns_match_the_tars_of_a_split_alone(tars, among, patterns):
    assert tar_patterns(tars, among) == patterns


@pytest.mark.parametrize(
    ("field", "kind"),
    [("jpg", "image"), ("seg.png", "image"), ("json.zst", "json"), ("cls", "int64"), ("npy", None), ("bin", "binary")],
)
def test_types(field, kind):
    assert feature_type(field) == kind


def contents(**more):
    plain = {"title": "t", "splits": [], "tars": [], "num_samples": 0, "num_bytes": 0, "samples_per_field": {}}
    return encode(CardContents(**{**plain, "classes": None, **more})).decode()


def test_without_tars_there_is_nothing_to_load():
    assert "configs" not in contents()


def test_features_are_left_out_where_only_values_tell():
    assert "features" not in contents(samples_per_field={"npy": 1})


def test_splits_have_names_that_the_hub_allows_and_samples_of_none_are_named():
    splits = [CardSplit("train-clean", ["train-clean-0.tar"], 3, 10)]
    card = contents(splits=splits, tars=["train-clean-0.tar", "shard-0.tar"], num_samples=5, num_bytes=20)
    assert '- split: "train_clean"' in card
    assert "Samples in no split: 2." in card


def test_splits_of_one_name_on_the_hub_are_refused(tmp_path):
    with shardpack.ShardWriter(tmp_path / "ds") as writer:
        for split in ("a-b", "a_b"):
            writer.write(f"{split}/1", {"txt": "x"}, split=split)
    with pytest.raises(OptionError, match="'a-b' and 'a_b' are both 'a_b' to Hugging Face; rename one"):
        exported(shardpack.open(tmp_path / "ds"), tmp_path / "out", "hf-card")


def test_class_names_are_text():
    assert r"0 a\*b \<c\>" in contents(classes=["a*b\n<c>"])


def test_names_beyond_the_first_plane_are_not_escaped():
    assert '- name: "\N{CAT FACE}.txt"' in contents(samples_per_field={"\N{CAT FACE}.txt": 1})
