"""Each sample has an outcome: bytes, or why it has none. A function that hangs or ends its process costs its sample."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import pytest

from shardpack.errors import DecodeError, OptionError, SourceError
from shardpack.write.apply_steps import Application, Applier, Failure, Made, apply_steps, raise_failure
from shardpack.write.image_step import ImageStep
from shardpack.write.transform import Counts, Pipeline
from shardpack.write.user_transform import UserTransform


@dataclass(frozen=True)
class Upper:
    """A built-in step for these tests."""

    def __call__(self, key, fields, counts):
        if fields["txt"] == b"stop":
            raise OptionError("that cannot be asked for")
        if fields["txt"] == b"bad":
            counts["upper.done"] += 1
            raise DecodeError("bad payload")
        if fields["txt"] == b"odd":
            raise LookupError("from a library")
        if fields["txt"] == b"hang":
            time.sleep(3600)
        if fields["txt"] == b"end":
            os._exit(5)
        counts["upper.done"] += 1
        return [(key, {"txt": fields["txt"].upper()})]

    def describe(self):
        return {"step": "upper"}


UPPER = Pipeline((Upper(),))


def samples(*texts):
    return [(str(number), {"txt": text.encode()}) for number, text in enumerate(texts)]


def reasons(outcomes):
    return [outcome.reason if isinstance(outcome, Failure) else outcome.samples[0][1]["txt"] for outcome in outcomes]


def test_a_sample_becomes_bytes_and_counts():
    assert apply_steps(UPPER, ("a", {"txt": b"x"})) == Made([("a", {"txt": b"X"})], Counts({"upper.done": 1}))


def test_values_are_encoded_and_counted():
    step = UserTransform.of(lambda _: {"json": {"a": 1}, "txt": "x", "bin": bytearray(b"y")}, version="1")
    made = apply_steps(Pipeline((step,)), ("a", {"bin": b"x"}))
    assert made == Made(
        [("a", {"json": b'{"a":1}', "txt": b"x", "bin": b"y"})], Counts({"encoded.json": 1, "encoded.txt": 1})
    )


@pytest.mark.parametrize(("text", "reason"), [("bad", "bad payload"), ("odd", "LookupError: from a library")])
def test_an_error_is_the_samples_failure(text, reason):
    (failure,) = [apply_steps(UPPER, sample) for sample in samples(text)]
    assert failure.reason == reason
    assert "in __call__" in failure.trace


def _raise_of_object(_):
    raise ValueError(f"bad {object()}")


def test_a_reason_is_the_same_in_any_process():
    step = UserTransform.of(_raise_of_object, version="1")
    assert apply_steps(Pipeline((step,)), ("a", {"bin": b"x"})).reason == "transform raised ValueError: bad <object>"
    reason = apply_steps(Pipeline((ImageStep.parse("short=8"),)), ("a", {"jpg": b"no image"})).reason
    assert reason.endswith("does not decode: Pillow knows no image that begins like this")


def test_a_value_that_cannot_be_stored_is_the_samples_failure():
    step = UserTransform.of(lambda _: {"jpg": {}}, version="1")
    assert "field 'jpg' got a dict" in apply_steps(Pipeline((step,)), ("a", {"bin": b"x"})).reason


def test_a_question_that_an_option_answers_is_one_of_its_sample():
    (outcome,) = [apply_steps(UPPER, sample) for sample in samples("stop")]
    assert (outcome.reason, outcome.is_question) == ("that cannot be asked for", True)
    with pytest.raises(OptionError, match=r"asked for, or leave such samples out with on_error='skip' .* \(key='k'\)$"):
        raise_failure(outcome, key="k")
    assert not apply_steps(UPPER, *samples("bad")).is_question


@pytest.mark.parametrize("timeout", [None, 30.0])
def test_a_bad_sample_costs_only_itself(timeout):
    with Applier(Application(UPPER, timeout)) as applier:
        assert reasons(applier.outcomes(samples("a", "bad", "b"))) == [b"A", "bad payload", b"B"]
        assert list(applier.outcomes([])) == []
        assert reasons(applier.outcomes(samples("a", "stop"))) == [b"A", "that cannot be asked for"]
        assert reasons(applier.outcomes(samples("c"))) == [b"C"]


def test_a_sample_that_hangs_or_ends_the_process_costs_only_itself():
    with Applier(Application(UPPER, 3.0)) as applier:
        assert reasons(applier.outcomes(samples("a", "end", "end", "b", "hang", "c"))) == [
            b"A",
            *["transform ended its process, which ended with exit code 5"] * 2,
            b"B",
            "transform took longer than 3 s",
            b"C",
        ]


def test_functions_of_the_user_and_time_limits_are_guarded():
    user = Pipeline((UserTransform.of(len, version="1"),))
    assert Application(user).is_guarded
    assert Application(UPPER, 3.0).is_guarded
    assert not Application(UPPER).is_guarded


def test_the_error_names_the_sample_and_shows_the_traceback():
    with pytest.raises(
        SourceError, match=r"it failed; correct .* \(--on-error skip\) \(path='a.jpg', key='a'\)"
    ) as caught:
        raise_failure(Failure("it failed", "Traceback ..."), key="a", path="a.jpg")
    assert "Traceback ..." in str(caught.value.__cause__)


@pytest.mark.parametrize("timeout", [None, 30.0])
def test_many_at_once_give_the_same_in_order(timeout):
    texts = [f"{i}" if i % 10 else "bad" for i in range(100)]
    with Applier(Application(UPPER, timeout), parallel=3) as applier:
        found = reasons(applier.outcomes(samples(*texts)))
        assert reasons(applier.outcomes(samples(*texts))) == found
    with Applier(Application(UPPER)) as applier:
        assert found == reasons(applier.outcomes(samples(*texts)))


def test_a_process_that_ends_among_many_costs_one_sample():
    texts = ["end" if i == 20 else f"{i}" for i in range(40)]
    with Applier(Application(UPPER, 30.0), parallel=2) as applier:
        found = reasons(applier.outcomes(samples(*texts)))
        assert found == [f"{i}".encode() if i != 20 else found[20] for i in range(40)]
        assert "exit code 5" in found[20]
        assert reasons(applier.outcomes(samples("a"))) == [b"A"]
