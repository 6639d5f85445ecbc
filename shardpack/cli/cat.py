"""`shardpack cat`."""

from __future__ import annotations

import json
import sys

import click

import shardpack
from shardpack.cli.ui import dataset_argument, json_option, print_json, print_pairs
from shardpack.codecs.kinds import LABEL_FIELDS
from shardpack.errors import OptionError


@click.command("cat", epilog="Example: shardpack cat out/ cat/0001 jpg > cat.jpg")
@dataset_argument
@click.argument("key", metavar="KEY")
@click.argument("field", metavar="[FIELD]", required=False)
@click.option("--position", is_flag=True, help="KEY is a position, counted from 0.")
@json_option
def command(dataset: str, key: str, field: str | None, position: bool, as_json: bool) -> None:
    """Print a field of one sample of DS, exactly as it was packed; without FIELD, what it has.

    Checks the payload against its checksum. With --json: key, position, and each field's size,
    with the value of json, txt and cls fields.
    """
    ds = shardpack.open(dataset, verify=True)
    item: int | str = _position(key) if position else key
    sample = ds.get_many([item], fields=[field])[0] if field else ds[item]
    if as_json:
        values = {name: sample.decode(name) for name in sample if name in LABEL_FIELDS}
        sizes = {name: len(payload) for name, payload in sample.items()}
        print_json({"key": sample.key, "position": sample.position, "sizes": sizes, "values": values})
    elif field:
        payload = sample[field]
        if sys.stdout.isatty() and field.rpartition(".")[2] not in LABEL_FIELDS:
            raise OptionError(f"field {field!r} is binary; send it to a file: shardpack cat ... > sample.{field}")
        click.echo(payload, nl=sys.stdout.isatty())
    else:
        pairs = [("key", sample.key), ("position", str(sample.position))]
        for name, payload in sample.items():
            shown = f"{len(payload)} bytes"
            if name in LABEL_FIELDS:
                shown = json.dumps(sample.decode(name), ensure_ascii=False)
            pairs.append((name, shown))
        print_pairs(pairs)


def _position(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise OptionError(f"not a position: {text!r}; leave out --position to look up a key") from None
