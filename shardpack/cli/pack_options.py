"""The options of `shardpack pack`, which `append` has, too, but for some."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import click

from shardpack.cli.command import Command
from shardpack.cli.ui import jobs_option, size
from shardpack.runtime.sizes import DEFAULT_MAX_SHARD_BYTES
from shardpack.sources.formats.importer import FORMATS
from shardpack.sources.layouts.detect import AUTO, LAYOUT_CHOICES

CHECKS = ("signature", "decode")


TABLES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet")


class PackCommand(Command):
    """A command whose `--check-images` may have a value or none; of pack, `--table` alone means `--with-table`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # To click, `--check-images SRC` would be a check called SRC, and `--table SRC` a table.
        for i, argument in enumerate(args):
            if argument == "--":
                break
            if argument == "--check-images" and args[i + 1 : i + 2] not in ([check] for check in CHECKS):
                args[i] = "--check-images=signature"
            has_file = args[i + 1 : i + 2] and args[i + 1].lower().endswith(TABLES)
            if argument == "--table" and ctx.info_name == "pack" and not has_file:
                args[i] = "--with-table"
        return super().parse_args(ctx, args)


def _as_mapping(
    values: Sequence[str], expected: str = "WHAT=CODEC, each WHAT once, such as shards=zstd:3"
) -> dict[str, str] | None:
    """Return what "shards=zstd:3" and the like say; None if nothing is said."""
    found = {}
    for value in values:
        what, equals, rest = value.partition("=")
        if not (what and equals and rest) or what in found:
            raise click.BadParameter(f"{value!r} is not {expected}")
        found[what] = rest
    return found or None


def _as_codecs(values: Sequence[str]) -> str | dict[str, str] | None:
    """Return what "jpg:q=90" and "seg.png=npy" say; None if nothing is said."""
    found: dict[str, str] = {}
    for value in values:
        field, equals, codec = value.partition("=")
        if not equals or ":" in field:
            field, codec = "*", value
        if not (field and codec) or field in found:
            raise click.BadParameter(f"{value!r} is not [FIELD=]CODEC, each FIELD once, such as jpg:q=90, seg.png=npy")
        found[field] = codec
    return found or None


from_option = click.option(
    "--from",
    "source_format",
    type=click.Choice(list(FORMATS)),
    metavar="NAME",
    help="The foreign format of SRC, where names and first bytes do not tell it, or SRC is a URL: "
    f"{', '.join(FORMATS)}.",
)


_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "max_shard_bytes": click.option(
        "--max-shard-bytes",
        type=size,
        metavar="SIZE",
        default=DEFAULT_MAX_SHARD_BYTES,
        show_default=True,
        help="Largest size of a finished tar, headers and padding included: 4096, 1GB, 256MiB.",
    ),
    "max_shard_samples": click.option(
        "--max-shard-samples",
        type=click.IntRange(min=1),
        metavar="N",
        help="Largest number of samples in a shard; the limit that is reached first ends the shard.",
    ),
    "allow_oversized": click.option(
        "--allow-oversized", is_flag=True, help="Give a sample that exceeds the largest size its own shard."
    ),
    "jobs": jobs_option,
    "threads_per_job": click.option(
        "--threads-per-job",
        type=click.IntRange(min=1),
        metavar="N",
        help="Threads in which BLAS, OpenMP and OpenCV compute in each worker process.  [default: 1]",
    ),
    "engine": click.option(
        "--engine",
        type=click.Choice(["ray"]),
        help="Pack on the Ray cluster that RAY_ADDRESS names, or else on one that runs on this machine.",
    ),
    "part": click.option(
        "--part",
        metavar="I/N",
        help="Make the Ith of N parts, so that N machines pack one dataset; the part that finishes last publishes it.",
    ),
    "shuffle_seed": click.option(
        "--shuffle-seed", type=int, metavar="SEED", help="Pack in an order drawn from this seed."
    ),
    "check_images": click.option(
        "--check-images",
        is_flag=False,
        flag_value="signature",
        type=click.Choice(CHECKS),
        help="Examine every image first: its first bytes, or with --check-images=decode all of it.",
    ),
    "check_labels": click.option(
        "--check",
        "check_labels",
        is_flag=True,
        help="Compare each label with its image first: its size, and boxes, polygons and key points outside of it.",
    ),
    "on_error": click.option(
        "--on-error",
        type=click.Choice(["raise", "skip"]),
        default="raise",
        show_default=True,
        help="What to do with samples that have problems; skipped ones are listed in rejected.jsonl.",
    ),
    "layout": click.option(
        "--layout",
        type=click.Choice(LAYOUT_CHOICES),
        default=AUTO,
        show_default=True,
        metavar="NAME",
        help=f"How to read SRC: {', '.join(LAYOUT_CHOICES)}.",
    ),
    "source_format": from_option,
    "unpickle": click.option(
        "--unpickle",
        type=click.Choice(["plain", "numpy"]),
        help="Read pickled values of a foreign format that hold these.",
    ),
    "raw": click.option(
        "--raw", type=click.Choice(["png", "npy"]), help="How raw pixels of a foreign format are stored."
    ),
    "annotations": click.option("--annotations", type=click.Path(), metavar="FILE", help="COCO annotation file."),
    "table": click.option(
        "--table", type=click.Path(), metavar="FILE", help="CSV, TSV, JSON Lines or Parquet table of the images."
    ),
    "key_column": click.option(
        "--key-column",
        metavar="COL",
        help="Column of the table that names the images, by its name or number; of a foreign format, the column that "
        "holds keys, or :row for row numbers.",
    ),
    "label_column": click.option("--label-column", metavar="COL", help="Column that becomes label and class."),
    "ignore": click.option(
        "--ignore",
        multiple=True,
        metavar="GLOB",
        help="Leave out the files that match '*.csv', or those in a folder 'extra/'; may be given many times.",
    ),
    "split": click.option(
        "--split", metavar="NAME", help="Pack only this split of SRC; its shards are called shard-000000.tar."
    ),
    "rename_keys": click.option(
        "--rename-keys", is_flag=True, help="Escape unsafe keys reversibly (%2E for a dot) instead of refusing them."
    ),
    "compress": click.option(
        "--compress",
        multiple=True,
        callback=lambda _context, _option, values: _as_mapping(values),
        metavar="WHAT=CODEC",
        help="Compress: shards=zstd:3 makes .tar.zst files of which single samples can be read, json=zstd:9 stores "
        "each field json as json.zst.",
    ),
    "frame_bytes": click.option(
        "--frame-bytes",
        type=size,
        metavar="SIZE",
        help="How much of a compressed shard is compressed together, at least; a sample is read with its frame.  "
        "[16KiB]",
    ),
    "fields": click.option(
        "--fields",
        callback=lambda _context, _option, value: value and [name.strip() for name in value.split(",")],
        metavar="NAMES",
        help="Pack only these fields: jpg,json.",
    ),
    "rename_field": click.option(
        "--rename-field",
        multiple=True,
        callback=lambda _context, _option, values: _as_mapping(values, "OLD=NEW, each OLD once, such as png=seg.png"),
        metavar="OLD=NEW",
        help="Pack a field under another name.",
    ),
    "sample_timeout": click.option(
        "--sample-timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="End the work on a sample that takes longer; it then follows --on-error.",
    ),
    "resize": click.option(
        "--resize",
        metavar="SIZE",
        help="Resize images: short=256, long=512, fit=640x480, cover=224x224, exact=224x224; with :up behind, smaller "
        "ones as well.",
    ),
    "encode": click.option(
        "--encode",
        multiple=True,
        callback=lambda _context, _option, values: _as_codecs(values),
        metavar="[FIELD=]CODEC",
        help="Store images as jpg:q=90, webp:q=85, webp:lossless, avif:q=75, png, npy, npy:rgb or jxl.",
    ),
    "image": click.option(
        "--image", multiple=True, metavar="FIELD", help="Of several images, one to resize and encode."
    ),
    "nearest": click.option(
        "--nearest",
        multiple=True,
        metavar="FIELD",
        help="A mask: resize it by nearest neighbour, store it without loss.",
    ),
    "keep": click.option("--keep", multiple=True, metavar="FIELD", help="An image or label to leave as it is."),
    "labels": click.option(
        "--labels",
        type=click.Choice(["follow", "keep"]),
        default="follow",
        show_default=True,
        help="What becomes of labels with coordinates in images that are resized or turned.",
    ),
    "first_frame": click.option(
        "--first-frame", is_flag=True, help="Take the first frame of animations, instead of leaving them."
    ),
    "dry_run": click.option("--dry-run", is_flag=True, help="Show the plan; write nothing."),
    "force": click.option("--force", is_flag=True, help="Delete the dataset that is already in OUT, then pack."),
}


def pack_options(*, without: Collection[str] = ()) -> Callable[[Any], Any]:
    """Return a decorator that adds the options to a command, but for some, by the names of their parameters."""

    def add(function: Any) -> Any:
        for name, option in reversed(_OPTIONS.items()):
            if name not in without:
                function = option(function)
        return function

    return add
