"""Look into the pictures and JSON files of a listing before they are packed.

Knows which files to read and how much of them; what is wrong with a payload is decided in
`codecs/kinds.py`.
"""

from __future__ import annotations

import os
from typing import Literal

import numpy as np

from shardpack.codecs.field_types import SIGNATURE_BYTES, decode_problem, is_image, parse_json, signature_problem
from shardpack.errors import DecodeError, OptionError
from shardpack.sources.listing import Listing

Mode = Literal["signature", "decode"]


def check_range(listing: Listing, mode: Mode) -> list[tuple[int, str]]:
    """Return (sample, reason) of each bad sample, ascending; the reason names its first bad field.

    A pure function of the files that can run in another process: check slices of a listing side
    by side, and add each slice's first sample number. Every `.json` field must parse, whatever
    the mode. Costs one open and one read a picture or JSON file.

    Args:
        listing: Samples, such as `Listing.slice` gives.
        mode: "signature" reads the first 12 bytes of each picture; "decode" reads and decodes
            it whole, where the installed Pillow knows the format.

    Raises:
        OptionError: Another mode.
    """
    if mode not in ("signature", "decode"):
        raise OptionError(f"check is {mode!r}, expected 'signature' or 'decode'")
    looked_at = np.array([is_image(field) or _is_json(field) for field in listing.fields], bool)
    members = np.flatnonzero(looked_at[listing.field_code])
    owners = np.searchsorted(listing.start, members, side="right") - 1
    bad: dict[int, str] = {}
    for member, owner in zip(members.tolist(), owners.tolist(), strict=True):
        if owner in bad:
            continue
        field = listing.fields[listing.field_code[member]]
        try:
            problem = _problem(listing, field, listing.payload[member], mode)
        except OSError as error:
            problem = f"unreadable: {error.strerror}"
        if problem is not None:
            bad[owner] = f"{field}: {problem}"
    return list(bad.items())


def _problem(listing: Listing, field: str, payload: str | bytes, mode: Mode) -> str | None:
    if _is_json(field):
        try:
            parse_json(_read(listing.root, payload, None))
        except DecodeError as error:
            return str(error)
        return None
    if mode == "signature":
        return signature_problem(field, _read(listing.root, payload, SIGNATURE_BYTES))
    content = _read(listing.root, payload, None)
    return signature_problem(field, content[:SIGNATURE_BYTES]) or decode_problem(field, content)


def _is_json(field: str) -> bool:
    return field.rpartition(".")[2] == "json"


def _read(root: str, payload: str | bytes, num_bytes: int | None) -> bytes:
    """Return the first `num_bytes` of a payload, or all of it."""
    if isinstance(payload, bytes):
        return payload[:num_bytes]
    with open(os.path.join(root, payload), "rb", buffering=0 if num_bytes else -1) as file:
        return file.read(-1 if num_bytes is None else num_bytes)
