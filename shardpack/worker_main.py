"""The child's side of `workers.py`: serve functions until the parent closes the pipe.

A module of its own, because the package imports `workers` and Python warns of a module that is
both imported and run.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from typing import IO


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Serve requests until the parent closes the pipe. Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            function, task = pickle.load(requests)
        except EOFError:
            return
        try:
            answer = (True, function(task))
        except Exception as error:  # noqa: BLE001 - travels to the parent, which raises it
            answer = (False, error)
        pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


if __name__ == "__main__":
    # Whatever prints must not disturb the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, answers)
