"""`shardpack cat`."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

import shardpack
from shardpack.cli.ui import access_options, dataset_argument, json_option, plural, print_json, print_pairs
from shardpack.codecs.field_types import LABEL_FIELDS, kind_of
from shardpack.errors import DecodeError, OptionError, StorageError

SHOWN = 200  # characters of a label where only an overview was asked for


@click.command("cat", epilog="Example: shardpack cat out/ cat/0001 jpg > cat.jpg")
@dataset_argument
@click.argument("key", metavar="KEY")
@click.argument("field", metavar="[FIELD]", required=False)
@click.option("--position", is_flag=True, help="KEY is a position, counted from 0.")
@access_options
@json_option
def command(dataset: str, key: str, field: str | None, position: bool, as_json: bool, **access: Any) -> None:
    """Print a field of one sample of DS, exactly as it was packed; without FIELD, what it has.

    Checks the payload against its checksum. A KEY that starts with "-" stands behind "--". With
    --json: key, position, sizes of the fields, and values of those that are json, txt or cls.
    """
    ds = shardpack.open(dataset, verify=True, **access)
    item: int | str = _position(key) if position else key
    sample = ds.get_many([item], fields=[field])[0] if field else ds[item]
    if field and field not in sample:
        _ = ds[sample.position][field]  # raises, and names the fields it has
    if as_json:
        sizes = {name: len(payload) for name, payload in sample.items()}
        values = {name: _value(sample, name) for name in sample if _is_label(name)}
        print_json({"key": sample.key, "position": sample.position, "sizes": sizes, "values": values})
    elif field:
        _write(sample[field], field)
    else:
        shown = [(name, _overview(sample, name)) for name in sample]
        print_pairs([("key", sample.key), ("position", sample.position), *shown])


def _position(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise OptionError(f"not a position: {text!r}; leave out --position to look up a key") from None


def _is_label(field: str) -> bool:
    return kind_of(field) in LABEL_FIELDS


def _value(sample: shardpack.Sample, field: str) -> Any:
    """Return a label's value; None if it does not decode, which is no reason to hide the rest."""
    try:
        return sample.decode(field)
    except DecodeError:
        return None


def _overview(sample: shardpack.Sample, field: str) -> str:
    num_bytes = plural(len(sample[field]), "byte")
    if not _is_label(field):
        return num_bytes
    try:
        text = json.dumps(sample.decode(field), ensure_ascii=False)
    except DecodeError:
        return f"{num_bytes}, broken: does not decode"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({num_bytes})"


def _write(payload: bytes, field: str) -> None:
    if sys.stdout is None:  # closed by the caller: `>&-`
        raise StorageError("cannot write: standard output is closed; send it to a file or another program")
    on_terminal = sys.stdout.isatty()
    if on_terminal and not _is_label(field):
        raise OptionError(f"field {field!r} is binary; send it to a file: shardpack cat ... > sample.{field}")
    click.echo(payload, nl=on_terminal and not payload.endswith(b"\n"))
