"""`shardpack pack`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import click

import shardpack
from shardpack.cli.pack_options import PackCommand, pack_options
from shardpack.cli.ui import (
    access_options,
    confirm_deleting,
    counted,
    json_option,
    note,
    plural,
    print_json,
    progress_bar,
    quiet_option,
    work_dir_option,
)
from shardpack.runtime.sizes import format_bytes

HARDLY_SMALLER = 0.95  # of the plain tars: compression that is not worth its time


@click.command(
    "pack",
    cls=PackCommand,
    epilog="Example: shardpack pack photos/ out/ --max-shard-bytes 256MiB --shuffle-seed 0 --jobs 8",
)
@click.argument("source", metavar="SRC", type=click.Path())
@click.argument("out", metavar="OUT", type=click.Path())
@pack_options()
@click.option(
    "--with-table",
    is_flag=True,
    help="Make the label table, too, which --where and --by read; --table without FILE is the same.",
)
@click.option(
    "--yes", "-y", is_flag=True, help="Do not ask before --force deletes a dataset; only a terminal is asked."
)
@access_options
@work_dir_option
@json_option
@quiet_option
def command(source: str, out: str, as_json: bool, quiet: bool, yes: bool, **options: Any) -> None:
    """Pack the images in the folder SRC, with the labels beside them, into a dataset in OUT.

    SRC may also be a dataset, or its URL: its samples are packed again, byte for byte and in the same
    order. Otherwise SRC is read as class folders (<class>/<name>.jpg becomes a JSON label), as images with
    sidecar files of the same stem (.json, .txt, .cls, .seg.png, ...), as images with a metadata.csv,
    .jsonl or .parquet table, or as COCO instances, whichever fits. What was found is said before the work
    begins; files that may hold labels and that are not understood are a question.

    A zip archive or a tar, its URL, or a folder of them, is read in place as the folder in it would be. A
    .tar.gz or .tar.zst is unpacked to the work folder while it is packed.

    SRC may be of a foreign format, too: TFRecord, Parquet, HDF5, LMDB, RecordIO, MDS, npz, ...: its rows
    become samples, in chunks, as with what changes payloads. --from says which, if its names do not.

    OUT is a folder, or the URL of a folder in a bucket: s3://, gs://, az://. For a bucket, shards are
    written to the work folder, and uploaded and deleted while the next ones are written; that needs
    space for --jobs + 1 shards. Run one packer at a time per target, as a bucket has no locks.

    The same input gives the same bytes for any --jobs. The same command continues a run that was
    killed. With --part 1/4, 2/4, ... four machines that see the same SRC and OUT pack one dataset.

    Splits of SRC, such as the folders train/ and val/, are kept: no shard holds samples of two, and
    the shards of each are called train-000000.tar, ..., val-000000.tar, ....

    With --compress shards=zstd:3 the shards are called shard-000000.tar.zst. "zstd -d" and "tar --zstd"
    read them; --max-shard-bytes then holds for the tars before they are compressed.

    With --resize and --encode, images are stored as training needs them; masks and boxes follow. Those
    that would only become larger keep their bytes.

    With these, with --compress json=zstd:9, and with whatever else changes payloads, SRC is cut into chunks,
    and the shards are called shard-000012-00.tar: chunk 12, its first shard.

    With --json: the attributes of shardpack.PackReport, overhead_bytes, ratio and samples_per_second.
    """
    if options["force"] and not (yes or options["dry_run"]):
        confirm_deleting(out, options["storage_options"])
    with progress_bar(quiet=quiet) as progress:
        announce = partial(note, quiet=quiet or as_json)
        report = shardpack.pack(source, out, progress=progress, announce=announce, **options)
    if as_json:
        computed = ("overhead_bytes", "ratio", "samples_per_second")
        print_json({**dataclasses.asdict(report), **{name: getattr(report, name) for name in computed}})
    elif not quiet:
        _show(report)
        if no_images_line := _no_images(report, options):
            note(no_images_line)
        _show_preview(report)


def _no_images(report: shardpack.PackReport, options: Mapping[str, Any]) -> str:
    """Return that options for images found none, as in rows of arrays; empty if they did, or if that is not known."""
    asked = [f"--{name}" for name in ("resize", "encode") if options[name]]
    is_known = report.tar_bytes and report.num_samples and not (report.dry_run or report.missing_shards)
    if not asked or not is_known or any(name.startswith(("image.", "mask.")) for name in report.counts):
        return ""
    return f"  no sample has an image, so {' and '.join(asked)} changed none; arrays in npy stay as they are"


def _show_bytes(report: shardpack.PackReport) -> None:
    """Say what became of the bytes of the source."""
    if report.num_bytes:
        note(
            f"  payload {format_bytes(report.payload_bytes)}, overhead {format_bytes(report.overhead_bytes)} "
            f"({100 * report.overhead_bytes / report.tar_bytes:.1f} %), "
            f"largest shard {format_bytes(report.largest_shard_bytes)}; layout: {report.layout}"
            + (f", {len(report.classes):,} class{'es' * (len(report.classes) > 1)}" if report.classes else "")
        )
    if report.payload_bytes != report.source_bytes or report.kept != report.num_samples:
        failed = report.source_samples - report.kept - report.dropped
        percent = 100 * report.payload_bytes / max(report.source_bytes, 1)
        note(
            f"  of {plural(report.source_samples, 'sample')} {report.kept:,} kept, {report.dropped:,} dropped"
            + (f", {failed:,} failed" if failed else "")
            + f"; payload {format_bytes(report.source_bytes)} -> {format_bytes(report.payload_bytes)} ({percent:.1f} %)"
        )
    if report.ratio != 1.0:
        useless = "; this hardly pays: leave out --compress, or raise --frame-bytes" * (report.ratio > HARDLY_SMALLER)
        note(f"  compressed to {100 * report.ratio:.1f} % of {format_bytes(report.tar_bytes)}{useless}")
    if images := _images(report):
        note(f"  images: {images}")
    if encoded := {name[len(_ENCODED) :]: n for name, n in report.counts.items() if name.startswith(_ENCODED)}:
        note(f"  values encoded: {counted(encoded)}")


def _show(report: shardpack.PackReport) -> None:
    if report.missing_shards:
        note(
            f"this part is finished; of {plural(report.num_shards, 'shard')}, {report.missing_shards:,} are still "
            "missing: the part that finishes last publishes the dataset"
        )
        return
    if report.num_bytes and not report.tar_bytes:  # nothing is known of what happened to the samples
        note(f"the dataset is complete already: {plural(report.num_samples, 'sample')}")
        return
    took = "" if report.dry_run else f" in {report.seconds:.1f} s"
    if took and not report.resumed_shards:
        rate = report.num_bytes / max(report.seconds, 1e-9)
        took += f" ({report.samples_per_second:,.0f} samples/s, {format_bytes(rate)}/s)"
    note(
        f"{'would pack' if report.dry_run else 'packed'} {plural(report.num_samples, 'sample')} "
        f"({counted(report.samples_per_field)}) into {plural(report.num_shards, 'shard')}, "
        f"{format_bytes(report.num_bytes)}{took}"
    )
    if report.splits:
        note(f"  splits: {counted(report.splits)}")
    _show_bytes(report)
    if report.resumed_shards:
        note(f"  already finished by an earlier run: {plural(report.resumed_shards, 'shard')}")
    if report.rejected:
        name, reason = report.rejected[0]
        note(f"  skipped {plural(len(report.rejected), 'sample')} (rejected.jsonl), the first: {name!r}: {reason}")
    _show_advice(report)


def _show_advice(report: shardpack.PackReport) -> None:
    if report.by_class:
        note(
            "  samples are sorted by class, so readers that shuffle locally see few classes at a time; "
            "consider --shuffle-seed 0"
        )


def _show_preview(report: shardpack.PackReport) -> None:
    """Show samples as they would be: their keys, fields and labels."""
    for sample in report.preview:
        note(f"  {sample.key}" + (f" (split {sample.split})" if sample.split else ""))
        width = max(map(len, sample.fields), default=0)
        for name, num_bytes in sample.fields.items():
            text = sample.labels.get(name, "").strip()
            note(f"    {name:<{width}}  {format_bytes(num_bytes)}" + (f"  {text}" if text else ""))


_ENCODED = "encoded."
_IMAGES = {  # what was counted -> how it is said
    "image.encoded": "encoded",
    "image.restored": "JPEGs restored",
    "image.kept": "kept, as they would have become larger",
    "image.unchanged": "small enough already",
    "image.animated": "animations left alone",
    "mask.moved": "masks resized",
    "label.moved": "labels moved",
}


def _images(report: shardpack.PackReport) -> str:
    """Return what became of images, in a line; empty if nothing was asked for."""
    counts = report.counts
    said = [f"{counts[name]:,} {words}" for name, words in _IMAGES.items() if counts.get(name)]
    before, after = counts.get("image.bytes_before", 0), counts.get("image.bytes_after", 0)
    if before:
        said.append(f"{format_bytes(before)} -> {format_bytes(after)}")
    if counts.get("image.grown"):
        said.append(f"{counts['image.grown']:,} are larger than before")
    if before and not report.resumed_shards:
        images = sum(counts.get(name, 0) for name in _IMAGES if name.startswith("image."))
        said.append(f"{images / max(report.seconds, 1e-9):,.0f} images/s")
    return ", ".join(said)
