"""What `shardpack order` prints for people: lines about one order, and tables of several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shardpack.cli.ui import both_units, emit, is_remote, plural
from shardpack.dataset import Dataset
from shardpack.inspect.drawn_stats import DrawnStats
from shardpack.inspect.order_compare import BUFFER_SAMPLES, ComparedOrder
from shardpack.inspect.order_stats import OrderStats
from shardpack.order.options import SHUFFLES
from shardpack.runtime.sizes import format_bytes

SHOWN_CLASSES = 40
_FROM = {"key": "first folder of the key", "json": "label of the json field"}
_RUNS = {"blocks": "block", "shards": "shard"}  # shuffle -> what is read in one piece; of the others, runs


def order_lines(ds: Dataset, stats: OrderStats, class_from: str) -> Iterator[tuple[str, str]]:
    """Yield names with what they say about an order."""
    seeded = "" if stats.shuffle == "none" else f", seed {stats.seed}, epoch {stats.epoch}"
    yield "location", ds.location
    yield "samples", f"{stats.num_samples:,} in {plural(len(ds.shards), 'shard')}"
    yield "order", f"{stats.shuffle}{seeded}, {plural(stats.partitions, 'partition')}"
    yield _rank(stats)
    yield "reads", f"{format_bytes(stats.rank_bytes)} in {plural(stats.requests, 'range')}"
    if stats.blocks:
        in_part = ", whole or in part" * (stats.blocks * stats.block_bytes > stats.rank_bytes)
        runs = plural(stats.blocks, _RUNS.get(stats.shuffle, "run"))
        yield "in order of", f"{runs} of {format_bytes(stats.block_bytes)}{in_part}"
    if stats.window_bytes:
        where = "in memory" if is_remote(ds) else "in the page cache"
        yield "window", f"{plural(stats.window_blocks, 'block')} over all ranks, here {both_units(stats.window_bytes)}"
        yield "reads ahead", f"up to {both_units(stats.read_ahead_bytes)}, {where}"
    yield "memory", both_units(stats.memory_bytes)
    yield "neighbours", f"{stats.neighbour_distance:.2f} times as far apart as in a true shuffle"
    yield "classes", f"{stats.num_classes:,} ({_FROM[class_from]})" if stats.num_classes else "none known"
    if stats.class_mixing is not None:
        batches = f"{stats.measured_batches:,} batch{'es' * (stats.measured_batches != 1)}"
        entropy = f"{stats.class_entropy:.3f} in the mean of {batches} of {stats.measured_batch_size:,}"
        others = f"{stats.class_entropy_stored:.3f} as stored, {stats.class_entropy_shuffled:.3f} truly shuffled"
        yield "class mixing", f"{stats.class_mixing:.3f} of a true shuffle's"
        yield "class entropy", f"{entropy}; {others}"


def drawn_lines(ds: Dataset, stats: DrawnStats, title: str) -> Iterator[tuple[str, str]]:
    """Yield names with what they say about a balanced or weighted order."""
    often = f"{stats.least_repeats:,} to {stats.most_repeats:,} times"
    yield "location", ds.location
    yield "samples", f"{stats.num_samples:,} in {plural(len(ds.shards), 'shard')}"
    yield "order", f"{title}, seed {stats.seed}, epoch {stats.epoch}, {plural(stats.partitions, 'partition')}"
    yield "epoch", f"{plural(stats.epoch_samples, 'sample')}; a sample comes {often}, {stats.never_drawn:,} never"
    yield _rank(stats)
    yield "reads", f"{format_bytes(stats.rank_bytes)} in up to {plural(stats.requests, 'range')}"


def _rank(stats: OrderStats | DrawnStats) -> tuple[str, str]:
    steps = f"{plural(stats.steps, 'step')} of {stats.batch_size:,}"
    return f"rank {stats.rank} of {stats.world_size}", f"{plural(stats.rank_samples, 'sample')}, {steps}"


def warning_of(stats: OrderStats) -> str:
    """Return what to do about batches that have too few classes."""
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


def print_compared(orders: Sequence[ComparedOrder], ranks: Sequence[OrderStats]) -> None:
    """Print a row for each order, and below them one for each number of ranks."""
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


def print_classes(stats: DrawnStats) -> None:
    """Print a row for each class, at most `SHOWN_CLASSES`."""
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
