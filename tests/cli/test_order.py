"""`order`: its text and JSON, its warnings, plots and refusals."""

from __future__ import annotations

import re

import pytest
from PIL import Image

import shardpack
from shardpack.edit.table import table
from shardpack.inspect.drawn_stats import drawn_stats
from shardpack.inspect.order_stats import order_stats
from tests.cli.conftest import program

SMALL = ("--block-bytes", "8KiB", "--window-blocks", "2", "--partitions", "1")


@pytest.fixture(scope="session")
def sorted_by_class(tmp_path_factory):
    out = tmp_path_factory.mktemp("sorted") / "out"
    with shardpack.ShardWriter(out) as writer:
        for i in range(2000):
            writer.write(f"c{i // 100:02d}/{i:04d}", {"json": {"label": i // 100}})
    return out


def pairs(done):
    return dict(line.split("  ", 1) for line in done.out.splitlines())


def test_order(run, packed):
    done = run("order", packed)
    assert (done.code, done.err) == (0, "")
    found = {name: value.strip() for name, value in pairs(done).items()}
    assert found["location"] == str(packed)
    assert found["samples"].startswith("12 in ")
    assert found["order"] == "blocks, seed 0, epoch 0, 64 partitions"
    assert found["rank 0 of 1"] == "12 samples, 1 step of 64"
    assert re.fullmatch(r"\d+ blocks of [0-9.]+ KiB, whole or in part", found["in order of"])
    assert found["classes"] == "3 (first folder of the key)"
    assert found["class mixing"] == "1.000 of a true shuffle's"
    assert "1 batch of 12;" in found["class entropy"]
    assert {"reads", "window", "reads ahead", "memory", "neighbours"} <= found.keys()


def test_options_reach_the_stream(run, sorted_by_class):
    options = {
        "shuffle": "blocks", "seed": -5, "rank": 1, "world_size": 2, "batch_size": 50, "partitions": 4,
        "block_bytes": 8192, "window_blocks": 2,
    }  # fmt: skip
    arguments = [text for name, value in options.items() for text in ("--" + name.replace("_", "-"), value)]
    found = run("order", sorted_by_class, *arguments, "--epoch", 3, "--json").json
    stream = shardpack.open(sorted_by_class).stream(**options)
    stream.set_epoch(3)
    expected = order_stats(stream)
    assert found.pop("location") == str(sorted_by_class)
    assert found.pop("poorly_mixed") is expected.poorly_mixed is True
    assert found == {name: getattr(expected, name) for name in expected.__dataclass_fields__}
    assert (found["rank"], found["seed"], found["epoch"], found["steps"]) == (1, -5, 3, 20)
    text = run("order", sorted_by_class, *arguments, "--epoch", 3).out
    assert "blocks, seed -5, epoch 3, 4 partitions" in text
    assert "2 blocks over all ranks" in text


@pytest.mark.parametrize("shuffle", ["none", "shards", "blocks", "global"])
def test_every_order_has_its_lines(run, packed, shuffle):
    done = run("order", packed, "--shuffle", shuffle)
    assert (done.code, done.err) == (0, "")
    assert ("window" in pairs(done)) == (shuffle == "blocks")
    assert ("seed" in done.out) == (shuffle != "none")
    assert run("order", packed, "--shuffle", shuffle, "--json").json["shuffle"] == shuffle


def test_classes_may_come_from_labels(run, packed, odd):
    assert "3 (label of the json field)" in run("order", packed, "--class-from", "json").out
    assert "none known" in run("order", odd).out
    done = run("order", odd, "--class-from", "json")
    assert (done.code, done.out) == (1, "")
    assert "does not decode as json" in done.err


# The warning


def test_a_dataset_stored_by_class_is_warned_of_with_the_remedy(run, sorted_by_class):
    done = run("order", sorted_by_class, *SMALL)
    assert done.code == 0
    (warning,) = done.err.splitlines()
    assert warning.startswith("warning: batches have too few classes")
    for remedy in ('pack with "--shuffle-seed SEED"', "--window-blocks 8", 'shuffle="global"'):
        assert remedy in warning
    assert "warning" not in done.out
    assert 'shuffle="blocks"' in run("order", sorted_by_class, "--shuffle", "shards").err


def test_the_warning_is_a_note(run, sorted_by_class):
    assert run("order", sorted_by_class, *SMALL, "--quiet").err == ""
    done = run("order", sorted_by_class, *SMALL, "--json")
    assert done.json["poorly_mixed"] is True
    assert done.err.startswith("warning:")


def test_no_warning_where_the_remedy_was_taken(run, sorted_by_class):
    for options in (("--shuffle", "global"), (*SMALL[:2], "--window-blocks", 1000, "--partitions", 1)):
        done = run("order", sorted_by_class, *options)
        assert (done.code, done.err) == (0, "")


def test_packing_with_a_shuffle_is_the_remedy_it_is_said_to_be(run, tmp_path):
    photos = tmp_path / "photos"
    for i in range(600):
        folder = photos / f"c{i % 6}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i:03d}.jpg").write_bytes(b"never looked at")
    options = (*SMALL, "--batch-size", 50)
    for packing, mixed in (((), False), (("--shuffle-seed", 1), True)):
        out = tmp_path / f"out-{mixed}"
        assert run("pack", photos, out, "--layout", "files", "--jobs", 1, "--quiet", *packing).code == 0
        assert (run("order", out, *options).err == "") is mixed


def test_the_default_partitions_mix_no_worse_than_one_a_rank(run, sorted_by_class):
    found = run("order", sorted_by_class, "--compare", "--batch-size", 8, "--block-bytes", "2KiB", "--json")
    found = found.json["ranks"]
    assert [(one["world_size"], one["partitions"]) for one in found] == [
        (1, 8),
        (1, 1),
        (8, 64),
        (8, 8),
        (64, 64),
        (64, 64),
    ]
    for elastic, one_a_rank in zip(found[::2], found[1::2], strict=True):
        assert elastic["class_mixing"] > 0.98 * one_a_rank["class_mixing"]
    lines = run("order", sorted_by_class, "--compare").out.split("\n\n")[1].splitlines()
    assert lines[0] == "ranks  partitions  blocks mixed per rank  memory per rank  class mixing"
    assert len(lines) == 7


def test_orders_side_by_side(run, sorted_by_class):
    options = ("--batch-size", 50, "--block-bytes", "2KiB", "--window-blocks", 2, "--compare")
    found = run("order", sorted_by_class, *options, "--json").json
    assert found["location"] == str(sorted_by_class)
    mixing = {one["order"]: one["class_mixing"] for one in found["orders"]}
    assert list(mixing) == ["none", "shards", "blocks", "global", "shuffle buffer"]
    assert mixing["none"] < mixing["shuffle buffer"] < mixing["global"]
    lines = run("order", sorted_by_class, *options).out.split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["none", "shards", "blocks", "global", "webdataset"]
    assert len({len(line) for line in lines}) == 1, "columns are aligned"


# Balanced and weighted epochs


@pytest.fixture(scope="session")
def with_table(tmp_path_factory):
    """A dataset of 2 cats and 18 dogs, with a label table."""
    out = tmp_path_factory.mktemp("table") / "out"
    with shardpack.ShardWriter(out) as writer:
        for i in range(20):
            writer.write(f"{i:02d}", {"json": {"class": "dog" if i % 10 else "cat", "score": i % 4}})
    table(out)
    return out


def test_what_a_balanced_batch_holds(run, with_table):
    done = run("order", with_table, "--balance", "class", "--batch-size", 4, "--num-samples", 40)
    assert (done.code, done.err) == (0, "")
    head, classes = done.out.split("\n\n")
    assert "balance=class, seed 0, epoch 0, 4 partitions" in head
    assert "40 samples; a sample comes 1 to 10 times, 0 never" in head
    lines = [" ".join(line.split()) for line in classes.splitlines()]
    assert lines == [
        "class samples in the epoch each sample in a batch of 4 (10 measured)",
        "cat 2 20 10 2.00 (2 to 2)",
        "dog 18 20 1 to 2 2.00 (2 to 2)",
    ]
    found = run("order", with_table, "--balance", "class", "--batch-size", 4, "--num-samples", 40, "--json").json
    assert found.pop("location") == str(with_table)
    stream = shardpack.open(with_table).stream(balance="class", batch_size=4, num_samples=40)
    expected = drawn_stats(stream)
    assert [one["name"] for one in found.pop("classes")] == ["cat", "dog"]
    assert found == {name: getattr(expected, name) for name in expected.__dataclass_fields__ if name != "classes"}


def test_weights_are_json_or_a_column(run, with_table, tmp_path):
    found = run("order", with_table, "--weights", '{"cat": 1, "dog": 3}', "--epoch", 2, "--json").json
    assert [(one["name"], one["drawn"]) for one in found["classes"]] == [("cat", 5), ("dog", 15)]
    done = run("order", with_table, "--weights", "score", "--plot", tmp_path / "x.png")
    assert "a sample comes 0 to 2 times, 10 never" in done.out
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--balance", "class", "--compare"], "leave out --balance"),
        (["--balance", "class", "--shuffle", "blocks"], "leave shuffle out"),
        (["--balance", "size"], "no column 'size'"),
        (["--weights", "{cat: 1}"], "is not JSON"),
        (["--weights", '{"cat": 1}'], "no weight for 'dog'"),
        (["--num-samples", "3"], "give balance or weights"),
    ],
)
def test_what_cannot_be_drawn(run, with_table, arguments, text):
    done = run("order", with_table, *arguments)
    assert (done.code, done.out) == (2, "")
    assert text in done.err
    assert len(done.err.splitlines()) == 1


# The plot


def test_a_plot_is_a_png(run, packed, tmp_path):
    path = tmp_path / "order.png"
    assert run("order", packed, "--plot", path) == run("order", packed)
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert len(image.getcolors(1 << 20)) > 3, "paper, ink, grid and dots"


def test_a_plot_is_not_overwritten_unless_asked(run, packed, tmp_path):
    path = tmp_path / "order.png"
    path.write_bytes(b"mine")
    done = run("order", packed, "--plot", path)
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith("replace it with --force\n")
    assert path.read_bytes() == b"mine"
    assert run("order", packed, "--plot", path, "--force").code == 0
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_plot_that_cannot_be_written_is_one_line(run, packed, tmp_path):
    done = run("order", packed, "--plot", tmp_path / "none" / "order.png")
    assert done.code == 1
    assert len(done.err.splitlines()) == 1


# What is refused


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--shuffle", "all"], "is not one of 'none', 'shards', 'blocks', 'global'"),
        (["--world-size", "0"], "--world-size"),
        (["--rank", "2", "--world-size", "2"], "rank is 2"),
        (["--epoch", "-1"], "--epoch"),
        (["--block-bytes", "4 apples"], "not a size"),
        (["--block-bytes", "0"], "block_bytes is 0"),
        (["--batch-size", "3", "--partitions", "2"], "global batch of 3"),
        (["--partitions", "3", "--world-size", "2", "--batch-size", "3"], "cannot be divided evenly between 2 ranks"),
        (["--class-from", "name"], "--class-from"),
        (["--seed", "x"], "--seed"),
        (["--force"], "--force replaces the file of --plot"),
        (["--plot", "order.svg"], "--plot draws a PNG"),
        (["--compare", "--plot", "x.png"], "--plot is for one order"),
        (["--compare", "--partitions", "2"], "--partitions is for one order"),
        (["--balance", "class", "--window-blocks", "2"], "--window-blocks is for shuffled orders"),
        (["--weights", "x", "--class-from", "json"], "--class-from is for shuffled orders"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(run, packed, arguments, text):
    done = run("order", packed, *arguments)
    assert (done.code, done.out) == (2, "")
    assert text in done.err
    assert len(done.err.splitlines()) == 1


def test_an_empty_dataset_has_no_order(run, tmp_path):
    with shardpack.ShardWriter(tmp_path / "x"):
        pass
    done = run("order", tmp_path / "x")
    assert (done.code, done.out) == (2, "")
    assert "no samples" in done.err


def test_it_runs_with_warnings_as_errors(packed, tmp_path):
    done = program("order", packed, "--plot", tmp_path / "x.png")
    assert (done.returncode, done.stderr) == (0, "")
