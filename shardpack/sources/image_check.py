"""Check the images and JSON files of a listing before they are packed.

Decides which payloads to read, and how much of each; `codecs` decides whether a payload is bad.
"""

from __future__ import annotations

from contextlib import closing
from typing import Literal, get_args

import numpy as np

from shardpack.codecs.field_types import (
    SIGNATURE_BYTES,
    is_image,
    kind_of,
    parse_json,
    signature_problem,
)
from shardpack.codecs.image import decode_problem
from shardpack.errors import CorruptShardError, DecodeError, OnError, SourceError
from shardpack.runtime.arguments import one_of
from shardpack.runtime.engine import Engine
from shardpack.runtime.progress import Progress
from shardpack.sources.listing import Listing
from shardpack.sources.payloads import read_payload
from shardpack.sources.source import Problems

ImageCheck = Literal["signature", "decode"]

SAMPLES_PER_TASK = 500


def check_images(
    listing: Listing,
    problems: Problems,
    mode: ImageCheck,
    *,
    engine: Engine,
    on_error: OnError,
    progress: Progress,
    samples_per_task: int = SAMPLES_PER_TASK,
) -> Listing:
    """Return the listing without the samples that have a bad image or JSON file; these are added to `problems`.

    Raises:
        SourceError: There are bad samples and `on_error` is "raise", or all samples are bad.
    """
    total, step = listing.num_samples, samples_per_task
    starts = range(0, total, step)
    tasks = ((listing.slice(first, min(first + step, total)), mode) for first in starts)
    bad: dict[int, str] = {}
    with closing(engine.map(_check_task, tasks)) as results:
        for done, (number, found) in enumerate(results, start=1):
            bad.update({starts[number] + sample: reason for sample, reason in found})
            progress("check", min(done * step, total), total)
    good = problems.reject_samples(listing, bad)
    if bad and on_error == "raise":
        problems.raise_if_any()
    if bad and not good.num_samples:
        name, reason = problems.rejected[-1]
        raise SourceError(f"all {total} samples are bad, such as {name!r}: {reason}; replace them")
    return good


def _check_task(task: tuple[Listing, ImageCheck]) -> list[tuple[int, str]]:
    return check_range(*task)


def check_range(listing: Listing, mode: ImageCheck) -> list[tuple[int, str]]:
    """Return (sample, reason) for each bad sample, ascending; the reason names the first bad field.

    Sample numbers are relative to this listing, which may be a slice of a larger one. JSON fields must
    parse in either mode. Costs one open and one read per image or JSON file.

    Args:
        listing: Samples, such as those of `Listing.slice`.
        mode: "signature" reads the first 12 bytes of each image; "decode" reads and decodes
            each image completely, if the installed Pillow supports its format.

    Raises:
        OptionError: The mode is another one.
    """
    one_of("check_images", mode, get_args(ImageCheck))
    looked_at = np.array([is_image(field) or _is_json(field) for field in listing.fields], bool)
    members = np.flatnonzero(looked_at[listing.field_code])
    owners = listing.owners(members)
    bad: dict[int, str] = {}
    for member, owner in zip(members.tolist(), owners.tolist(), strict=True):
        if owner in bad:
            continue
        field = listing.fields[listing.field_code[member]]
        try:
            problem = _problem(listing, member, field, mode)
        except OSError as error:
            problem = f"unreadable: {error.strerror}"
        except CorruptShardError as error:
            problem = f"unreadable: {error}"
        if problem is not None:
            bad[owner] = f"{field}: {problem}"
    return list(bad.items())


def _problem(listing: Listing, member: int, field: str, mode: ImageCheck) -> str | None:
    if _is_json(field):
        try:
            parse_json(read_payload(listing, member))
        except DecodeError as error:
            return str(error)
        return None
    if mode == "signature":
        return signature_problem(field, read_payload(listing, member, SIGNATURE_BYTES))
    content = read_payload(listing, member)
    return signature_problem(field, content[:SIGNATURE_BYTES]) or decode_problem(field, content)


def _is_json(field: str) -> bool:
    return kind_of(field) == "json"
