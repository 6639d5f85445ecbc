"""The step that checks images and JSON of samples that no listing could check before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shardpack.codecs.field_types import SIGNATURE_BYTES, is_image, kind_of, parse_json, signature_problem
from shardpack.codecs.image import decode_problem
from shardpack.errors import DecodeError, SourceError
from shardpack.sources.image_check import ImageCheck
from shardpack.write.transform import Counts, Fields, KeyedFields


@dataclass(frozen=True, slots=True)
class CheckImages:
    """Passes a sample on as it is, unless an image or a JSON text is bad; see `sources.image_check.check_images`."""

    mode: ImageCheck

    def __call__(self, key: str, fields: Fields, _: Counts, /) -> Iterable[KeyedFields]:
        """Return the sample.

        Raises:
            SourceError: A field is bad; it is named.
        """
        for field, payload in fields.items():
            if problem := _problem(field, payload, self.mode):
                raise SourceError(f"{field}: {problem}", key=key)
        return ((key, fields),)

    def describe(self) -> Mapping[str, Any]:
        """Return the mode."""
        return {"step": "check_images", "mode": self.mode}


def _problem(field: str, payload: bytes, mode: ImageCheck) -> str | None:
    if kind_of(field) == "json":
        try:
            parse_json(payload)
        except DecodeError as error:
            return str(error)
    if not is_image(field):
        return None
    problem = signature_problem(field, payload[:SIGNATURE_BYTES])
    return problem or (decode_problem(field, payload) if mode == "decode" else None)
