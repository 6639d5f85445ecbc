"""What values are is told by their first bytes and their types."""

from __future__ import annotations

import pytest

from shardpack.sources.formats.row_values import extension_of, key_text, plain_value

JPEG, PNG = b"\xff\xd8\xff\xe0 one", b"\x89PNG\r\n\x1a\n two"


@pytest.mark.parametrize(
    ("payload", "extension"),
    [
        (JPEG, "jpg"),
        (PNG, "png"),
        (b"GIF89a", "gif"),
        (b"RIFF\0\0\0\0WEBP", "webp"),
        (b"RIFF\0\0\0\0WAVE", "wav"),
        (b"\0\0\0\x20ftypavif", "avif"),
        (b"\0\0\0\x20ftypheic", "heic"),
        (b"\0\0\0\x20ftypisom", "mp4"),
        (b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0", "bmp"),
        (b"BMW is a text", None),
        (b"P6\n2 2\n255\n", "ppm"),
        (b"P4 2 2\n", "pbm"),
        (b"P2\n2 2\n9\n", "pgm"),
        (b"P5.5 is a text", None),
        (b"\x93NUMPY\x01\0", "npy"),
        (b"fLaC", "flac"),
        (b"", None),
        (b"a text", None),
    ],
)
def test_first_bytes_name_a_payload(payload, extension):
    assert extension_of(payload) == extension


@pytest.mark.parametrize(
    ("value", "key"),
    [("a/b.JPG", "a/b"), ("/a.png", "a"), ("./a.b.jpg", "a.b"), (r"a\b.jpg", "a/b"), (7, "7"), (b"x.jpg", "x"),
     ("", None),
     (True, None), (1.5, None), (".jpg", ".jpg"), (["one.png"], "one")],
)  # fmt: skip
def test_paths_become_keys(value, key):
    assert key_text(value) == key


def test_values_are_what_json_holds():
    assert plain_value([b"a"]) == plain_value("a") == "a"
    assert plain_value([float("nan")], unwrap=False) == [None]
