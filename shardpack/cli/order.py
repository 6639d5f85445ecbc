"""`shardpack order`."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from typing import Any

import click
from click.core import ParameterSource

import shardpack
from shardpack.cli.command import Command
from shardpack.cli.plot_file import check_plot, save_plot
from shardpack.cli.ui import (
    access_options,
    both_units,
    dataset_argument,
    emit,
    generation_option,
    is_remote,
    json_option,
    note,
    plural,
    print_json,
    print_pairs,
    progress_bar,
    quiet_option,
    refuse_given,
    size,
)
from shardpack.dataset import Dataset
from shardpack.inspect.class_mixing import CLASS_FROM
from shardpack.inspect.drawn_stats import DrawnStats, drawn_path, drawn_stats
from shardpack.inspect.order_compare import BUFFER_SAMPLES, ComparedOrder, compare_defaults, compare_orders
from shardpack.inspect.order_stats import OrderStats, order_path, order_stats
from shardpack.order.options import DEFAULT_BLOCK_BYTES, SHUFFLES, WINDOW_BLOCKS_PER_RANK
from shardpack.runtime.arrays import Integers
from shardpack.runtime.sizes import format_bytes
from shardpack.stream.options import Weights
from shardpack.stream.stream import Stream

SHOWN_CLASSES = 40
_NOT_COMPARED = frozenset(("plot", "force", "partitions", "epoch", "num_samples"))
_OF_SHUFFLES = frozenset(("window_blocks", "block_bytes", "class_from"))
_FROM = {"key": "first folder of the key", "json": "label of the json field"}


@click.command(
    "order",
    cls=Command,
    epilog="Example: shardpack order out/ --world-size 8 --batch-size 32 --partitions 64 --plot order.png",
)
@dataset_argument
@click.option("--shuffle", type=click.Choice(SHUFFLES), default="blocks", show_default=True, help="Kind of order.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of the order.")
@click.option("--epoch", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Which epoch.")
@click.option(
    "--world-size", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="How many processes."
)
@click.option(
    "--rank", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="The process to look at."
)
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="Samples per rank and step.")
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
    help="Approximate length of a block: longer blocks mean fewer reads, shorter ones mix better.",
)
@click.option(
    "--window-blocks",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Blocks shuffled together, over all partitions. [default: {WINDOW_BLOCKS_PER_RANK} times the world size]",
)
@click.option(
    "--balance",
    metavar="COLUMN",
    help="Look at an epoch in which all values of a column of the label table come equally often.",
)
@click.option(
    "--weights",
    metavar="COLUMN|JSON",
    help="Look at an epoch in which each sample comes as often as its number in a column says, or each class as "
    'often as \'{"cat": 3, "dog": 1}\' says.',
)
@click.option(
    "--num-samples",
    type=click.IntRange(min=1),
    metavar="N",
    help="Length of a balanced or weighted epoch, over all ranks.",
)
@click.option(
    "--class-from",
    type=click.Choice(CLASS_FROM),
    default="key",
    show_default=True,
    help="What the class of a sample is taken from: the first folder of its key, or the label in its json field.",
)
@click.option(
    "--plot", type=click.Path(), metavar="FILE", help="Draw stored position against number in the epoch, as a PNG."
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option(
    "--compare",
    is_flag=True,
    help="Compare all orders and a shuffle buffer, and the default partitions with one per rank, for 1, 8, 64 ranks.",
)
@access_options
@generation_option
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
    balance: str | None,
    weights: str | None,
    num_samples: int | None,
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

    Reads no payloads, except for the labels with --class-from json. If batches have clearly fewer
    classes than in a true shuffle, a warning says what helps.

    With --json: location, num_samples, the options, rank_samples, steps, rank_bytes, blocks,
    block_bytes, window_blocks, requests, first_sample_bytes, window_bytes, read_ahead_bytes, memory_bytes,
    neighbour_distance (1: as in a true shuffle), measured_batches, measured_batch_size, num_classes,
    class_entropy (mean of the batches, 0 to 1), class_entropy_stored, class_entropy_shuffled,
    class_mixing (1: as in a true shuffle), poorly_mixed. With --compare: location, orders (for each order:
    requests, first_sample_bytes, memory_bytes, neighbour_distance, class_mixing), and ranks (a list
    of all the above).

    With --balance or --weights it shows instead how many samples of each class a batch of this rank holds, and how
    often one sample comes in the epoch. With --json: location, num_samples, epoch_samples, the options, rank_samples,
    steps, rank_bytes, requests, never_drawn, least_repeats, most_repeats, measured_batches, measured_batch_size, and
    classes (a list of name, samples, drawn, batch_mean, batch_least, batch_most, least_repeats, most_repeats).
    """
    is_drawn = balance is not None or weights is not None
    if compare:
        refuse_given(_NOT_COMPARED, "is for one order; leave it out with --compare")
    check_plot(plot, force=force)
    if is_drawn:
        refuse_given(_OF_SHUFFLES, "is for shuffled orders; leave it out with --balance and --weights")
        shuffle = _shuffle_of_drawn(shuffle, compare=compare)
    ds = shardpack.open(dataset, **access)
    if compare:
        stream_of = partial(ds.stream, seed=seed, batch_size=batch_size, block_bytes=block_bytes)
        for_rank = partial(stream_of, rank=rank, world_size=world_size, window_blocks=window_blocks)
        with progress_bar(quiet=quiet) as progress:
            orders = compare_orders(for_rank, class_from=class_from, progress=progress)
            ranks = compare_defaults(partial(stream_of, shuffle=shuffle), class_from=class_from, progress=progress)
        if as_json:
            both = {"orders": list(map(dataclasses.asdict, orders)), "ranks": list(map(dataclasses.asdict, ranks))}
            print_json({"location": ds.location, **both})
        else:
            _print_compared(orders, ranks)
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
        balance=balance,
        weights=_weights(weights),
        num_samples=num_samples,
    )
    stream.set_epoch(epoch)
    if is_drawn:
        _show_drawn(
            ds, stream, f"balance={balance}" if weights is None else f"weights={weights}", plot, as_json=as_json
        )
    else:
        _show(ds, stream, class_from, plot, as_json=as_json, quiet=quiet)


def _show(ds: Dataset, stream: Stream, class_from: str, plot: str | None, *, as_json: bool, quiet: bool) -> None:
    with progress_bar(quiet=quiet) as progress:
        stats = order_stats(stream, class_from=class_from, progress=progress)
    if plot is not None:
        _draw(plot, stream, order_path(stream), stats.num_samples, f"shuffle={stats.shuffle}")
    if as_json:
        print_json({"location": ds.location, **dataclasses.asdict(stats), "poorly_mixed": stats.poorly_mixed})
    else:
        print_pairs(_lines(ds, stats, class_from))
    if stats.poorly_mixed:
        note(_warning(stats), quiet=quiet)


def _show_drawn(ds: Dataset, stream: Stream, title: str, plot: str | None, *, as_json: bool) -> None:
    stats = drawn_stats(stream)
    if plot is not None:
        _draw(plot, stream, drawn_path(stream), len(ds), title)
    if as_json:
        print_json({"location": ds.location, **dataclasses.asdict(stats)})
    else:
        print_pairs(_drawn_lines(ds, stats, title))
        _print_classes(stats)


def _lines(ds: Dataset, stats: OrderStats, class_from: str) -> list[tuple[str, str]]:
    seeded = "" if stats.shuffle == "none" else f", seed {stats.seed}, epoch {stats.epoch}"
    lines = [
        ("location", ds.location),
        ("samples", f"{stats.num_samples:,} in {plural(len(ds.shards), 'shard')}"),
        ("order", f"{stats.shuffle}{seeded}, {plural(stats.partitions, 'partition')}"),
        (
            f"rank {stats.rank} of {stats.world_size}",
            f"{plural(stats.rank_samples, 'sample')}, {plural(stats.steps, 'step')} of {stats.batch_size:,}",
        ),
        ("reads", f"{format_bytes(stats.rank_bytes)} in {plural(stats.requests, 'range')}"),
    ]
    if stats.blocks:
        what = {"blocks": "block", "shards": "shard"}.get(stats.shuffle, "run")
        lines.append(("in order of", f"{plural(stats.blocks, what)} of {format_bytes(stats.block_bytes)}"))
    if stats.window_bytes:
        where = "in memory" if is_remote(ds) else "in the page cache"
        lines += [
            ("window", f"{plural(stats.window_blocks, 'block')} over all ranks, here {both_units(stats.window_bytes)}"),
            ("reads ahead", f"up to {both_units(stats.read_ahead_bytes)}, {where}"),
        ]
    lines += [
        ("memory", both_units(stats.memory_bytes)),
        ("neighbours", f"{stats.neighbour_distance:.2f} times as far apart as in a true shuffle"),
        ("classes", f"{stats.num_classes:,} ({_FROM[class_from]})" if stats.num_classes else "none known"),
    ]
    if stats.class_mixing is not None:
        count = plural(stats.measured_batches, "batch").replace("batchs", "batches")
        entropy = f"{stats.class_entropy:.3f} in the mean of {count} of {stats.measured_batch_size:,}"
        others = f"{stats.class_entropy_stored:.3f} as stored, {stats.class_entropy_shuffled:.3f} truly shuffled"
        lines += [
            ("class mixing", f"{stats.class_mixing:.3f} of a true shuffle's"),
            ("class entropy", f"{entropy}; {others}"),
        ]
    return lines


def _warning(stats: OrderStats) -> str:
    remedies = ['pack with "--shuffle-seed SEED"']
    if stats.shuffle == "blocks":
        remedies.append(f"shuffle more blocks together (--window-blocks {4 * stats.window_blocks}; window_blocks=...)")
        remedies.append('use shuffle="global", which costs a read per sample')
    else:
        remedies.append('stream with shuffle="blocks" or "global"')
    return (
        f"warning: batches have too few classes: their class entropy is {stats.class_mixing:.2f} of that of a true "
        f"shuffle, as samples are stored by class; {', or '.join(remedies)}"
    )


def _print_compared(orders: list[ComparedOrder], ranks: list[OrderStats]) -> None:
    emit(
        f"{'order':15}  {'ranges':>8}  {'before the first sample':>23}  {'memory':>10}  neighbours  "
        f"{'class mixing':>12}"
    )
    for order in orders:
        name = order.order if order.order in SHUFFLES else f"webdataset {BUFFER_SAMPLES}"
        emit(
            f"{name:15}  {order.requests:8,}  {format_bytes(order.first_sample_bytes):>23}  "
            f"{format_bytes(order.memory_bytes):>10}  {order.neighbour_distance:>10.3f}  {_mixing(order.class_mixing)}"
        )
    emit("")
    emit("ranks  partitions  blocks mixed per rank  memory per rank  class mixing")
    for one in ranks:
        mixed = -(-one.window_bytes // one.block_bytes) if one.block_bytes else 0
        emit(
            f"{one.world_size:5}  {one.partitions:10}  {mixed:21}  {format_bytes(one.memory_bytes):>15}  "
            f"{_mixing(one.class_mixing)}"
        )


def _mixing(mixing: float | None) -> str:
    return f"{'' if mixing is None else f'{mixing:.3f}':>12}"


def _shuffle_of_drawn(shuffle: str, *, compare: bool) -> str:
    """Return the shuffle that a balanced or weighted stream is asked for: the default is another one here."""
    if compare:
        raise click.UsageError("--compare shows shuffled orders; leave out --balance and --weights")
    is_default = click.get_current_context().get_parameter_source("shuffle") is ParameterSource.DEFAULT
    return "global" if is_default else shuffle


def _weights(text: str | None) -> Weights:
    """Return the weights that an argument stands for: a JSON object, or the name of a column."""
    if text is None or not text.lstrip().startswith("{"):
        return text
    try:
        return {str(name): weight for name, weight in json.loads(text).items()}
    except ValueError as error:
        raise click.UsageError(f'--weights {text!r} is not JSON ({error}); write {{"cat": 3, "dog": 1}}') from error


def _drawn_lines(ds: Dataset, stats: DrawnStats, title: str) -> list[tuple[str, str]]:
    often = f"{stats.least_repeats:,} to {stats.most_repeats:,} times"
    return [
        ("location", ds.location),
        ("samples", f"{stats.num_samples:,} in {plural(len(ds.shards), 'shard')}"),
        ("order", f"{title}, seed {stats.seed}, epoch {stats.epoch}, {plural(stats.partitions, 'partition')}"),
        ("epoch", f"{plural(stats.epoch_samples, 'sample')}; a sample comes {often}, {stats.never_drawn:,} never"),
        (
            f"rank {stats.rank} of {stats.world_size}",
            f"{plural(stats.rank_samples, 'sample')}, {plural(stats.steps, 'step')} of {stats.batch_size:,}",
        ),
        ("reads", f"{format_bytes(stats.rank_bytes)} in up to {plural(stats.requests, 'range')}"),
    ]


def _print_classes(stats: DrawnStats) -> None:
    if not stats.classes:
        return
    shown = stats.classes[:SHOWN_CLASSES]
    width = max(5, *(len(one.name) for one in shown))
    emit("")
    batch = f"in a batch of {stats.measured_batch_size:,} ({stats.measured_batches:,} measured)"
    emit(f"{'class':{width}}  {'samples':>11}  {'in the epoch':>12}  {'each sample':>11}  {batch}")
    for one in shown:
        often = (
            f"{one.least_repeats} to {one.most_repeats}" if one.most_repeats > one.least_repeats else one.most_repeats
        )
        batch = f"{one.batch_mean:.2f} ({one.batch_least} to {one.batch_most})"
        emit(f"{one.name:{width}}  {one.samples:11,}  {one.drawn:12,}  {often:>11}  {batch}")
    if len(stats.classes) > len(shown):
        emit(f"... and {len(stats.classes) - len(shown):,} more; --json shows all")


def _draw(path: str, stream: Stream, points: tuple[Integers, Integers], num_stored: int, order: str) -> None:
    from shardpack.inspect.plot import scatter_png

    ours = stream.rank_slice
    image = scatter_png(
        *points,
        ends=(len(ours), num_stored),
        labels=(f"number in the epoch of rank {ours.rank} of {ours.world_size}", "stored position"),
        title=f"{order}, seed {stream.shuffle.seed}, epoch {stream.epoch}",
    )
    save_plot(path, image)
