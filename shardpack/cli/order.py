"""`shardpack order`."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import click

import shardpack
from shardpack.cli.ui import (
    access_options,
    both_units,
    dataset_argument,
    json_option,
    note,
    plural,
    print_json,
    print_pairs,
    progress_bar,
    quiet_option,
    size,
)
from shardpack.dataset import Dataset
from shardpack.errors import OutputExistsError
from shardpack.inspect.order_stats import CLASS_FROM, OrderStats, compare_defaults, order_path, order_stats
from shardpack.order.options import DEFAULT_BLOCK_BYTES, SHUFFLES, WINDOW_BLOCKS_PER_RANK
from shardpack.runtime.sizes import format_bytes
from shardpack.storage.url import is_url
from shardpack.stream.stream import Stream

_FROM = {"key": "first folder of the key", "json": "label of the json field"}


@click.command(
    "order", epilog="Example: shardpack order out/ --world-size 8 --batch-size 32 --partitions 64 --plot order.png"
)
@dataset_argument
@click.option("--shuffle", type=click.Choice(SHUFFLES), default="blocks", show_default=True, help="Kind of order.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of the order.")
@click.option("--epoch", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Which epoch.")
@click.option(
    "--world-size", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="How many processes."
)
@click.option(
    "--rank", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Which of them to look at."
)
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="Samples that a rank takes in a step.")
@click.option(
    "--partitions",
    type=click.IntRange(min=1),
    metavar="N",
    help="Parts of the order. [default: up to 64, as the batch allows]",
)
@click.option(
    "--block-bytes",
    type=size,
    default=f"{DEFAULT_BLOCK_BYTES >> 20}MiB",
    show_default=True,
    metavar="SIZE",
    help="About how long a block is: longer means fewer reads, shorter better mixing.",
)
@click.option(
    "--window-blocks",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Blocks mixed at a time, over all partitions. [default: {WINDOW_BLOCKS_PER_RANK} times the world size]",
)
@click.option(
    "--class-from",
    type=click.Choice(CLASS_FROM),
    default="key",
    show_default=True,
    help="What tells the class of a sample: the first folder of its key, or the label in its json field.",
)
@click.option(
    "--plot", type=click.Path(), metavar="FILE", help="Draw stored position against number in the epoch: a PNG."
)
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@click.option(
    "--compare", is_flag=True, help="Show the default partitions beside one a rank, for 1, 8 and 64 ranks, and no more."
)
@access_options
@json_option
@quiet_option
def command(
    dataset: str,
    shuffle: str,
    seed: int,
    epoch: int,
    world_size: int,
    rank: int,
    batch_size: int | None,
    partitions: int | None,
    block_bytes: int,
    window_blocks: int | None,
    class_from: str,
    plot: str | None,
    force: bool,
    compare: bool,
    as_json: bool,
    quiet: bool,
    **access: Any,
) -> None:
    """Show what an epoch of the dataset DS would be: how many samples and steps a rank gets, what it
    reads, and how well the order mixes, measured on a sample of batches against a true shuffle.

    No payload is read, unless --class-from json asks for labels. Where batches hold clearly fewer
    classes than a true shuffle would give them, a warning says what helps.

    With --json: location, num_samples, the options, rank_samples, steps, rank_bytes, blocks,
    block_bytes, window_blocks, requests, window_bytes, read_ahead_bytes, memory_bytes, neighbour_distance (1 is a
    true shuffle's), measured_batches, measured_batch_size, num_classes, class_entropy (of a batch,
    0 to 1), class_entropy_stored, class_entropy_shuffled, class_mixing (1 is a true shuffle's),
    poorly_mixed. With --compare a list of these.
    """
    ds = shardpack.open(dataset, **access)
    if plot is not None and os.path.exists(plot) and not force:
        raise OutputExistsError(f"{plot!r} is there already; choose another file, or replace it with --force")
    if compare:
        _compare(ds, shuffle=shuffle, seed=seed, batch_size=batch_size, block_bytes=block_bytes, class_from=class_from,
                 as_json=as_json, quiet=quiet)  # fmt: skip
        return
    stream = ds.stream(
        shuffle=shuffle,
        seed=seed,
        rank=rank,
        world_size=world_size,
        batch_size=batch_size,
        partitions=partitions,
        block_bytes=block_bytes,
        window_blocks=window_blocks,
    )
    stream.set_epoch(epoch)
    with progress_bar(quiet=quiet) as progress:
        found = order_stats(stream, class_from=class_from, progress=progress)
    if plot is not None:
        _draw(stream, found, plot)
    if as_json:
        print_json({"location": ds.location, **dataclasses.asdict(found), "poorly_mixed": found.poorly_mixed})
    else:
        print_pairs(_lines(ds, found, class_from))
    if found.poorly_mixed:
        note(_warning(found), quiet=quiet)


def _lines(ds: Dataset, found: OrderStats, class_from: str) -> list[tuple[str, str]]:
    seeded = "" if found.shuffle == "none" else f", seed {found.seed}, epoch {found.epoch}"
    lines = [
        ("location", ds.location),
        ("samples", f"{found.num_samples:,} in {plural(len(ds.shards), 'shard')}"),
        ("order", f"{found.shuffle}{seeded}, {plural(found.partitions, 'partition')}"),
        (
            f"rank {found.rank} of {found.world_size}",
            f"{plural(found.rank_samples, 'sample')}, {plural(found.steps, 'step')} of {found.batch_size:,}",
        ),
        ("reads", f"{format_bytes(found.rank_bytes)} in {plural(found.requests, 'range')}"),
    ]
    if found.blocks:
        what = {"blocks": "block", "shards": "shard"}.get(found.shuffle, "run")
        lines.append(("in order of", f"{plural(found.blocks, what)} of {format_bytes(found.block_bytes)}"))
    if found.window_bytes:
        where = "in memory" if is_url(ds.location) else "in the page cache"
        lines += [
            ("window", f"{plural(found.window_blocks, 'block')} over all ranks, here {both_units(found.window_bytes)}"),
            ("reads ahead", f"up to {both_units(found.read_ahead_bytes)}, {where}"),
        ]
    lines += [
        ("memory", both_units(found.memory_bytes)),
        ("neighbours", f"lie {found.neighbour_distance:.2f} times as far apart as in a true shuffle"),
        ("classes", f"{found.num_classes:,} ({_FROM[class_from]})" if found.num_classes else "none known"),
    ]
    if found.class_mixing is not None:
        count = plural(found.measured_batches, "batch").replace("batchs", "batches")
        entropy = f"{found.class_entropy:.3f} in the mean of {count} of {found.measured_batch_size:,}"
        others = f"{found.class_entropy_stored:.3f} as stored, {found.class_entropy_shuffled:.3f} truly shuffled"
        lines += [
            ("class mixing", f"{found.class_mixing:.3f} of a true shuffle's"),
            ("class entropy", f"{entropy}; {others}"),
        ]
    return lines


def _warning(found: OrderStats) -> str:
    remedies = ['pack with "--shuffle-seed SEED"']
    if found.shuffle == "blocks":
        remedies.append(f"mix more blocks at a time (--window-blocks {4 * found.window_blocks}; window_blocks=...)")
        remedies.append('use shuffle="global", at the price of a read for each sample')
    else:
        remedies.append('stream with shuffle="blocks" or "global"')
    return (
        f"warning: batches hold fewer classes than they should: their class entropy is {found.class_mixing:.2f} "
        f"of a true shuffle's, as samples are stored by class; {', or '.join(remedies)}"
    )


def _compare(ds: Dataset, *, class_from: str, as_json: bool, quiet: bool, **options: Any) -> None:
    with progress_bar(quiet=quiet) as progress:
        found = compare_defaults(lambda **more: ds.stream(**options, **more), class_from=class_from, progress=progress)
    if as_json:
        print_json([dataclasses.asdict(one) for one in found])
        return
    click.echo("ranks  partitions  blocks mixed by a rank  memory of a rank  class mixing")
    for one in found:
        mixing = "" if one.class_mixing is None else f"{one.class_mixing:.3f}"
        mixed = -(-one.window_bytes // one.block_bytes) if one.block_bytes else 0
        click.echo(
            f"{one.world_size:5}  {one.partitions:10}  {mixed:22}  {format_bytes(one.memory_bytes):>16}  {mixing:>12}"
        )


def _draw(stream: Stream, found: OrderStats, path: str) -> None:
    from shardpack.inspect.plot import scatter_png

    x, y = order_path(stream)
    image = scatter_png(
        x,
        y,
        ends=(found.rank_samples, found.num_samples),
        labels=(f"number in the epoch of rank {found.rank} of {found.world_size}", "stored position"),
        title=f"shuffle={found.shuffle}, seed {found.seed}, epoch {found.epoch}",
    )
    with open(path, "wb") as file:
        file.write(image)
