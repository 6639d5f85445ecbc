"""Words of messages: `an int`, `a dict`."""

from __future__ import annotations

_SPOKEN_AS_VOWELS = ("a", "e", "i", "o", "nd")


def a_type(value: object) -> str:
    """Return what messages call a value of a wrong type: its type, as in `an int` and `a dict`."""
    return with_article(type(value).__name__)


def with_article(word: str) -> str:
    """Return a word with `a` or `an` before it, as it is spoken: `an avif`, `an ndarray`, but `a uint8`."""
    return f"{'an' if word.lower().startswith(_SPOKEN_AS_VOWELS) else 'a'} {word}"
