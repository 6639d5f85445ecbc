"""`shardpack info`."""

from __future__ import annotations

import click

import shardpack
from shardpack.cli.ui import both_units, counted, dataset_argument, json_option, print_json, print_pairs
from shardpack.format.manifest import record_of


@click.command("info", epilog="Example: shardpack info out/")
@dataset_argument
@click.option("--shards", is_flag=True, help="List every shard too.")
@json_option
def command(dataset: str, shards: bool, as_json: bool) -> None:
    """Show what the dataset DS holds: counts, sizes, fields, classes, and how it was packed."""
    ds = shardpack.open(dataset)
    whole = ds.manifest
    if as_json:
        print_json(
            {
                "location": ds.location,
                "num_samples": len(ds),
                "num_shards": len(whole.records),
                "num_bytes": whole.num_bytes,
                "samples_per_field": whole.samples_per_field,
                "unique_keys": whole.keys["unique"],
                "classes": whole.classes,
                "fingerprint": ds.fingerprint,
                "packed_with": dict(whole.packed_with),
                **({"shards": [record_of(info) for info in ds.shards]} if shards else {}),
            }
        )
        return
    index_bytes = sum(record["index_bytes"] for record in whole.records)
    pairs = [
        ("location", ds.location),
        ("samples", f"{len(ds):,}"),
        ("fields", counted(whole.samples_per_field) or "none"),
        ("shards", f"{len(whole.records):,}"),
        ("tar bytes", both_units(whole.num_bytes)),
        ("index bytes", both_units(index_bytes + whole.keys["num_bytes"])),
        ("fingerprint", ds.fingerprint),
    ]
    if whole.classes is not None:
        names = ", ".join(whole.classes[:8]) + (", ..." if len(whole.classes) > 8 else "")
        pairs.append(("classes", f"{len(whole.classes)}: {names}"))
    if not whole.keys["unique"]:
        pairs.append(("keys", "some name two samples: look those up by position"))
    options = whole.packed_with.get("options", {})
    pairs.append(("packed with", ", ".join(f"{name}={value}" for name, value in options.items()) or "no options"))
    print_pairs(pairs)
    if shards:
        click.echo(f"{'shard':<24} {'samples':>10} {'bytes':>14}  crc32c")
        for info in ds.shards:
            click.echo(f"{info.name:<24} {info.num_samples:>10} {info.num_bytes:>14}  {info.crc32c:08x}")
