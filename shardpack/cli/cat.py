"""`shardpack cat`."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

import shardpack
from shardpack.cli.command import Command
from shardpack.cli.ui import (
    access_options,
    dataset_argument,
    generation_option,
    json_option,
    plural,
    print_json,
    print_pairs,
)
from shardpack.codecs.compression import split_compression
from shardpack.codecs.field_types import LABEL_FIELDS, kind_of
from shardpack.errors import DecodeError, OptionError, StorageError

SHOWN = 200  # characters of a label in the overview of a sample


@click.command("cat", cls=Command, epilog="Example: shardpack cat out/ cat/0001 jpg > cat.jpg")
@dataset_argument
@click.argument("key", metavar="KEY")
@click.argument("field", metavar="[FIELD]", required=False)
@click.option("--position", is_flag=True, help="KEY is a position, counted from 0.")
@access_options
@generation_option
@json_option
def command(dataset: str, key: str, field: str | None, position: bool, as_json: bool, **access: Any) -> None:
    """Print a field of one sample of DS, exactly as it was packed; without FIELD, an overview of its fields.

    Compares the payload with its checksum. Write "--" before a KEY that starts with "-". With
    --json: key, position, sizes of the fields, and values of those that are json, txt or cls.
    """
    ds = shardpack.open(dataset, verify=True, **access)
    item: int | str = _position(key) if position else key
    sample = ds[item] if field is None else _with_field(ds, item, field)
    payloads = sample if field is None else {field: sample[field]}
    if as_json:
        sizes = {name: len(payload) for name, payload in payloads.items()}
        values = {name: _value(sample, name) for name in payloads if _is_label(name)}
        print_json({"key": sample.key, "position": sample.position, "sizes": sizes, "values": values})
    elif field is not None:
        _write(payloads[field], field)
    else:
        shown = [(name, _overview(sample, name)) for name in sample]
        print_pairs([("key", sample.key), ("position", sample.position), *shown])


def _with_field(ds: shardpack.Dataset, item: int | str, field: str) -> shardpack.Sample:
    """Return a sample with one field; if it lacks that, with all its fields, so that the error can name them."""
    sample = ds.get_many([item], fields=[field])[0]
    return sample if field in sample else ds[sample.position]


def _position(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise OptionError(f"not a position: {text!r}; leave out --position to look up a key") from None


def _is_label(field: str) -> bool:
    return kind_of(split_compression(field)[0]) in LABEL_FIELDS


def _value(sample: shardpack.Sample, field: str) -> Any:
    """Return a label's value, or None if it does not decode, so that the rest is still shown."""
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
        return f"{num_bytes}, damaged: does not decode"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({num_bytes})"


def _write(payload: bytes, field: str) -> None:
    if sys.stdout is None:  # closed by the caller: `>&-`
        raise StorageError("cannot write: standard output is closed; send it to a file or another program")
    on_terminal = sys.stdout.isatty()
    if on_terminal and kind_of(field) not in LABEL_FIELDS:
        raise OptionError(f"field {field!r} is binary; send it to a file: shardpack cat ... > sample.{field}")
    click.echo(payload, nl=on_terminal and not payload.endswith(b"\n"))
