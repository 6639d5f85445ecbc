"""Memory that is filled piece by piece and then returned as `bytes` without a copy."""

from __future__ import annotations

from io import BytesIO


class ExactBuffer:
    """`length` bytes, filled through `view` by any number of threads; not after `finish`.

    `BytesIO` works on a bytes object that only it holds, and returns that very object: the only way in Python to
    fill `bytes` in place. The system provides fresh memory already zeroed.
    """

    def __init__(self, length: int) -> None:
        self._file = BytesIO(bytes(length))
        self.view = self._file.getbuffer()

    def finish(self) -> bytes:
        """Return the bytes and release `view`."""
        self.view.release()
        return self._file.getvalue()
