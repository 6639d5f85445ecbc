"""Small ICC profiles (ICC.1:2010), made here: colour spaces whose conversion to sRGB can be computed by hand."""

from __future__ import annotations

import struct

# Columns to PCS XYZ (D50) of the primaries.
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
WHITE = (0.9642, 1.0, 0.8249)


def _xyz(*values):
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _gamma(value):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256)) + b"\0\0"


def _description(text):
    return b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text.encode() + b"\0" + bytes(78)


def _profile(space, tags, pcs=b"XYZ ", kind=b"mntr"):
    tags = {b"cprt": b"text\0\0\0\0none\0", b"wtpt": _xyz(*WHITE), **tags}
    table, data, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", at + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    size = at + len(data)
    header = struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x02100000, kind, space, pcs)
    header += bytes(12) + b"acsp" + bytes(28) + b"".join(struct.pack(">i", round(v * 65536)) for v in WHITE)
    return header + bytes(128 - len(header)) + table + data


def rgb_profile(primaries=ADOBE, gamma=2.2, name="test RGB"):
    channels = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), (_xyz(*primary) for primary in primaries), strict=True))
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _gamma(gamma))
    return _profile(b"RGB ", {b"desc": _description(name), **channels, **curves})


def grey_profile(gamma=1.0):
    return _profile(b"GRAY", {b"desc": _description("test grey"), b"kTRC": _gamma(gamma)})


def cmyk_profile(ink_of_black=(40, 128, 128)):
    """Each ink turns white paper into Lab grey; black ink alone into `ink_of_black`."""
    identity = bytes(range(256))
    grid = b""
    for corner in range(16):
        inks = [corner >> shift & 1 for shift in (3, 2, 1, 0)]
        grid += bytes(ink_of_black if inks[3] else (255 - 60 * sum(inks[:3]), 128, 128))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0])
    lut += b"".join(struct.pack(">i", value) for value in (65536, 0, 0, 0, 65536, 0, 0, 0, 65536))
    lut += identity * 4 + grid + identity * 3
    return _profile(b"CMYK", {b"desc": _description("test CMYK"), b"A2B0": lut}, b"Lab ", b"prtr")
