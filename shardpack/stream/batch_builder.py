"""`BatchBuilder`: makes one batch, from the samples of a step to stacked arrays.

    sample --decode--> fields --transform--> fields            `build_item(i)`: any thread, any order
    images of known size are decoded into the batch itself     each i once
    all items --replace bad ones--> --stack--> batch           `build()`: once, after all of them

It has no threads of its own: `stream/loader.py` decides which thread builds which item. Different `i` write to
different memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from shardpack.codecs.collate import stacked
from shardpack.codecs.decode import ArrayDecoder, Decoder, ImageDecoder
from shardpack.errors import DecodeError, OptionError
from shardpack.order.permutation import derive_key
from shardpack.read.sample import Sample
from shardpack.stream.options import Fields, FieldsTransform

_INTO_ROWS = (ArrayDecoder, ImageDecoder)  # decode into rows of the batch, which has their memory
_SEED_PURPOSE = 64  # of `derive_key`: no order of order/permutation.py has this number


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """How samples become batches.

    Attributes:
        fields: The fields of a batch; the value of a sample that lacks one is None.
        decoders: Decoders by field; other fields stay bytes.
        transform: Applied to the decoded fields of each sample, or None.
        skip: Whether bad samples are skipped instead of raised.
        replace: Whether a skipped sample is replaced by a good one of its batch; otherwise it is left out.
        seed: Makes the seed of the transform, with the epoch and the position of the sample.
        epoch: The epoch of the stream.
    """

    fields: tuple[str, ...]
    decoders: Mapping[str, Decoder]
    transform: FieldsTransform | None
    skip: bool
    replace: bool
    seed: int
    epoch: int


@dataclass(slots=True)
class BatchBuilder:
    """Makes one batch.

    Attributes:
        spec: How samples become batches.
        samples: The samples of the step; each is dropped once it is decoded.
        items: Each sample's fields, or the error that it raised.
        out_rows: By field, the array of the batch into which items are decoded; only where its shape is known.
        skipped: (key, reason) of the bad samples, after `build`.
    """

    spec: BatchSpec
    samples: list[Sample | None]
    items: list[Fields | Exception | None] = field(init=False)
    out_rows: dict[str, Any] = field(init=False)
    skipped: list[tuple[str, str]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        count = len(self.samples)
        self.items = [None] * count
        self.out_rows = {}
        if self.spec.transform is None:  # a transform may give other shapes, so its results are stacked
            for name, decode in self.spec.decoders.items():
                first = self.samples[0] if self.samples else None
                if first is None or name not in first or not isinstance(decode, _INTO_ROWS):
                    continue
                if (out_rows := decode.out_rows(count, first[name])) is not None:
                    self.out_rows[name] = out_rows

    def build_item(self, i: int) -> None:
        """Decode and transform one sample; `build` raises its error, if any."""
        sample, self.samples[i] = self.samples[i], None  # its payloads are not needed any more
        assert sample is not None
        try:
            self.items[i] = self._transformed(sample, self._decoded(sample, i))
        except DecodeError as error:
            named = self.items[i] = DecodeError(error.args[0], key=sample.key)
            named.__cause__ = error.__cause__
        except Exception as error:  # noqa: BLE001 -- raised by `build`, in the consumer's thread
            self.items[i] = error

    def _decoded(self, sample: Sample, i: int) -> Fields:
        fields: Fields = {"__key__": sample.key}
        for name, payload in sample.items():
            decode = self.spec.decoders.get(name)
            if type(payload) is memoryview and not isinstance(decode, ArrayDecoder):
                payload = bytes(payload)  # noqa: PLW2901 -- only arrays are read where they are
            if name in self.out_rows:
                assert isinstance(decode, _INTO_ROWS)
                fields[name] = decode(payload, self.out_rows[name][i, ...])
            else:
                fields[name] = payload if decode is None else decode(payload)
        return fields

    def _transformed(self, sample: Sample, fields: Fields) -> Fields:
        transform = self.spec.transform
        if transform is None:
            return fields
        which = (sample.position,) if sample.source is None else (sample.position, sample.source)
        fields["__seed__"] = derive_key(self.spec.seed, self.spec.epoch, _SEED_PURPOSE, *which)
        result = transform(fields)
        if not isinstance(result, Mapping):
            raise OptionError(f"transform gave a {type(result).__name__}, expected a dict of fields", key=sample.key)
        return {"__key__": sample.key, **{name: value for name, value in result.items() if name != "__seed__"}}

    def build(self) -> dict[str, Any]:
        """Return the batch.

        Raises:
            DecodeError: A sample is bad and not skipped, or all samples are bad.
            Exception: The transform raised it; the error of the first such sample.
        """
        bad = {i: made for i, made in enumerate(self.items) if isinstance(made, Exception)}
        for error in bad.values():
            if not (self.spec.skip and isinstance(error, DecodeError)):
                raise error
        if len(bad) == len(self.items):
            first = bad[0]
            raise DecodeError(f"none of the {len(bad)} samples of a batch is good; the first: {first}") from first
        rows = self._rows(bad)
        if bad:
            self.skipped = [(str(getattr(error, "key", "")), str(error.args[0])) for error in bad.values()]
            self.out_rows = {name: out_rows[rows] for name, out_rows in self.out_rows.items()}
        return self._collated([made for i in rows if isinstance(made := self.items[i], dict)])

    def _rows(self, bad: Mapping[int, Exception]) -> list[int]:
        """Return which sample each row holds: in place of a bad one, the next good one, cyclically."""
        count = len(self.items)
        if not self.spec.replace:
            return [i for i in range(count) if i not in bad]
        return [next(j % count for j in range(i, i + count) if j % count not in bad) for i in range(count)]

    def _collated(self, rows: list[Fields]) -> dict[str, Any]:
        names = ("__key__", *self.spec.fields) if self.spec.transform is None else dict.fromkeys(chain(*rows))
        return {name: self._column(name, [fields.get(name) for fields in rows]) for name in names}

    def _column(self, name: str, values: list[Any]) -> Any:
        decode = self.spec.decoders.get(name)
        if name not in self.out_rows or not isinstance(decode, _INTO_ROWS):
            return stacked(values)
        if any(value is None for value in values):
            return [None if value is None else decode.finished(value) for value in values]
        if isinstance(decode, ArrayDecoder) and not all(value.base is self.out_rows[name] for value in values):
            return stacked(values)  # the first had another shape than some other
        return decode.finished(self.out_rows[name])
