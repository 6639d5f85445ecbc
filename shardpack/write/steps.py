"""The steps that the options of `shardpack.pack` ask for, in the order in which a sample passes through them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from shardpack.codecs.encode import versions_for
from shardpack.errors import MissingDependencyError, OptionError
from shardpack.sources.image_check import ImageCheck
from shardpack.write.apply_steps import Application
from shardpack.write.check_step import CheckImages
from shardpack.write.compress_fields import CompressFields
from shardpack.write.image_step import ImageStep, stored_names
from shardpack.write.select_fields import SelectFields
from shardpack.write.transform import Pipeline, RenameKeys, Step
from shardpack.write.user_transform import UserTransform

_ENCODED = ("png", "npz", "msgpack", "json.zst")  # one field for each library that encodes values


@dataclass(frozen=True, slots=True)
class PackSteps:
    """What happens to samples.

    Attributes:
        transform: The function of the user, or None.
        images: How images are resized and encoded, or None.
        select: Which fields stay, and under which names; None for all, under theirs. Changes no payload.
        compress: Which fields are compressed; perhaps none.
        sample_timeout: Seconds that a sample may take; None for any time.
    """

    transform: UserTransform | None
    images: ImageStep | None
    select: SelectFields | None
    compress: CompressFields
    sample_timeout: float | None = None

    @classmethod
    def of(
        cls,
        *,
        transform: Callable[..., Any] | None = None,
        transform_version: str | None = None,
        decode: Any = False,
        images: ImageStep | None = None,
        fields: Any = None,
        rename_field: Any = None,
        compress: Mapping[str, str] | None = None,
        sample_timeout: float | None = None,
        seed: int | None = None,
    ) -> PackSteps:
        """Return the steps of these options, as `shardpack.pack` takes them; `images` stands for those of images.

        Raises:
            OptionError: An option is wrong, or means nothing without another one.
        """
        for name, is_given in (("transform_version", transform_version is not None), ("decode", decode is not False)):
            if is_given and transform is None:
                raise OptionError(f"{name} is for a transform; pass transform= as well, or leave it out")
        user = None
        if transform is not None:
            user = UserTransform.of(transform, version=transform_version, decode=decode, seed=seed or 0)
        select = SelectFields.parse(fields, rename_field)
        if images is not None and select is not None and select.fields is not None:
            images = replace(images, wanted=frozenset(select.fields))
        found = cls(
            user,
            images,
            select,
            CompressFields.parse(compress),
            _seconds(sample_timeout),
        )
        if sample_timeout is not None and not found.change_payloads:
            raise OptionError("sample_timeout is for payloads that change while they are packed; leave it out")
        return found

    @property
    def change_payloads(self) -> bool:
        """Whether sizes are not known before the steps have run."""
        return self.transform is not None or self.images is not None or bool(self.compress.by_field)

    def check_fields(self, fields: Collection[str]) -> None:
        """Raise if an option names a field that no sample has, as it may be misspelt, or is for images without any.

        What a function of the user makes is not known, so with one nothing is checked.

        Args:
            fields: All fields of the source.

        Raises:
            OptionError: No sample has the field before the step that names it.
        """
        if self.transform is not None:
            return
        known = set(fields)
        if self.images is not None:
            if known and not any(map(self.images.may_change, known)):
                raise OptionError(
                    f"no sample has an image to resize or encode: the fields are {', '.join(sorted(fields))}; leave "
                    "out resize and encode, or make images in a transform"
                )
            _check_known(self.images.named(), known, fields)
            known = set().union(*map(stored_names, known))
        if self.select is not None:
            _check_known(self.select.named(), known, fields)
            known = set(self.select.new_names(known).values())
        _check_known(self.compress.by_field, known, fields)

    def application(
        self, *, rename_keys: bool = False, check_images: ImageCheck | None = None, before: Sequence[Step] = ()
    ) -> Application:
        """Return all steps.

        Args:
            rename_keys, check_images: For samples with which that was not done before.
            before: Steps before all others.
        """
        steps: list[Step | None] = [
            *before,
            None if check_images is None else CheckImages(check_images),
            RenameKeys() if rename_keys else None,
            self.transform,
            self.images,
            self.select,
            self.compress if self.compress.by_field else None,
        ]
        return Application(Pipeline(tuple(step for step in steps if step is not None)), self.sample_timeout)

    def recorded(self) -> dict[str, Any]:
        """Return what the manifest keeps, but for what is compressed."""
        transform = None if self.transform is None else dict(self.transform.describe())
        images = {} if self.images is None else self.images.recorded()
        return {"transform": transform, **images, **({} if self.select is None else self.select.recorded())}

    def recorded_versions(self) -> dict[str, str]:
        """Return the versions of the libraries of the built-in steps, for the manifest."""
        images = {} if self.images is None else self.images.versions()
        return {**images, **self.compress.versions()}

    def versions(self) -> dict[str, str]:
        """Return the versions of all libraries that may encode values that the transform returns."""
        return encoder_versions() if self.transform is not None else {}


def encoder_versions() -> dict[str, str]:
    """Return the versions of the libraries that encode values, as far as they are installed."""
    found: dict[str, str] = {}
    for field in _ENCODED:
        with suppress(MissingDependencyError):
            found.update(versions_for({field}))
    return found


def _check_known(named: Iterable[str], known: Collection[str], fields: Collection[str]) -> None:
    if unknown := sorted(set(named).difference(known)):
        raise OptionError(f"no sample has a field {unknown[0]!r}; the fields are {', '.join(sorted(fields))}")


def _seconds(timeout: Any) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < float("inf"):
        raise OptionError(f"sample_timeout is {timeout!r}, expected a number of seconds above 0")
    return float(timeout)
