"""Small ICC profiles, made by hand: D50 white, curves and primaries."""

from __future__ import annotations

import struct


def grey_profile(gamma: float) -> bytes:
    """A grey ICC profile of 2.1: D50 white and a curve."""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    curve = b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(gamma * 256))
    tags = struct.pack(">I4sII4sII", 2, b"wtpt", 156, 20, b"kTRC", 176, 16)
    kinds = (b"lcms", 0x02100000, b"mntr", b"GRAY", b"XYZ ", b"acsp")
    head = struct.pack(">I4sI4s4s4s12x4s", 192, *kinds)
    head = head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + tags + white + curve


def linear_profile() -> bytes:
    """An RGB ICC profile of 2.1 with the primaries of sRGB and a gamma of 1."""
    curve = b"curv\0\0\0\0" + struct.pack(">I", 0)
    points = [(63190, 65536, 54061), (28576, 14579, 912), (25237, 46985, 6363), (9377, 3972, 46792)]
    blocks = [b"XYZ \0\0\0\0" + struct.pack(">3i", *point) for point in points]
    names = [b"wtpt", b"rXYZ", b"gXYZ", b"bXYZ"]
    start = 128 + 4 + 12 * 7
    tags = struct.pack(">I", 7)
    for number, name in enumerate(names):
        tags += struct.pack(">4sII", name, start + 20 * number, 20)
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        tags += struct.pack(">4sII", name, start + 80, 12)
    kinds = (b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    head = struct.pack(">I4sI4s4s4s12x4s", start + 92, *kinds).ljust(68, b"\0")
    head = (head + struct.pack(">3i", *points[0])).ljust(128, b"\0")
    return head + tags + b"".join(blocks) + curve
