"""Draw samples evenly from all of a source, to try encodings on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shardpack.codecs.field_types import is_image, is_mask
from shardpack.errors import ShardpackError, SourceError
from shardpack.format.tar_header import BLOCK, padded
from shardpack.sources.listing import Listing, name_of
from shardpack.sources.payloads import read_payload

NO_IMAGES = "there are no images to try; name a folder or dataset that has some"


@dataclass(frozen=True, slots=True, eq=False)
class DrawnSample:
    """A sample that was drawn.

    Attributes:
        name: Path of its image, or its key.
        image: Field of the image that is tried.
        fields: All of its payloads.
    """

    name: str
    image: str
    fields: dict[str, bytes]

    @property
    def payload(self) -> bytes:
        """The image."""
        return self.fields[self.image]


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """Samples drawn from a source, and what is known of all of it without reading payloads.

    Attributes:
        samples: The samples, in the order of the source.
        unread: Name of each sample that was drawn and cannot be read -> why.
        num_images: How many samples of the source have an image.
        image_bytes: Mean payload of these images.
        other_bytes: Mean bytes of the other fields beside an image: payload, header and padding.
        overhead: Part of the tars that is headers and padding, from 0 to 1.
    """

    samples: list[DrawnSample]
    unread: dict[str, str]
    num_images: int
    image_bytes: float
    other_bytes: float
    overhead: float


def draw_evenly(listing: Listing, count: int) -> Draw:
    """Return up to `count` samples with an image, at even distances; reads their payloads only.

    Of a sample with several images the first by name is taken that is not a mask.

    Raises:
        SourceError: No sample has an image.
    """
    members = _images(listing)
    if not len(members):
        raise SourceError(NO_IMAGES)
    chosen = members[np.arange(min(count, len(members))) * len(members) // min(count, len(members))]
    tar_bytes = BLOCK + padded(listing.size)
    image_tar_bytes = int(tar_bytes[members].sum())
    samples, unread = [], {}
    for member in chosen.tolist():
        try:
            samples.append(_drawn(listing, member))
        except ShardpackError as error:  # some of them are OSErrors, too
            unread[_name(listing, member)] = str(error)
        except OSError as error:
            unread[_name(listing, member)] = f"cannot be read: {error.strerror}"
    return Draw(
        samples=samples,
        unread=unread,
        num_images=len(members),
        image_bytes=float(listing.size[members].mean()),
        other_bytes=(int(tar_bytes.sum()) - image_tar_bytes) / len(members),
        overhead=1 - int(listing.size.sum()) / int(tar_bytes.sum()),
    )


def _images(listing: Listing) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the member that is the image of each sample that has one, ascending."""
    codes = [code for code, field in enumerate(listing.fields) if is_image(field) and not is_mask(field)]
    members = np.flatnonzero(np.isin(listing.field_code, codes))
    _, first = np.unique(listing.owners(members), return_index=True)
    return members[first]


def _name(listing: Listing, member: int) -> str:
    return name_of(listing, int(listing.owners([member])[0]))


def _drawn(listing: Listing, member: int) -> DrawnSample:
    sample = int(listing.owners([member])[0])
    own = range(int(listing.start[sample]), int(listing.start[sample + 1]))
    fields = {listing.fields[listing.field_code[one]]: read_payload(listing, one) for one in own}
    return DrawnSample(name_of(listing, sample), listing.fields[listing.field_code[member]], fields)
