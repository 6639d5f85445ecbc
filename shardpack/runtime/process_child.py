"""The child's side of `processes.py`: run functions until the parent closes the pipe or dies.

A frame is a length (8 bytes, little-endian) and a pickle. The parent sends requests (function, task, whether the
function takes `advance`), with None for the function of the request before. The child sends any number of (None,
amount, ""), then one answer: (True, result, "") or (False, error, traceback).
"""

from __future__ import annotations

import os
import pickle
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from typing import IO, Any

from shardpack.runtime.worker import serve

_LENGTH_BYTES = 8

_newest: list[Callable[..., Any]] = []  # the function of the newest request that had one


def write_frame(pipe: IO[bytes], content: bytes) -> None:
    """Write a frame and flush the pipe."""
    pipe.write(len(content).to_bytes(_LENGTH_BYTES, "little"))
    pipe.write(content)
    pipe.flush()


def read_frame(pipe: IO[bytes]) -> bytes:
    """Return the next frame.

    Raises:
        EOFError: The other side closed the pipe.
    """
    length = int.from_bytes(_read_exactly(pipe, _LENGTH_BYTES), "little")
    return _read_exactly(pipe, length)


def _read_exactly(pipe: IO[bytes], length: int) -> bytes:
    content = pipe.read(length)
    if len(content) < length:
        raise EOFError
    return content


def main() -> None:
    """Serve this process's standard input, answering on its standard output."""
    try:
        os.fstat(2)
    except OSError:  # the parent has no standard error
        os.open(os.devnull, os.O_WRONLY)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # printed output must not mix with the answers
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=partial(_let_go, answers.fileno()))
    serve()
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin.buffer, requests), daemon=True).start()
    while True:
        write_frame(answers, _answer(requests.get(), partial(_advance, answers)))


def _let_go(answers: int) -> None:
    """Give up both pipes in a process that a task has forked: after this one's end, the parent would wait for its."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, answers, inheritable=False)
    os.close(nowhere)


def _receive(pipe: IO[bytes], requests: queue.SimpleQueue[bytes]) -> None:
    """Queue requests. Runs in its own thread, so that the death of the parent ends this process immediately."""
    while True:
        try:
            requests.put(read_frame(pipe))
        except (EOFError, OSError):
            os._exit(1)


def _advance(answers: IO[bytes], amount: int) -> None:
    write_frame(answers, pickle.dumps((None, amount, ""), pickle.HIGHEST_PROTOCOL))


def _answer(request: bytes, advance: Callable[[int], None]) -> bytes:
    try:
        sent, task, takes_advance = pickle.loads(request)
        if sent is not None:
            _newest[:] = [sent]
        (function,) = _newest
        result = function(task, advance) if takes_advance else function(task)
        return pickle.dumps((True, result, ""), pickle.HIGHEST_PROTOCOL)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - sent to the parent, which raises it
        return _failure(error)


def _failure(error: BaseException) -> bytes:
    trace = traceback.format_exc()
    try:
        answer = pickle.dumps((False, error, trace), pickle.HIGHEST_PROTOCOL)
        pickle.loads(answer)
    except Exception:  # noqa: BLE001 - an error that cannot be pickled is sent as text
        described = RuntimeError(f"{type(error).__name__}: {error}")
        answer = pickle.dumps((False, described, trace), pickle.HIGHEST_PROTOCOL)
    return answer
