"""Picture files that are built to keep a reader busy, told by their structure alone.

Pillow walks the parts of a file in Python, a decoder goes once over all pixels for every scan of a
progressive JPEG, and run lengths of a BMP are unpacked in Python: a small file can take minutes.
No camera, scanner or program for pictures writes such files.
"""

from __future__ import annotations

import re
import struct

MAX_PARTS = 20_000
"""Chunks of a PNG, segments of a JPEG, entries of a TIFF's list of tags."""
MAX_JUNK = 64 * 2**10
"""Bytes between the segments of a JPEG that belong to none."""
MAX_SCANNED = 800_000_000
"""Pixels of a JPEG times its scans: 10 for colour and 18 for CMYK are usual."""
MAX_TAG_VALUES = 100_000
MAX_RLE_BYTES = 256 * 2**10
MAX_WEBP_PIXELS = 24_000_000

_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
_SIZES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_BYTE_TYPES = frozenset({1, 2, 6, 7})
_TIFF_JPEG = frozenset({6, 7})


def decompression_bomb(data: bytes) -> str:
    """Why reading this picture file would take far too long, or "" if it would not.

    Takes the bytes of a file of any kind. Broken structure is no reason: the decoder finds it.
    """
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png(data)
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)
        if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
            return _tiff(data)
        if data.startswith(b"BM"):
            return _bmp(data)
    except struct.error:  # cut short
        return ""
    return ""


def most_pixels(kind: str | None, limit: int) -> int:
    """How many pixels a picture of a kind ("PNG", …) may have where `limit` holds for all kinds.

    The decoder of WebP keeps whole canvases side by side and takes twice as long as the others.
    """
    return min(limit, MAX_WEBP_PIXELS) if kind == "WEBP" else limit


def _png(data: bytes) -> str:
    position, count = 8, 0
    while position + 8 <= len(data):
        count += 1
        if count > MAX_PARTS:
            return f"has more than {MAX_PARTS} chunks"
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    return ""


def _jpeg(data: bytes) -> str:
    position, segments, scans, junk, pixels = 2, 0, 0, 0, 0
    while found := _MARKER.search(data, position):
        marker = found[1][0]
        segments += 1
        if scans == 0:  # after a scan's header its coded pixels lie between the segments
            junk += found.end() - 2 - position
        position = found.end()
        if marker == 0xD9:
            break
        if segments > MAX_PARTS:
            return f"has more than {MAX_PARTS} segments"
        if junk > MAX_JUNK:
            return "has long stretches of bytes that mean nothing"
        if marker in (0x01, 0xD8):
            continue
        pixels = max(pixels, _jpeg_pixels(marker, data, position))
        if marker == 0xDA:
            scans += 1
            if scans * pixels > MAX_SCANNED:
                return f"has more than {scans - 1} scans over its {pixels} pixels"
        position += struct.unpack_from(">H", data, position)[0]
    if scans == 0 and len(data) - position > MAX_JUNK:
        return "has long stretches of bytes that mean nothing"
    return ""


def _jpeg_pixels(marker: int, data: bytes, position: int) -> int:
    """How many pixels a segment promises; 0 for one that tells no size."""
    height, width = struct.unpack_from(">HH", data, position + 3) if marker in _SIZES else (0, 0)
    return int(height * width)


def _tiff(data: bytes) -> str:
    order = "<" if data.startswith(b"II") else ">"
    if data[2:4] in (b"+\0", b"\0+"):
        (start,) = struct.unpack_from(f"{order}Q", data, 8)
        head, entry = f"{order}Q", f"{order}HHQ8s"
    else:
        (start,) = struct.unpack_from(f"{order}L", data, 4)
        head, entry = f"{order}H", f"{order}HHL4s"
    if start >= len(data):
        return ""
    (count,) = struct.unpack_from(head, data, start)
    if count > MAX_PARTS:
        return f"has more than {MAX_PARTS} tags"
    position = start + struct.calcsize(head)
    for _ in range(count):
        tag, kind, values, inline = struct.unpack_from(entry, data, position)
        position += struct.calcsize(entry)
        if values > MAX_TAG_VALUES and kind not in _BYTE_TYPES:
            return f"has more than {MAX_TAG_VALUES} values in one tag"
        if tag == 259 and struct.unpack_from(f"{order}H", inline)[0] in _TIFF_JPEG:
            return "is a TIFF with JPEG data inside, which is not read"
    return ""


def _bmp(data: bytes) -> str:
    size, compression = struct.unpack_from("<I", data, 14)[0], 0
    if size >= 40:
        (compression,) = struct.unpack_from("<I", data, 30)
    if compression in (1, 2) and len(data) > MAX_RLE_BYTES:
        return f"has run lengths of more than {MAX_RLE_BYTES // 1024} KiB"
    return ""
