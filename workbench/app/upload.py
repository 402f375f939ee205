"""A picture of one's own, given by its page in pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from workbench.formats import mebibytes
from workbench.images import MAX_BYTES, MAX_PIXELS, SUFFIXES

LIMITS = (
    f"PNG, JPEG, WebP, BMP, TIFF: up to {MAX_BYTES // 2**20} MB and {MAX_PIXELS // 10**6} million "
    "pixels"
)
"""What is said before anybody chooses a file."""


class Upload(anywidget.AnyWidget):
    """A button that takes one picture file, which can be dropped or pasted there too.

    take: called with the name and the bytes of a file that has come. refuse: with a sentence about
    one that is too large, which is not sent at all.
    """

    _esm = Path(__file__).with_name("upload.js")
    _css = Path(__file__).with_name("upload.css")
    accept = traitlets.Unicode(",".join(SUFFIXES)).tag(sync=True)
    limit = traitlets.Int(MAX_BYTES).tag(sync=True)
    said = traitlets.Unicode(LIMITS).tag(sync=True)

    def __init__(
        self, take: Callable[[str, bytes], object], refuse: Callable[[str], object]
    ) -> None:
        super().__init__()
        self._take, self._refuse = take, refuse
        self._coming: tuple[object, bytearray] = (None, bytearray())
        self.on_msg(self._heard)

    def _heard(self, _: Any, message: Mapping[str, Any], buffers: Sequence[Any]) -> None:
        name, size = str(message.get("name", "")), message.get("size")
        if not isinstance(size, int) or size > self.limit:
            has = f"has {mebibytes(size)}" if isinstance(size, int) else "is too large"
            self._refuse(f"{name} {has}, more than the {mebibytes(self.limit)} that are allowed")
            return
        if message.get("at") == 0:
            self._coming = (message.get("of"), bytearray())
        number, file = self._coming
        if number != message.get("of") or message.get("at") != len(file):
            return  # another file was begun meanwhile
        for buffer in buffers:
            file += bytes(buffer)
        if len(file) >= size:
            self._coming = (None, bytearray())
            self._take(name, bytes(file[:size]))
