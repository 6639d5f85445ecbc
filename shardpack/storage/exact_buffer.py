"""Bytes that are received in place: filled piece by piece, returned as `bytes` without a copy."""

from __future__ import annotations

from io import BytesIO


class ExactBuffer:
    """`length` bytes to be filled through `view`, from any threads. Not to be written to after `take`.

    `BytesIO` works on the bytes object that only it holds, and returns that very object: the one
    way to fill `bytes` in place that Python offers. Fresh memory is zero by the system's hand.
    """

    def __init__(self, length: int) -> None:
        self._file = BytesIO(bytes(length))
        self.view = self._file.getbuffer()

    def take(self) -> bytes:
        """Return what was written; ends `view`."""
        self.view.release()
        return self._file.getvalue()
