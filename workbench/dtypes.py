"""The number formats that models may compute in, by PyTorch's names for them."""

from __future__ import annotations

from typing import Literal

DtypeName = Literal["float32", "float16", "bfloat16"]
DTYPE_BYTES: dict[str, int] = {"float32": 4, "float16": 2, "bfloat16": 2}
"""Every format that a study may ask for, and the bytes of one number in it."""
