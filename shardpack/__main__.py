"""`python -m shardpack`, and the installed script: Ctrl-C is answered from the first moment on."""

from __future__ import annotations

import os
import signal
from types import FrameType


def _leave(_: int, __: FrameType | None) -> None:
    os.write(2, b"shardpack: interrupted\n")
    os._exit(130)


def run() -> None:
    """Run the command line, and end the process with its exit code."""
    # Imports take a while, and nothing is at work yet that would have to be undone. Where Ctrl-C is ignored, it
    # stays so.
    waits = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if waits:
        signal.signal(signal.SIGINT, _leave)
    from shardpack.cli import main

    if waits:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main.run()


if __name__ == "__main__":
    run()
