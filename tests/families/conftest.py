"""The tiny family on disk, once for all tests of this folder."""

from tiny_manager import manager, models

__all__ = ["manager", "models"]
