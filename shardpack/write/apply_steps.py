"""Run the steps of a pipeline on samples, one by one: each has an outcome, and a bad one costs only itself.

Built-in steps run in this process. A function of the user runs in another one, as does everything with a time limit:
it may hang, or end its process, and is then known by its sample (`runtime/guard.py`).
"""

from __future__ import annotations

import queue
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, NoReturn

from shardpack.codecs.encode import encode_field
from shardpack.errors import MissingDependencyError, OptionError, ShardpackError, SourceError
from shardpack.runtime.child import WorkerTraceback
from shardpack.runtime.guard import Guard, Lost
from shardpack.runtime.threads import Threads
from shardpack.write.transform import ENCODED, Counts, KeyedFields, Pipeline
from shardpack.write.user_transform import UserTransform

_AT_ONCE = 8  # samples that a thread takes
_ADDRESS = re.compile(r" (?:object )?at 0x[0-9a-fA-F]+(?=>)")  # in texts of libraries: "<_io.BytesIO object at 0x7f25>"
_BYTES_SENT = 1 << 20  # to a guarded process at once, or one sample that is larger


class Made(NamedTuple):
    """What became of a sample: bytes to write, under any number of keys, and what the steps counted."""

    samples: list[KeyedFields]
    counts: Counts


class Failure(NamedTuple):
    """Why a sample cannot be written, in one line.

    Attributes:
        reason: The line.
        trace: The traceback, or nothing.
        is_question: Whether an option can answer it; the reason then names that.
    """

    reason: str
    trace: str = ""
    is_question: bool = False


Outcome = Made | Failure


@dataclass(frozen=True, slots=True)
class Application:
    """How samples are transformed. Pickles.

    Attributes:
        pipeline: The steps.
        sample_timeout: Seconds that a sample may take; None for any time.
    """

    pipeline: Pipeline
    sample_timeout: float | None = None

    @property
    def is_guarded(self) -> bool:
        """Whether samples are transformed in a process of their own."""
        users = any(isinstance(step, UserTransform) for step in self.pipeline.steps)
        return users or self.sample_timeout is not None


def apply_steps(pipeline: Pipeline, sample: KeyedFields) -> Outcome:
    """Return what becomes of one sample.

    Raises:
        MissingDependencyError: The run cannot go on as it was asked for.
    """
    counts: Counts = Counts()
    key, fields = sample
    try:
        made = [(new_key, encoded_fields(new_fields, counts)) for new_key, new_fields in pipeline(key, fields, counts)]
    except MissingDependencyError:
        raise
    except Exception as error:  # noqa: BLE001 - a problem of this sample, whatever a library raises
        return failure_of(error)
    return Made(made, counts)


def failure_of(error: Exception) -> Failure:
    """Return the failure that an error is; the sample is named when it is reported.

    Its reason may be stored with the dataset, so it is the same in any process: without addresses of objects.
    """
    said = str(error.args[0]) if isinstance(error, ShardpackError) else f"{type(error).__name__}: {error}"
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return Failure(_ADDRESS.sub("", said), trace, isinstance(error, OptionError))


def encoded_fields(fields: Mapping[str, Any], counts: Counts) -> Mapping[str, Any]:
    """Return the fields with all values encoded, and counted as `ENCODED` says.

    Raises:
        SourceError: A field cannot store its value.
        MissingDependencyError: A field needs a library that is not installed.
    """
    if all(type(value) is bytes for value in fields.values()):
        return fields
    return {name: _encoded(name, value, counts) for name, value in fields.items()}


def _encoded(name: Any, value: Any, counts: Counts) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        counts[f"{ENCODED}{name}"] += 1
    try:
        return encode_field(name, value)
    except OptionError as error:  # it is this sample's value
        raise SourceError(str(error.args[0])) from error


class Applier:
    """Transforms batches of samples, in this process or in guarded ones. A context manager; use it in one thread."""

    def __init__(self, application: Application, *, parallel: int = 1) -> None:
        """Transform with these steps.

        Args:
            application: The steps.
            parallel: How many samples are transformed at once: in threads, or in guarded processes.
        """
        self.application, self.parallel = application, parallel
        self._guards: queue.SimpleQueue[Guard] = queue.SimpleQueue()
        if application.is_guarded:
            for _ in range(parallel):
                guard = Guard(
                    apply_steps, application.pipeline, prepare=_load, timeout_seconds=application.sample_timeout
                )
                self._guards.put(guard)
        # The threads stay as long as the processes that they start, which the system would end with them.
        self._threads = Threads(parallel, purpose="transform") if parallel > 1 else None

    def __enter__(self) -> Applier:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the threads and the guarded processes. Safe to call twice."""
        if self._threads is not None:
            self._threads.close()
        while not self._guards.empty():
            self._guards.get().close()

    def outcomes(self, samples: Sequence[KeyedFields]) -> Iterator[Outcome]:
        """Yield the outcome of each sample, in order. Raises as `apply_steps`."""
        if self._threads is None:
            yield from self._outcomes(samples)
            return
        parts = [samples[i : i + _AT_ONCE] for i in range(0, len(samples), _AT_ONCE)]
        for future in [self._threads.start(lambda part: list(self._outcomes(part)), part) for part in parts]:
            yield from future.result()

    def _outcomes(self, samples: Sequence[KeyedFields]) -> Iterator[Outcome]:
        if not self.application.is_guarded:
            for sample in samples:
                yield apply_steps(self.application.pipeline, sample)
            return
        guard = self._guards.get()
        try:
            for first, stop in _parts(samples):
                yield from _guarded(guard, samples[first:stop])
        finally:
            self._guards.put(guard)


def _load(pipeline: Pipeline) -> None:
    """Load the function of the user, with all that it imports; if that fails, its first call says so."""
    for step in pipeline.steps:
        if isinstance(step, UserTransform):
            with suppress(Exception):
                step.load()


def _parts(samples: Sequence[KeyedFields]) -> Iterator[tuple[int, int]]:
    """Yield (first, stop) of samples that are sent to a guarded process at once; it may make them many times larger."""
    first = num_bytes = 0
    for number, (_, fields) in enumerate(samples):
        num_bytes += sum(len(value) for value in fields.values() if isinstance(value, bytes))
        if num_bytes > _BYTES_SENT:
            yield first, number + 1
            first, num_bytes = number + 1, 0
    if first < len(samples):
        yield first, len(samples)


def _guarded(guard: Guard, samples: Sequence[KeyedFields]) -> Iterator[Outcome]:
    while samples:
        found = guard.run(samples)
        if not isinstance(found, Lost):
            yield from found
            return
        yield from _guarded(guard, samples[: found.number])  # their results were lost with the process
        yield Failure(f"transform {found.reason}")
        samples = samples[found.number + 1 :]


def raise_failure(failure: Failure, *, key: str | None, path: str | None = None) -> NoReturn:
    """Raise the error that ends a run at a sample.

    Raises:
        OptionError: It is not clear what to do with the sample; the message names the options that say so.
        SourceError: It fails.
    """
    skip = "leave such samples out with on_error='skip' (--on-error skip)"
    cause = WorkerTraceback(failure.trace) if failure.trace else None
    if failure.is_question:
        raise OptionError(f"{failure.reason}, or {skip}", key=key, path=path) from cause
    raise SourceError(
        f"{failure.reason}; correct the sample or the transform, or {skip}", key=key, path=path
    ) from cause
