"""`UserTransform`: a function of the user as a step. It gets the fields of a sample and returns those to write.

{"jpg": b"...", "json": b"...", "__key__": "cat/0001", "__seed__": 2891336453}  ->  fields, None, or a list of fields
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from xxhash import xxh3_64_intdigest

from shardpack.codecs.decode import can_decode, decode_field
from shardpack.errors import OptionError, SourceError
from shardpack.format.naming import key_problem
from shardpack.order.permutation import SAMPLE_SEED, derive_key
from shardpack.runtime.functions import dump_function, load_function
from shardpack.runtime.words import a_type
from shardpack.write.callable_source import describe_callable
from shardpack.write.transform import Counts, Fields, KeyedFields

KEY, SEED = "__key__", "__seed__"  # what a sample has beside its fields
Decode = bool | Sequence[str]

_SEED_BITS = 32  # NumPy's older generators take no more


@dataclass(frozen=True, slots=True)
class UserTransform:
    """The step. Made by `of`, in the process that has the function; called in others.

    Attributes:
        dumped: The function; see `runtime/functions.py`.
        described: What it is; see `callable_source.py`.
        decode: Which fields it gets decoded: some names, or all that can be.
        seed: Seed of the run; each sample's own seed depends on it and on the key.
    """

    dumped: bytes = field(repr=False)
    described: Mapping[str, Any]
    decode: bool | tuple[str, ...] = False
    seed: int = 0

    @classmethod
    def of(
        cls, function: Callable[..., Any], *, version: str | None = None, decode: Decode = False, seed: int = 0
    ) -> UserTransform:
        """Return the step that calls a function.

        Args:
            function: Called with a dict.
            version: Text that stands for what it does; None hashes its source.
            decode: Names of the fields to decode; True for all that have a decoder.
            seed: Any integer.

        Raises:
            OptionError: It cannot be called or sent to another process, or it has no source and no version.
        """
        if not callable(function):
            raise OptionError(f"transform is {function!r}, expected a function of a dict of fields")
        if version is not None and not isinstance(version, str):
            raise OptionError(f"transform_version is {version!r}, expected a text")
        described = {"version": version} if version is not None else describe_callable(function)
        return cls(dump_function(function, called="transform"), described, as_decode(decode), seed)

    def describe(self) -> Mapping[str, Any]:
        """Return the version, or hash of the source, of the function, and what it gets."""
        decode = list(self.decode) if isinstance(self.decode, tuple) else self.decode
        return {"step": "transform", **self.described, "decode": decode, "seed": self.seed}

    def __call__(self, key: str, fields: Fields, _: Counts, /) -> Iterable[KeyedFields]:
        """Return the samples that the function returns.

        Raises:
            DecodeError: A field cannot be decoded.
            SourceError: The function raised, or returned something else than samples.
        """
        payloads = {name: value for name, value in fields.items() if isinstance(value, (bytes, memoryview))}
        decoded = {name: decode_field(name, payload) for name, payload in payloads.items() if self._decodes(name)}
        given = {**fields, **decoded, KEY: key, SEED: self.seed_of(key)}
        try:
            made = self.load()(given)
            return [
                (new_key, {name: _unchanged(name, value, fields, decoded) for name, value in new_fields.items()})
                for new_key, new_fields in _samples(key, made)
            ]
        except SourceError:
            raise
        except (Exception, SystemExit) as error:
            raise SourceError(f"transform raised {type(error).__name__}: {error}") from error

    def load(self) -> Callable[[dict[str, Any]], Any]:
        """Return the function."""
        return _loaded(self.dumped)

    def _decodes(self, name: str) -> bool:
        return name in self.decode if isinstance(self.decode, tuple) else self.decode and can_decode(name)

    def seed_of(self, key: str) -> int:
        """Return the seed of a sample, an integer of 32 bits: the same in every process."""
        return derive_key(SAMPLE_SEED, self.seed, xxh3_64_intdigest(key.encode())) >> (64 - _SEED_BITS)


def as_decode(decode: Any) -> bool | tuple[str, ...]:
    """Return which fields are decoded.

    Raises:
        OptionError: It is neither true or false, nor names of fields.
    """
    if isinstance(decode, bool):
        return decode
    if isinstance(decode, str) or not isinstance(decode, Sequence) or not all(isinstance(name, str) for name in decode):
        raise OptionError(f"decode is {decode!r}, expected True, or names of fields such as ['json']")
    for name in decode:
        if not can_decode(name):
            raise OptionError(f"decode names {name!r}, which has no decoder; leave it out")
    return tuple(decode)


@lru_cache(maxsize=2)
def _loaded(dumped: bytes) -> Callable[[dict[str, Any]], Any]:
    return load_function(dumped)


def _samples(key: str, made: Any) -> Iterable[KeyedFields]:
    """Yield (key, fields) of what the function returned for the sample `key`."""
    if made is None:
        return
    if isinstance(made, Mapping):
        yield _sample(key, key, made)
    elif isinstance(made, (list, tuple)):
        for number, one in enumerate(made):
            if not isinstance(one, Mapping):
                raise SourceError(f"transform returned a list with {a_type(one)}, expected a list of dicts")
            yield _sample(key, f"{key}-{number}", one)
    else:
        raise SourceError(
            f"transform returned {a_type(made)}, expected a dict of fields, None to drop the sample, or a "
            "list of dicts to make several"
        )


def _sample(key: str, usual_key: str, made: Mapping[str, Any]) -> KeyedFields:
    """Return a sample under its usual key, unless the function has changed it."""
    chosen = made.get(KEY, key)
    if not isinstance(chosen, str):
        raise SourceError(f"transform returned {a_type(chosen)} as {KEY!r}, expected a str")
    if chosen != key and (problem := key_problem(chosen)):  # keys of the source are renamed before; these are not
        raise SourceError(
            f"transform returned the unsafe key {chosen!r} as {KEY!r}: {problem}; return printable ASCII without "
            "blanks, with no dot behind the last slash"
        )
    fields = {name: value for name, value in made.items() if name not in (KEY, SEED)}
    return usual_key if chosen == key else chosen, fields


def _unchanged(name: str, value: Any, fields: Fields, decoded: Mapping[str, Any]) -> Any:
    """Return the stored bytes if a decoded value comes back as it was: nothing is encoded again without need."""
    if name in decoded and value is decoded[name] and _alike(value, decode_field(name, fields[name])):
        return fields[name]
    return value


def _alike(value: Any, fresh: Any) -> bool:
    """Return whether a decoded value, which the function may have changed in place, still is what was decoded."""
    if hasattr(value, "tobytes"):  # an image or an array
        facts = ("mode", "size", "shape", "dtype", "info")
        same = all(getattr(value, fact, None) == getattr(fresh, fact, None) for fact in facts)
        return same and value.tobytes() == fresh.tobytes() and _palette(value) == _palette(fresh)
    if isinstance(value, Mapping) and any(hasattr(part, "tobytes") for part in value.values()):  # npz
        return value.keys() == fresh.keys() and all(_alike(value[part], fresh[part]) for part in value)
    return bool(value == fresh)


def _palette(value: Any) -> Any:
    return value.getpalette() if getattr(value, "mode", "") == "P" else None
