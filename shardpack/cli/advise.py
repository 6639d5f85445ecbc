"""`shardpack advise`."""

from __future__ import annotations

import dataclasses
import shlex
import tempfile
from typing import Any

import click

from shardpack.api import dataset_to_pack
from shardpack.cli.command import Command
from shardpack.cli.pack_options import from_option
from shardpack.cli.plot_file import check_plot, save_plot
from shardpack.cli.ui import (
    access_options,
    emit,
    jobs_option,
    json_option,
    note,
    plural,
    print_json,
    progress_bar,
    quiet_option,
)
from shardpack.errors import OptionError
from shardpack.inspect.advise import SAMPLES, SECONDS, Advice, advise
from shardpack.inspect.disk_rate import disk_rate
from shardpack.inspect.epoch_time import Epoch, Hardware
from shardpack.inspect.recommendation import PLACES, Measured, format_seconds
from shardpack.runtime.rates import format_rate, parse_rate
from shardpack.runtime.sizes import format_bytes
from shardpack.sources.dataset import DatasetSource
from shardpack.sources.folder import FolderSource
from shardpack.sources.formats.importer import open_format
from shardpack.sources.listing import Listing
from shardpack.sources.row_source import RowSource
from shardpack.sources.source import SHOWN, ListOptions
from shardpack.storage.url import is_url
from shardpack.write.pack_rows import find_rows
from shardpack.write.request import PackRequest

ASSUMED_NETWORK = "1Gbit"
ASSUMED_DISK = "1GB/s"  # where it cannot be measured


def _rate(text: str) -> float:
    try:
        return parse_rate(text)
    except OptionError as error:
        raise click.BadParameter(str(error)) from error


@click.command(
    "advise", cls=Command, epilog="Example: shardpack advise photos/ --network 10Gbit --gpu-images-per-second 2500"
)
@click.argument("source", metavar="SRC", type=click.Path())
@click.option(
    "--train-size",
    type=click.IntRange(min=8, max=4096),
    default=224,
    show_default=True,
    metavar="N",
    help="Height and width of the pixels that training takes.",
)
@click.option(
    "--place",
    type=click.Choice(PLACES),
    help="Where the dataset will be: what the advice is for. [default: bucket for a URL or with --network, else disk]",
)
@click.option(
    "--network", type=_rate, metavar="RATE", help=f"Of a bucket, such as 10Gbit. [default: {ASSUMED_NETWORK}]"
)
@click.option("--disk", type=_rate, metavar="RATE", help="Such as 2GB/s. [default: measured in --scratch]")
@click.option(
    "--scratch",
    type=click.Path(file_okay=False, exists=True),
    metavar="DIR",
    help="Where the disk is measured with a file of 256 MiB. [default: the temporary folder]",
)
@click.option(
    "--gpu-images-per-second",
    "gpu_images",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="How many images the model takes. [default: it is never waited for]",
)
@from_option
@click.option("--lossless", is_flag=True, help="Recommend only what keeps every pixel, at full size.")
@click.option(
    "--centre-crop",
    is_flag=True,
    help="Training takes the centre of each image, without random crops: recommend storing only that, if it pays.",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=SAMPLES,
    show_default=True,
    metavar="N",
    help="How many images are tried at most, drawn evenly.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=SECONDS,
    show_default=True,
    metavar="S",
    help="When no further image is begun.",
)
@jobs_option
@click.option("--plot", type=click.Path(), metavar="FILE", help="Draw bytes against time to decode, as a PNG.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@access_options
@json_option
@quiet_option
def command(
    source: str,
    train_size: int,
    place: str | None,
    network: float | None,
    disk: float | None,
    scratch: str | None,
    gpu_images: float | None,
    source_format: str | None,
    lossless: bool,
    centre_crop: bool,
    samples: int,
    seconds: float,
    jobs: int | None,
    plot: str | None,
    force: bool,
    as_json: bool,
    quiet: bool,
    **access: Any,
) -> None:
    """Try images of SRC, a folder, a dataset or what else pack reads, in many encodings; recommend the one that pays.

    For images as they are, and as JPEG, WebP, AVIF, PNG, arrays and JPEG XL, each at full size and at the size
    for training, this measures the bytes, the time to encode and to decode to pixels for training, and the loss.
    From that it computes how long an epoch over all images takes from disk, from a bucket and from memory, and
    what it waits for. It writes nothing but a temporary file, with which the disk is measured.

    Images that do not decode are named and left out.

    With --json: location, place, train_size, num_images, num_tried, damaged, jobs, hardware (disk, network, gpu_images)
    and where each rate comes from, encodings (per image: name, num_bytes, encode_seconds, decode_seconds, the
    same of all processes, psnr in dB or null if exact, and epochs), skipped, recommended, reason, command,
    pack_seconds, upload_seconds, max_shard_bytes, overhead, compressed, frame_bytes.
    """
    check_plot(plot, force=force)
    if place is None:
        place = "bucket" if is_url(source) or network is not None else "disk"
    opened = _opened(source, source_format, access, quiet=quiet)
    hardware, origins = _hardware(disk, network, gpu_images, scratch)
    with progress_bar(quiet=quiet) as progress:
        advice = advise(
            opened,
            hardware,
            place=place,
            train_size=train_size,
            lossless=lossless,
            centre_crop=centre_crop,
            samples=samples,
            seconds=seconds,
            jobs=jobs,
            progress=progress,
        )
    said = ["--from", source_format] if source_format is not None else []
    typed = shlex.join(["shardpack", "pack", source, "OUT", *said, *advice.pack_options()])
    if plot is not None:
        save_plot(plot, _drawn(advice))
    if as_json:
        print_json(_as_json(source, advice, origins, typed))
        return
    _print_table(advice)
    for name, reason in advice.damaged.items():
        note(f"left out: {name}: {reason}", quiet=quiet)
    for name, reason in advice.skipped.items():
        note(f"not tried: {name}: {reason}", quiet=quiet)
    note(f"disk {origins['disk']}; network {origins['network']}; GPU {origins['gpu_images']}", quiet=quiet)
    for line in _conclusion(advice, typed):
        emit(line)


def _opened(source: str, source_format: str | None, access: dict[str, Any], *, quiet: bool) -> Listing | RowSource:
    """Return all samples of a folder, archive or dataset, or the rows of a foreign format."""
    dataset = None if source_format is not None else dataset_to_pack(source, ".", **access)
    if dataset is None:
        request = PackRequest(source_format=source_format)
        rows = find_rows(source, request, access["storage_options"] if is_url(source) else None)
        if rows is not None:
            found, name = rows
            return open_format(name, dataclasses.replace(found, ask=False), request.format_options)
    listed = (FolderSource(source, ask=False) if dataset is None else DatasetSource(dataset)).list(
        ListOptions(on_error="skip")
    )
    for name, reason in listed.problems.rejected[:SHOWN]:
        note(f"left out: {name}: {reason}", quiet=quiet)
    if more := len(listed.problems.rejected[SHOWN:]):
        note(f"left out: {more:,} more samples", quiet=quiet)
    return listed.listing


def _hardware(
    disk: float | None, network: float | None, gpu_images: float | None, scratch: str | None
) -> tuple[Hardware, dict[str, str]]:
    """Return the rates, and by name what each is and where it comes from."""
    origin = "given"
    if disk is None:
        folder = scratch or tempfile.gettempdir()
        disk, origin = disk_rate(folder), f"measured in {folder}"
        if disk is None:
            disk, origin = parse_rate(ASSUMED_DISK), "not measured, assumed"
    bits = network or parse_rate(ASSUMED_NETWORK)
    origins = {
        "disk": f"{format_rate(disk)} ({origin})",
        "network": f"{format_rate(bits)} ({'not measured, assumed' if network is None else 'given'})",
        "gpu_images": "never waited for (not given)" if gpu_images is None else f"{gpu_images:g} images/s (given)",
    }
    return Hardware(disk, bits, gpu_images), origins


def _print_table(advice: Advice) -> None:
    emit(
        f"{plural(advice.num_tried, 'image')} of {advice.num_images:,} tried, decoded to {advice.train_size} x "
        f"{advice.train_size}; processor time per image, of one core and of all ({advice.jobs}); loss of stored pixels"
    )
    emit(
        f"{'encoding':<29} {'bytes':>10}  {'encode ms':>9} {'all':>6}  {'decode ms':>9} {'all':>6}  {'loss':>7}  "
        f"{'epoch, disk':>16}  {'bucket':>18}  {'memory':>14}"
    )
    for one in advice.measured:
        loss = "exact" if one.psnr is None else f"{one.psnr:.1f} dB"
        epochs = [_epoch(one.epochs[place]) for place in PLACES]
        emit(
            f"{one.name:<29} {one.num_bytes:>10,.0f}  {_ms(one.encode_seconds):>9} {_ms(one.encode_seconds_all):>6}  "
            f"{_ms(one.decode_seconds):>9} {_ms(one.decode_seconds_all):>6}  {loss:>7}  "
            f"{epochs[0]:>16}  {epochs[1]:>18}  {epochs[2]:>14}"
        )


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.2f}" if seconds < 0.1 else f"{1e3 * seconds:.0f}"


def _epoch(epoch: Epoch) -> str:
    return f"{format_seconds(epoch.seconds)} {epoch.bottleneck}"


def _conclusion(advice: Advice, typed: str) -> list[str]:
    best, kept = advice.recommended, ""
    if best.kept and best.encoding.encode is not None:
        kept = f" ({best.kept} of {advice.num_tried} images stay as they are)"
    packing, uploading = format_seconds(advice.pack_seconds), format_seconds(advice.upload_seconds)
    shards = format_bytes(advice.max_shard_bytes)
    overhead = f"headers and padding are {advice.overhead:.1%} of plain tars"
    if advice.compressed:
        small, large = (f"{ratio:.1%} with frames of {size >> 10} KiB" for size, ratio in advice.compressed.items())
        verdict = "does not pay" if advice.frame_bytes is None else "pays"
        overhead += f"; compressing shards as they are leaves {small}, {large}: it {verdict}"
    return [
        f"recommended: {best.name}{kept}: {advice.reason}",
        f"    {typed}",
        f"packing takes {packing} ({advice.jobs} at work), uploading {uploading}; shards of {shards}",
        overhead,
    ]


def _as_json(source: str, advice: Advice, origins: dict[str, str], typed: str) -> dict[str, Any]:
    whole = dataclasses.asdict(advice)
    del whole["measured"]
    encodings = [_measured_json(one) for one in advice.measured]
    return {
        "location": source,
        **whole,
        "origins": origins,
        "encodings": encodings,
        "recommended": advice.recommended.name,
        "command": typed,
    }


def _measured_json(one: Measured) -> dict[str, Any]:
    return {"name": one.name, **dataclasses.asdict(one)}


def _drawn(advice: Advice) -> bytes:
    import numpy as np

    from shardpack.inspect.plot import scatter_png

    sizes = np.array([one.num_bytes for one in advice.measured]).astype(np.int64)
    micros = np.array([1e6 * one.decode_seconds for one in advice.measured]).astype(np.int64)
    return scatter_png(
        sizes,
        micros,
        ends=(int(sizes.max() * 1.2) + 1, int(micros.max() * 1.1) + 1),
        labels=("stored bytes per image", "microseconds to decode, one core"),
        title=f"{advice.num_tried} of {advice.num_images:,} images, decoded to {advice.train_size} pixels squared",
        names=[one.name for one in advice.measured],
    )
