"""Which of equal edits goes on in a bucket, where no lock keeps the others out: the one that began last."""

from __future__ import annotations

import secrets

from shardpack.commit.edit_folder import CLAIM
from shardpack.commit.target import Target


class Claim:
    """The claim of one run to the folder of its edit; without need of one, it is always held, and costs nothing."""

    def __init__(self, target: Target, *, is_needed: bool) -> None:
        self._target, self._is_needed = target, is_needed
        self._text = secrets.token_hex(8).encode()
        self._path = ""

    def take(self, folder: str) -> bool:
        """Take the folder from whoever has it; return whether there was need to."""
        if self._is_needed:
            self._path = f"{folder}/{CLAIM}"
            self._target.replace(self._path, self._text)
        return self._is_needed

    def is_held(self) -> bool:
        """Return whether no other run has taken the folder. One GET."""
        return not self._path or self._target.read(self._path) == self._text

    def delete(self) -> None:
        """Delete the claim, also that of another run: then nobody goes on."""
        if self._path:
            self._target.delete([self._path])
