"""What entries are to samples, by their keys."""

from __future__ import annotations

import pytest

from shardpack.sources.formats.lmdb_layout import shape_of


@pytest.mark.parametrize(
    ("keys", "shape", "prefixes"),
    [
        ([b"0001", b"0002"], "entries", ()),
        ([b"a.jpg", b"b.jpg"], "entries", ()),
        ([b"a.jpg", b"a.json", b"b.jpg"], "fields", ()),
        ([b"a.jpg", b"a.json", b"b"], "entries", ()),
        ([b"image-1", b"image-2", b"label-1", b"label-2"], "numbered", (b"image", b"label")),
        ([b"image-1", b"image-2"], "entries", ()),
        ([b"image-1", b"image-2", b"label-1"], "entries", ()),
        ([b"256-00001", b"256-00002"], "entries", ()),
        ([b"\xff\0", b"\xff\1"], "entries", ()),
        ([*(b"p%c-1" % (97 + i) for i in range(20))], "entries", ()),
        ([], "entries", ()),
    ],
)
def test_keys_tell_the_shape(keys, shape, prefixes):
    assert shape_of(keys) == (shape, prefixes)
