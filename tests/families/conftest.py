"""The tiny family on disk, once for all tests of this folder."""

from tiny_shelf import models, shelf

__all__ = ["models", "shelf"]
