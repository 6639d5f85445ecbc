"""`BatchBuilder`: makes one batch, from the samples of a step to stacked arrays.

    arrays that are stored alike are found                     when it is made
    sample --decode--> fields --transform--> fields            `build_items(run)`: any thread, any order
    images of known size are decoded into the batch itself     each sample once
    arrays stored alike are copied there, a run in one call
    all items --replace bad ones--> --stack--> batch           `build()`: once, after all of them

It has no threads of its own: `stream/loader.py` decides which thread builds which items. Different samples write to
different memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from shardpack.codecs.arrays import RowCopies
from shardpack.codecs.collate import Empty, stacked
from shardpack.codecs.crop import Frame, frame_key
from shardpack.codecs.decode import ArrayDecoder, Decoder, ImageDecoder, LabelDecoder, needs_frame
from shardpack.codecs.framed_labels import follow_frame
from shardpack.codecs.image_options import ImageOptions
from shardpack.errors import DecodeError, OptionError
from shardpack.order.permutation import derive_key
from shardpack.read.sample import Sample
from shardpack.runtime.words import a_type
from shardpack.stream.options import Fields, FieldsTransform

_INTO_ROWS = (ArrayDecoder, ImageDecoder)  # decode into rows of the batch, which has their memory
_SEED_PURPOSE = 64  # of `derive_key`: no order of order/permutation.py has this number, nor a crop


class _InRow:
    """Stands for a value that was decoded into its row of the batch."""


_IN_ROW = _InRow()


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """How samples become batches.

    Attributes:
        fields: The fields of a batch; the value of a sample that lacks one is None.
        decoders: Decoders by field; other fields stay bytes.
        transform: Applied to the decoded fields of each sample, or None.
        skip: Whether bad samples are skipped instead of raised.
        replace: Whether a skipped sample is replaced by a good one of its batch; otherwise it is left out.
        seed: Decides about crops and makes the seed of the transform, with the epoch and the position of the sample.
        epoch: The epoch of the stream.
        images: How images are decoded; says whether they are cropped, mirrored or resized.
        empty: Makes the memory of batches.
    """

    fields: tuple[str, ...]
    decoders: Mapping[str, Decoder]
    transform: FieldsTransform | None
    skip: bool
    replace: bool
    seed: int
    epoch: int
    images: ImageOptions = field(default_factory=ImageOptions)
    empty: Empty = np.empty


@dataclass(slots=True)
class BatchBuilder:
    """Makes one batch.

    Attributes:
        spec: How samples become batches.
        samples: The samples of the step; each is dropped once it is decoded.
        items: Each sample's fields, or the error that it raised.
        out_rows: By field, the array of the batch into which items are decoded; only where its shape is known.
        copies: By field, how arrays are copied into `out_rows`; only where all are stored alike.
        framed: Whether images are decoded with a `Frame`.
        skipped: (key, reason) of the bad samples, after `build`.
    """

    spec: BatchSpec
    samples: list[Sample | None]
    items: list[Fields | Exception | None] = field(init=False)
    out_rows: dict[str, Any] = field(init=False)
    copies: dict[str, RowCopies] = field(init=False)
    framed: bool = field(init=False)
    skipped: list[tuple[str, str]] = field(init=False, default_factory=list)

    def __len__(self) -> int:
        return len(self.samples)

    def __post_init__(self) -> None:
        self.items = [None] * len(self.samples)
        self.out_rows, self.copies = {}, {}
        self.framed = needs_frame(self.spec.decoders, self.spec.images)
        samples = [sample for sample in self.samples if sample is not None]  # all: they are dropped once decoded
        if self.spec.transform is None and samples:  # a transform may give other shapes, so its results are stacked
            for name, decode in self.spec.decoders.items():
                if isinstance(decode, _INTO_ROWS) and name in samples[0]:
                    self._make_rows(name, decode, samples)
        if self.copies:
            in_rows = dict.fromkeys(self.copies, _IN_ROW)
            for i, sample in enumerate(samples):
                if len(sample) == len(in_rows):  # nothing else is decoded
                    self.items[i], self.samples[i] = {"__key__": sample.key, **in_rows}, None

    def _make_rows(self, name: str, decode: ArrayDecoder | ImageDecoder, samples: list[Sample]) -> None:
        out_rows = decode.out_rows(len(samples), samples[0][name], self.spec.empty)
        if out_rows is None:
            return
        self.out_rows[name] = out_rows
        if isinstance(decode, ArrayDecoder) and not self.framed and all(name in sample for sample in samples):
            copies = decode.row_copies([sample[name] for sample in samples], out_rows)
            if copies is not None:
                self.copies[name] = copies

    def build_items(self, run: range) -> None:
        """Decode and transform some samples that follow one another; `build` raises their errors, if any."""
        for copies in self.copies.values():
            copies.copy(run)
        for i in run:
            if self.items[i] is None:
                self._build_item(i)

    def _build_item(self, i: int) -> None:
        sample, self.samples[i] = self.samples[i], None  # its payloads are not needed any more
        assert sample is not None
        try:
            self.items[i] = self._transformed(sample, self._decoded(sample, i))
        except DecodeError as error:
            named = self.items[i] = DecodeError(error.args[0], key=sample.key)
            named.__cause__ = error.__cause__
        except Exception as error:  # noqa: BLE001 -- raised by `build`, in the consumer's thread
            if isinstance(error, OptionError) and error.key is None:
                error.key = sample.key
            self.items[i] = error

    def _decoded(self, sample: Sample, i: int) -> Fields:
        fields: Fields = {"__key__": sample.key, **sample}
        decoders = self.spec.decoders
        if not self.framed:
            for name, payload in sample.items():
                fields[name] = _IN_ROW if name in self.copies else self._value(name, payload, i, None)
            return fields
        frame = self.spec.images.frame(frame_key(self.spec.seed, self.spec.epoch, *sample.drawn_as))
        images = {name: payload for name, payload in sample.items() if isinstance(decoders.get(name), ImageDecoder)}
        for name, payload in images.items():  # first, since labels follow them
            fields[name] = self._value(name, payload, i, frame)
        for name, payload in sample.items():
            if name in images:
                continue
            value = fields[name] = self._value(name, payload, i, frame)
            decode = decoders.get(name)
            if isinstance(decode, LabelDecoder):
                fields[name] = follow_frame(name, value, bytes(payload), frame)
            elif isinstance(decode, ArrayDecoder):
                follow_frame(name, self.out_rows[name][i] if value is _IN_ROW else value, b"", frame)
        return fields

    def _value(self, name: str, payload: Any, i: int, frame: Frame | None) -> Any:
        """Return a decoded payload, or `_IN_ROW` if it was decoded into its row."""
        decode = self.spec.decoders.get(name)
        if type(payload) is memoryview and not isinstance(decode, ArrayDecoder):
            payload = bytes(payload)  # only arrays are read where they are
        if decode is None:
            return payload
        rows = self.out_rows.get(name)
        if rows is None:
            return decode(payload, None, frame) if isinstance(decode, ImageDecoder) else decode(payload)
        out = rows[i, ...]
        if isinstance(decode, ImageDecoder):
            value = decode(payload, out, frame)
        else:
            assert isinstance(decode, ArrayDecoder)
            value = decode(payload, out)
        return _IN_ROW if value is out else value

    def _transformed(self, sample: Sample, fields: Fields) -> Fields:
        transform = self.spec.transform
        if transform is None:
            return fields
        fields["__seed__"] = derive_key(self.spec.seed, self.spec.epoch, _SEED_PURPOSE, *sample.drawn_as)
        result = transform(fields)
        if not isinstance(result, Mapping):
            raise OptionError(f"transform gave {a_type(result)}, expected a dict of fields", key=sample.key)
        return {"__key__": sample.key, **{name: value for name, value in result.items() if name != "__seed__"}}

    def build(self) -> dict[str, Any]:
        """Return the batch.

        Raises:
            DecodeError: A sample is bad and not skipped, or all samples are bad.
            Exception: The transform raised it; the error of the first such sample.
        """
        self.copies.clear()  # what they copied from is not needed any more
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
        if not bad:
            return list(range(count))
        if not self.spec.replace:
            return [i for i in range(count) if i not in bad]
        return [next(j % count for j in range(i, i + count) if j % count not in bad) for i in range(count)]

    def _collated(self, rows: list[Fields]) -> dict[str, Any]:
        names = ("__key__", *self.spec.fields) if self.spec.transform is None else dict.fromkeys(chain(*rows))
        return {name: self._column(name, [fields.get(name) for fields in rows]) for name in names}

    def _column(self, name: str, values: list[Any]) -> Any:
        rows, decode = self.out_rows.get(name), self.spec.decoders.get(name)
        if rows is None or not isinstance(decode, _INTO_ROWS):
            return stacked(values, self.spec.empty)
        if all(value is _IN_ROW for value in values):
            return decode.finished(rows)
        # Some sample lacks the field, or has an array of another shape than the first.
        own = [decode.finished(row) if value is _IN_ROW else value for row, value in zip(rows, values, strict=True)]
        return stacked(own, self.spec.empty)
