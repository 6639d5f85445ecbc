"""`shardpack info`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

import shardpack
from shardpack.cli.command import Command
from shardpack.cli.info_by import show_by
from shardpack.cli.ui import (
    access_options,
    both_units,
    counted,
    dataset_argument,
    emit,
    generation_option,
    hexadecimal,
    json_option,
    note,
    plural,
    print_json,
    print_pairs,
    refuse_given,
)
from shardpack.format.manifest import OWN_FOLDER
from shardpack.format.shard_info import record_of
from shardpack.format.whole_tars import what_tars_lack

SHOWN = 8  # class names that are printed


@click.command("info", cls=Command, epilog="Example: shardpack info out/ --shards")
@dataset_argument
@click.option("--shards", is_flag=True, help="List every shard too.")
@click.option("--urls", is_flag=True, help="Print only the path or URL of every shard, for readers that take a list.")
@click.option(
    "--split",
    metavar="NAME",
    help="With --urls: only the shards that hold samples of this split; with --by: only those.",
)
@click.option(
    "--by",
    metavar="COLUMN",
    help="Count the samples with each value of a column of the label table: class.",
)
@click.option(
    "--where",
    metavar="SQL",
    help="With --by: only samples for which this expression is true.",
)
@click.option(
    "--plot", type=click.Path(), metavar="FILE", help="With --by: draw how many samples each value has, as a PNG."
)
@click.option("--force", is_flag=True, help="Replace the file of --plot.")
@access_options
@generation_option
@json_option
def command(
    dataset: str, shards: bool, urls: bool, split: str | None, by: str | None, as_json: bool, **options: Any
) -> None:
    """Show what the dataset DS contains: counts, sizes, fields, splits, classes, and how it was packed.

    With --json: location, num_samples, num_deleted, num_shards, num_bytes, index_bytes,
    samples_per_field, layers (location and fields), splits, unique_keys, classes, fingerprint, generation,
    packed_with, locations, without_checksums; with --shards also shards. Deleted samples are still in the
    shards, their bytes and samples_per_field; what layers give is not. With --json and --urls: a list of texts.

    --by reads the label table, which "shardpack table" makes: how many samples have each value, and the mean
    width, height and bytes of their images. With --json: a list of value, num_samples, mean_width, mean_height,
    mean_bytes.
    """
    asked = {name: options.pop(name) for name in ("where", "plot", "force")}
    _check_options(split=split, urls=urls, by=by, needs_by=any(asked.values()))
    ds = shardpack.open(dataset, **options)
    if by is not None:
        show_by(ds if split is None else ds.split(split), by, **asked, as_json=as_json)
        return
    if urls:
        _print_urls(ds, split, as_json=as_json)
        return
    if as_json:
        print_json(_record(ds, shards=shards))
        return
    print_pairs(list(_pairs(ds)))
    if shards:
        _print_shards(ds)


def _record(ds: shardpack.Dataset, *, shards: bool) -> dict[str, Any]:
    """Return what --json prints."""
    manifest = ds.manifest
    return {
        "location": ds.location,
        "num_samples": len(ds),
        "num_deleted": manifest.num_deleted,
        "num_shards": manifest.num_shards,
        "num_bytes": manifest.num_bytes,
        "index_bytes": _index_bytes(ds),
        "samples_per_field": manifest.samples_per_field,
        "layers": [{"location": one.location, "fields": one.fields} for one in manifest.layers],
        "splits": ds.splits,
        "unique_keys": manifest.unique_keys,
        "classes": manifest.classes,
        "fingerprint": ds.fingerprint,
        "generation": manifest.generation,
        "packed_with": dict(manifest.packed_with),
        "locations": manifest.locations,
        "without_checksums": _without_checksums(ds),
        **({"shards": [record_of(info) for info in ds.shards]} if shards else {}),
    }


def _pairs(ds: shardpack.Dataset) -> Iterator[tuple[str, str]]:
    """Yield what is printed for people: names with what they say."""
    manifest = ds.manifest
    yield "location", ds.location
    places = list(dict.fromkeys(manifest.locations))  # a tar that was indexed anew has a location of its own
    if places != [OWN_FOLDER]:
        yield "tars at", ", ".join(places)
    yield "samples", f"{len(ds):,}" + (f" ({manifest.num_deleted:,} deleted)" if manifest.num_deleted else "")
    yield "fields", counted(manifest.samples_per_field)
    for layer in manifest.layers:
        yield "layer", f"{', '.join(layer.fields)} from {layer.location}"
    if ds.splits:
        yield "splits", counted(ds.splits)
    if manifest.table:
        yield "label table", plural(len(manifest.table), "file")
    yield "shards", f"{manifest.num_shards:,}"
    yield "tar bytes", both_units(manifest.num_bytes)
    yield "index bytes", both_units(_index_bytes(ds))
    yield "fingerprint", ds.fingerprint
    if manifest.generation > 1:
        yield "generation", f"{manifest.generation:,}"
    if without := _without_checksums(ds):
        how = 'indexed without reading payloads; run "shardpack index --checksums --force" on the tars'
        yield "no checksums", f"{plural(without, 'shard')}: {how}"
    if manifest.classes is not None:
        names = ", ".join(manifest.classes[:SHOWN]) + (", ..." if len(manifest.classes) > SHOWN else "")
        yield "classes", f"{len(manifest.classes):,}: {names}"
    if not manifest.unique_keys:
        yield "keys", "some name two samples; look those up by position"
    yield from _packed_with(manifest.packed_with.get("options"))


def _index_bytes(ds: shardpack.Dataset) -> int:
    """Return the length of all sidecars but the manifest."""
    return int(ds.shards.columns.index_bytes.sum()) + sum(file.num_bytes for file in ds.manifest.files)


def _without_checksums(ds: shardpack.Dataset) -> int:
    """Return how many shards were indexed without reading their payloads."""
    return int(ds.shards.columns.of_index.sum())


def _check_options(*, split: str | None, urls: bool, by: str | None, needs_by: bool) -> None:
    if split is not None and not urls and by is None:
        raise click.UsageError('--split is for --urls and --by; "shardpack ls --split" lists the samples of a split')
    if by is not None:
        refuse_given(("urls", "shards"), "is not for --by; leave one of them out")
    if urls:
        refuse_given(("shards",), "is not for --urls; leave one of them out")
    if by is None and needs_by:
        raise click.UsageError("--where, --plot and --force are for --by; add --by class")


def _packed_with(options: object) -> Iterator[tuple[str, str]]:
    """Yield what to show of the options of packing."""
    if not isinstance(options, dict):
        return
    libraries = options.get("versions")
    shown = [f"{name}={_shown(value)}" for name, value in options.items() if value is not libraries]
    yield "packed with", ", ".join(shown) or "no options"
    if isinstance(libraries, dict):
        yield "libraries", ", ".join(f"{name} {version}" for name, version in libraries.items())


def _print_urls(ds: shardpack.Dataset, split: str | None, *, as_json: bool) -> None:
    numbers = range(ds.manifest.num_shards) if split is None else ds.split(split).shard_numbers()
    if lack := what_tars_lack(ds.manifest):
        note(f'urls name whole tars, and {lack}; pack what is visible for readers of tars: "shardpack pack DS OUT"')
    urls = map(ds.shard_url, numbers)
    if as_json:
        print_json(list(urls))
        return
    for url in urls:
        emit(url)


def _print_shards(ds: shardpack.Dataset) -> None:
    width = max([len("shard"), *(len(info.name) for info in ds.shards)])
    emit("")
    emit(f"{'shard':<{width}}  {'samples':>10}  {'bytes':>14}  crc32c")
    for info in ds.shards:
        checksum = hexadecimal(info.crc32c) or "-" * 8
        emit(f"{info.name:<{width}}  {info.num_samples:>10,}  {info.num_bytes:>14,}  {checksum}")


def _shown(option: object) -> str:
    """Return an option of packing, as people would give it."""
    if isinstance(option, dict):
        return " ".join(f"{name}={value}".removeprefix("*=") for name, value in option.items())
    return str(option)
