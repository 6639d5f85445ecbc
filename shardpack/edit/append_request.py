"""What an append asks of `pack`, and which appends are one: the same call continues one that was killed."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from xxhash import xxh3_128_hexdigest

from shardpack.edit.base import EditBase
from shardpack.errors import OptionError
from shardpack.format.manifest import Manifest
from shardpack.storage.url import is_url
from shardpack.write.pack import Packable
from shardpack.write.request import PackRequest

_NOT_FOR_APPEND = frozenset(("steps", "force", "part", "split"))
# How the dataset was packed decides how its new shards are, where the caller says nothing.
_AS_PACKED = ("max_shard_bytes", "max_shard_samples", "allow_oversized", "rename_keys")
# Of what does not decide bytes, a run that continues another one may have more or less.
_OF_THIS_RUN = frozenset((
    "jobs", "engine", "threads_per_job", "dry_run", "progress", "announce", "work_dir", "storage_options",
))  # fmt: skip


def check_options(options: Mapping[str, Any]) -> None:
    """Raise OptionError for an option that append does not take."""
    known = {field.name for field in fields(PackRequest)} - _NOT_FOR_APPEND
    if unknown := sorted(options.keys() - known):
        raise OptionError(f"append has no option {unknown[0]!r}; its options are those of pack but force and part")


def append_request(manifest: Manifest, options: Mapping[str, Any]) -> PackRequest:
    """Return what is asked of `pack`: shards are limited and compressed as the dataset is, unless told otherwise."""
    defaults = {name: value for name in _AS_PACKED if (value := manifest.option(name)) is not None}
    given = {name: value for name, value in options.items() if name not in _AS_PACKED or value is not None}
    if given.get("compress") is None and given.get("frame_bytes") is None:
        compress = manifest.option("compress")
        if isinstance(compress, dict):
            defaults |= {"compress": compress, "frame_bytes": manifest.option("frame_bytes")}
            given = {name: value for name, value in given.items() if name not in ("compress", "frame_bytes")}
    return PackRequest(**{**defaults, **given, "force": True})


def append_digest(source: Packable, base: EditBase, request: PackRequest, split: str | None) -> str:
    """Return a digest of the call, so that the same call continues an interrupted one.

    What is in the source is left to the journal of `pack`. Of an iterable nothing can be continued: in a bucket, where
    two calls may be at work at once, each has a digest of its own.
    """
    if isinstance(source, (str, os.PathLike)):
        what = os.fspath(source)
        what = what if is_url(what) else os.path.abspath(what)
    else:
        same = "samples" if base.store.folder is not None else secrets.token_hex(16)
        what = _listed(source) or same
    said = {
        field.name: repr(getattr(request, field.name))
        for field in fields(PackRequest)
        if field.name not in _OF_THIS_RUN and field.name not in ("steps", "transform")
    }
    return xxh3_128_hexdigest(json.dumps([what, split, sorted(said.items())]).encode("utf-8", "surrogatepass"))


def _listed(source: object) -> str | None:
    """Return a digest of which samples a dataset, view, stream or mix has, in which order; None for anything else."""
    from shardpack.stream.stream import Stream  # appending a folder needs nothing that streams
    from shardpack.stream.stream_input import Placed, Streamable
    from shardpack.stream.stream_listing import digest_of

    if isinstance(source, Stream):
        return digest_of(source.epochs.placed(source.epoch, source.rank_slice, source.resume_at))
    if isinstance(source, Streamable):
        as_stored = np.zeros(0, np.int64)
        return digest_of(Placed((source.stream_input(),), as_stored, as_stored))
    return None
