"""Check the images and JSON files of a listing before they are packed.

Decides which payloads to read, and how much of each; `codecs` decides whether a payload is bad.
"""

from __future__ import annotations

from functools import partial
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
from shardpack.errors import CorruptShardError, DecodeError, OnError
from shardpack.runtime.arguments import one_of
from shardpack.runtime.engine import Engine
from shardpack.runtime.progress import Progress
from shardpack.sources.check_samples import SAMPLES_PER_TASK, check_samples
from shardpack.sources.listing import Listing
from shardpack.sources.payloads import read_payload
from shardpack.sources.source import Problems

ImageCheck = Literal["signature", "decode"]


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
    return check_samples(
        listing,
        problems,
        partial(check_range, mode=mode),
        engine=engine,
        on_error=on_error,
        progress=progress,
        samples_per_task=samples_per_task,
    )


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
