"""Compare labels with the images that they are for: sizes, and boxes, polygons and key points outside of the image.

Opens the first bytes of each image that has a label with positions or a size; `label_shape.py` knows what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shardpack.codecs.field_types import IMAGE_EXTENSIONS, parse_json
from shardpack.codecs.image_size import ImageSize
from shardpack.errors import DecodeError, OnError
from shardpack.runtime.engine import Engine
from shardpack.runtime.progress import Progress
from shardpack.sources.check_samples import SAMPLES_PER_TASK, check_samples
from shardpack.sources.json_labels import LABEL
from shardpack.sources.label_files import read_image_size
from shardpack.sources.label_shape import label_problems
from shardpack.sources.listing import Listing
from shardpack.sources.payloads import read_payload
from shardpack.sources.source import Problems

_LOOKED_AT = ("width", "height", "annotations", "segments_info")


def check_labels(
    listing: Listing,
    problems: Problems,
    *,
    engine: Engine,
    on_error: OnError,
    progress: Progress,
    samples_per_task: int = SAMPLES_PER_TASK,
) -> Listing:
    """Return the listing without the samples whose label contradicts their image; these are added to `problems`.

    Raises:
        SourceError: There are such samples and `on_error` is "raise", or all samples are such.
    """
    options: dict[str, Any] = {"engine": engine, "on_error": on_error, "progress": progress}
    return check_samples(listing, problems, label_range, **options, samples_per_task=samples_per_task)


def label_range(listing: Listing) -> list[tuple[int, str]]:
    """Return (sample, reason) for each sample whose label contradicts its image, ascending.

    The reason names the first annotation that does, and counts the others. Costs one small read for each image with a
    label that has positions or a size.
    """
    images = [field in IMAGE_EXTENSIONS for field in listing.fields]
    found: list[tuple[int, str]] = []
    for sample in range(listing.num_samples):
        members = range(int(listing.start[sample]), int(listing.start[sample + 1]))
        image = next((member for member in members if images[listing.field_code[member]]), None)
        label = next((member for member in members if listing.fields[listing.field_code[member]] == LABEL), None)
        if image is None or label is None:
            continue
        try:
            problems = list(_problems(listing, image, label))
        except OSError as error:
            problems = [f"unreadable: {error.strerror}"]
        except DecodeError as error:
            problems = [str(error)]
        if problems:
            more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
            found.append((sample, f"{problems[0]}{more}; correct the label"))
    return found


def _problems(listing: Listing, image: int, label: int) -> Iterator[str]:
    value = parse_json(read_payload(listing, label))
    if isinstance(value, Mapping) and any(name in value for name in _LOOKED_AT):
        size = read_image_size(listing, image)
        turned = _turned(value, size)
        yield from [turned] if turned else label_problems(value, size.width, size.height)


def _turned(value: Mapping[str, Any], size: ImageSize) -> str:
    """Return what is wrong with a label that is for the image as it is shown; "" for others."""
    said = value.get("width"), value.get("height")
    if said == size.upright and said != (size.width, size.height):
        return (
            f"the label is for {said[0]} x {said[1]} pixels, as the image is shown, but its pixels are stored turned "
            f"(EXIF orientation {size.orientation}): store it upright, or"
        )
    return ""
