"""Figures and files as data URIs, within a budget of bytes."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from workbench.plots import DARK, LIGHT, Theme, to_png, to_svg

Draw = Callable[[Theme], Figure]
"""Draws one figure in a theme."""

_SHEET_DPI = (144, 120, 104, 84, 66, 50)


@dataclass(frozen=True)
class Picture:
    """A figure in the page.

    light, dark: data URIs; ``dark`` is empty where the light one serves both looks.
    width, height: in CSS pixels at full size. alt: what it shows, for those who cannot see it.
    """

    light: str
    dark: str
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


def drawing(draw: Draw, alt: str, *, both: bool = True) -> Picture:
    """Embed a line drawing as SVG, in both themes or in the light one only."""
    figure = draw(LIGHT)
    light = data_uri(to_svg(figure), "image/svg+xml")
    dark = data_uri(to_svg(draw(DARK)), "image/svg+xml") if both else ""
    return _picture(figure, light, dark, alt)


def photograph(draw: Draw, alt: str, *, limit: int, both: bool = True) -> Picture:
    """Embed a figure full of pictures as WebP, each theme of at most about ``limit`` bytes."""
    figure = draw(LIGHT)
    light = data_uri(_webp(figure, limit), "image/webp")
    dark = data_uri(_webp(draw(DARK), limit), "image/webp") if both else ""
    return _picture(figure, light, dark, alt)


def download(data: bytes, kind: str, name: str, label: str) -> Download:
    """Embed a file for download under a name that is safe on every system."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "file"
    return Download(safe, data_uri(data, kind), label)


def _picture(figure: Figure, light: str, dark: str, alt: str) -> Picture:
    width, height = figure.get_size_inches() * 96
    return Picture(light, dark, round(width), round(height), alt)


def _webp(figure: Figure, limit: int) -> bytes:
    """The sharpest version below the limit; the coarsest if all are above it."""
    from PIL import Image

    data = b""
    for dpi in _SHEET_DPI:
        image = Image.open(io.BytesIO(to_png(figure, dpi=dpi)), formats=("PNG",)).convert("RGB")
        if max(image.size) > 16000:  # WebP ends at 16383
            continue
        buffer = io.BytesIO()
        image.save(buffer, format="WEBP", quality=84, method=4)
        data = buffer.getvalue()
        if len(data) <= limit:
            break
    return data
