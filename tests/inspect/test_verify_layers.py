"""Layers: pinned by their manifest, with the keys of the base, and checked like datasets."""

from __future__ import annotations

import re
import shutil

import pytest

import shardpack
from shardpack.format.layout import MANIFEST_PATH, file_path, index_path, manifest_path
from tests import edits
from tests.read.damage import flip
from tests.read.datasets import numbered, write

LAYER = ".shardpack/layers/g000002-00000001"
SHARD = f"{LAYER}/shard-000000.tar"


def labels(keys):
    return {key: {"cls": b"1"} for key in keys}


@pytest.fixture
def dataset(tmp_path):
    write(tmp_path, numbered(6), max_shard_samples=3)
    write(tmp_path / LAYER, labels(["k/0004", "k/0001"]))
    edits.layered(tmp_path, tmp_path / LAYER, [0, 2, 0, 0, 1])
    return tmp_path


def problems(dataset, **options):
    return [(one.kind, one.shard, one.command) for one in shardpack.verify(dataset, **options).problems]


@pytest.mark.parametrize("full", [False, True])
def test_a_good_layer(dataset, full):
    assert problems(dataset, full=full) == []


def test_files_of_a_layer_are_checked(dataset):
    flip(dataset / SHARD, 520)
    assert problems(dataset) == []
    assert problems(dataset, full=True) == [("damaged", SHARD, "copy")]
    (dataset / LAYER / index_path("shard-000000.tar")).unlink()
    assert problems(dataset) == [("missing", f"{LAYER}/{index_path('shard-000000.tar')}", "repair")]
    (dataset / SHARD).unlink()
    assert ("missing", SHARD, "copy") in problems(dataset)


def test_a_layer_that_is_gone(dataset):
    shutil.rmtree(dataset / LAYER)
    assert problems(dataset) == [("layer", f"{LAYER}/{MANIFEST_PATH}", "detach")]


def test_another_layer_in_its_place(dataset):
    shutil.rmtree(dataset / LAYER)
    write(dataset / LAYER, labels(["k/0004", "k/0001", "k/0002"]))
    assert problems(dataset) == [("layer", f"{LAYER}/{MANIFEST_PATH}", "detach")]


def test_a_layer_that_went_on_is_read_as_it_was(tmp_path):
    write(tmp_path / "base", numbered(3))
    write(tmp_path / "layer", labels(["k/0000"]))
    edits.layered(tmp_path / "base", tmp_path / "layer", [1])
    edits.appended(tmp_path / "layer", labels(["k/0001"]))
    assert problems(tmp_path / "base") == []
    (tmp_path / "layer" / manifest_path(1)).unlink()
    assert problems(tmp_path / "base") == [("layer", f"../layer/{MANIFEST_PATH}", "detach")]


@pytest.mark.parametrize(
    ("column", "command", "reason"),
    [
        ([0, 1, 0, 0, 2], "detach", "2 samples of the layer .* have other keys .* first at position 1;"),
        ([0, 2], "detach", "1 samples of the layer .* belong to no sample"),
        ([0, 2, 0, 0, 3], "repair", "points to position 2 of a layer of 2"),
    ],
)
def test_positions_that_lead_to_other_samples(tmp_path, column, command, reason):
    write(tmp_path, numbered(6), max_shard_samples=3)
    write(tmp_path / LAYER, labels(["k/0004", "k/0001"]))
    manifest = edits.layered(tmp_path, tmp_path / LAYER, column)
    report = shardpack.verify(tmp_path)
    path = file_path(manifest.layers[0].positions)
    assert [(one.shard, one.command) for one in report.problems] == [(path, command)]
    assert re.search(reason, report.problems[0].message)


def test_layers_of_layers_and_fields_that_are_not_there(tmp_path):
    write(tmp_path / "base", numbered(3))
    write(tmp_path / "layer", labels(["k/0000", "k/0001"]))
    edits.deleted(tmp_path / "layer", 1)
    edits.layered(tmp_path / "base", tmp_path / "layer", [1, 2])
    (problem,) = shardpack.verify(tmp_path / "base").problems
    assert (problem.kind, problem.command) == ("layer", "detach")
    assert "has layers or deleted samples" in problem.message


def test_images_and_labels_of_layers_are_decoded(dataset):
    edits.layered(dataset, write(dataset / ".shardpack/layers/g000003-00000002", {"k/0002": {"json": b"{"}}), [0, 0, 1])
    (problem,) = shardpack.verify(dataset, check_images=True).problems
    assert (problem.kind, problem.key) == ("undecodable", "k/0002")


def test_a_tar_of_a_layer_that_breaks_off_is_restored_or_done_without(dataset):
    (dataset / SHARD).write_bytes((dataset / SHARD).read_bytes()[:-600])
    (problem,) = shardpack.verify(dataset).problems
    assert problem.message.endswith('; restore it, or do without the layer: "shardpack detach"')
    assert "repair" not in problem.message
    assert '"shardpack repair"' in shardpack.verify(dataset / LAYER).problems[0].message
