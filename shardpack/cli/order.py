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
from shardpack.cli.order_lines import drawn_lines, order_lines, print_classes, print_compared, warning_of
from shardpack.cli.plot_file import check_plot, save_plot
from shardpack.cli.ui import (
    access_options,
    dataset_argument,
    generation_option,
    json_option,
    note,
    print_json,
    print_pairs,
    progress_bar,
    quiet_option,
    refuse_given,
    size,
)
from shardpack.dataset import Dataset
from shardpack.inspect.class_mixing import CLASS_FROM
from shardpack.inspect.drawn_stats import drawn_path, drawn_stats
from shardpack.inspect.order_compare import compare_defaults, compare_orders
from shardpack.inspect.order_stats import order_path, order_stats
from shardpack.order.options import DEFAULT_BLOCK_BYTES, SHUFFLES, WINDOW_BLOCKS_PER_RANK
from shardpack.runtime.arrays import Integers
from shardpack.stream.options import Weights
from shardpack.stream.stream import Stream

_NOT_COMPARED = frozenset(("plot", "force", "partitions", "epoch", "num_samples"))
_OF_SHUFFLES = frozenset(("window_blocks", "block_bytes", "class_from"))


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
            print_compared(orders, ranks)
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
        print_pairs(list(order_lines(ds, stats, class_from)))
    if stats.poorly_mixed:
        note(warning_of(stats), quiet=quiet)


def _show_drawn(ds: Dataset, stream: Stream, title: str, plot: str | None, *, as_json: bool) -> None:
    stats = drawn_stats(stream)
    if plot is not None:
        _draw(plot, stream, drawn_path(stream), len(ds), title)
    if as_json:
        print_json({"location": ds.location, **dataclasses.asdict(stats)})
    else:
        print_pairs(list(drawn_lines(ds, stats, title)))
        print_classes(stats)


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
