"""Figures and files as data URIs, within a budget of bytes."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass

from matplotlib.figure import Figure

from workbench.plots import to_png

_DPI = 120
_SHEET_DPI = (144, 120, 104, 84, 66, 50)
_MOST = 16_000  # pixels a side; WebP ends at 16383


@dataclass(frozen=True)
class Picture:
    """A figure in the page.

    uri: its bytes. width, height: in CSS pixels at full size. alt: what it shows, for those who
    cannot see it.
    """

    uri: str
    width: int
    height: int
    alt: str


@dataclass(frozen=True)
class Download:
    """A small file carried inside the page."""

    name: str
    uri: str
    label: str


def data_uri(data: bytes, kind: str) -> str:
    """Return ``data`` as a data URI of the media type ``kind``."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def drawing(figure: Figure, alt: str) -> Picture:
    """Embed a line drawing, without loss; sharp on paper and small in the page."""
    return _picture(figure, _webp(figure, _DPI, lossless=True), alt)


def photograph(figure: Figure, alt: str, *, limit: int) -> Picture:
    """Embed a figure full of pictures, at most about ``limit`` bytes: the sharpest below them."""
    data = b""
    for dpi in _SHEET_DPI:
        if max(figure.get_size_inches()) * dpi > _MOST:
            continue
        data = _webp(figure, dpi, lossless=False)
        if len(data) <= limit:
            break
    return _picture(figure, data, alt)


def download(data: bytes, kind: str, name: str, label: str) -> Download:
    """Embed a file for download under a name that is safe on every system."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "file"
    return Download(safe, data_uri(data, kind), label)


def _picture(figure: Figure, data: bytes, alt: str) -> Picture:
    width, height = figure.get_size_inches() * 96
    return Picture(data_uri(data, "image/webp"), round(width), round(height), alt)


def _webp(figure: Figure, dpi: int, *, lossless: bool) -> bytes:
    from PIL import Image

    image = Image.open(io.BytesIO(to_png(figure, dpi=dpi)), formats=("PNG",)).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", lossless=lossless, quality=84, method=4)
    return buffer.getvalue()
