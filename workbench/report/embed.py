"""Figures and files as data URIs, within a budget of bytes."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from PIL import Image

_DPI = 120
_SHEET_DPI, _LEAST_DPI = 144, 50
_MOST = 16_000  # pixels a side; WebP ends at 16383
_INKS = 128
"""Colours of a line drawing: with them it takes two thirds of the bytes, and looks the same."""


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
    """Embed a line drawing with at most `_INKS` colours; sharp on paper and small in the page."""
    return _picture(figure, _webp(_drawn(figure, _DPI), lossless=True), alt)


def photograph(figure: Figure, alt: str, *, limit: int) -> Picture:
    """Embed a figure full of pictures, as sharp as at most about ``limit`` bytes allow."""
    dpi = min(_SHEET_DPI, _MOST / max(figure.get_size_inches()))
    whole = _drawn(figure, dpi)  # once: to draw it takes longer than to make it smaller
    data = _webp(whole, lossless=False)
    least, share = _LEAST_DPI / dpi, 1.0
    while len(data) > limit and share > least:
        share = max(least, 0.95 * share * (limit / len(data)) ** 0.5)
        width, height = (max(1, round(share * side)) for side in whole.size)
        data = _webp(whole.resize((width, height)), lossless=False)
    return _picture(figure, data, alt)


def download(data: bytes, kind: str, name: str, label: str) -> Download:
    """Embed a file for download under a name that is safe on every system."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "file"
    return Download(safe, data_uri(data, kind), label)


def _picture(figure: Figure, data: bytes, alt: str) -> Picture:
    width, height = figure.get_size_inches() * 96
    return Picture(data_uri(data, "image/webp"), round(width), round(height), alt)


def _drawn(figure: Figure, dpi: float) -> Image.Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # `savefig` draws twice
    pixels = np.asarray(canvas.buffer_rgba())
    height, width = pixels.shape[:2]
    image = Image.frombuffer("RGBA", (width, height), pixels, "raw", "RGBA", 0, 1)
    return image.convert("RGB")


def _webp(image: Image.Image, *, lossless: bool) -> bytes:
    from PIL import Image

    if lossless:
        image = image.quantize(_INKS, dither=Image.Dither.NONE).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", lossless=lossless, quality=84, method=4)
    return buffer.getvalue()
