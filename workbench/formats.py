"""Numbers as text for people: one function for each way in which the package writes them; and text
that may be printed.

A minus is the true minus sign, and what is not finite is a dash.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from unicodedata import category

MINUS = "\N{MINUS SIGN}"
DASH = "–"
GB = 1e9
TINY = 1e-12
"""What is no larger is 0 but for rounding in the computer."""


def fixed(value: float, digits: int = 2) -> str:
    """A fixed count of decimals, for columns of a table: "0.40", "−1.25"."""
    if not math.isfinite(value):
        return DASH
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", MINUS)


def number(value: float, digits: int = 2) -> str:
    """At most ``digits`` decimals, and no zeros at the end: "0", "0.4", "1.25"."""
    text = fixed(value, digits)
    return text.rstrip("0").rstrip(".") if "." in text else text


def significant(value: float, digits: int = 3) -> str:
    """So many significant digits, but never fewer than stand before the point: "0.123", "1235"."""
    if not math.isfinite(value):
        return DASH
    text = f"{value:.{digits}g}" if abs(value) < 10 ** (digits - 1) else f"{value:.0f}"
    return text.replace("-", MINUS)


def signed(value: float) -> str:
    """A difference with its sign, at a precision that suits its size: "+0.81", "−3.20"."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.095 else 3
    return f"{value:+.{digits}f}".replace("-", MINUS)


def plain(value: float) -> str:
    """Like `signed`, without a plus sign."""
    return signed(value).lstrip("+")


def ends(low: float, high: float, write: Callable[[float], str] = signed) -> tuple[str, str]:
    """The ends of an interval as `write` writes them, rounded so that the side of 0 stays told.

    An interval that leaves out 0 does not round into it: (0.0003, 0.2) is "+0.0003", "+0.20". One
    that holds 0 does so as text, too, whatever the digits.
    """
    texts = [write(low), write(high)]
    if low * high > 0:
        for place, value in enumerate((low, high)):
            if not any(digit in texts[place] for digit in "123456789") and abs(value) > TINY:
                digits = math.ceil(-math.log10(abs(value)))
                sign = "+" if texts[place].startswith("+") else ""
                texts[place] = f"{value:{sign}.{digits}f}".replace("-", MINUS)
    return texts[0], texts[1]


def duration(seconds: float) -> str:
    """Whole seconds as people say them: "8 s", "3 min 20 s", "1 h 05 min"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def gigabytes(count: float) -> str:
    """Bytes of memory or of a disk, in units of 10^9: "7.6 GB"."""
    return f"{count / GB:.1f} GB"


def mebibytes(count: float) -> str:
    """The size of a file in bytes, in units of 2^20: "32.0 MiB"."""
    return f"{count / 2**20:,.1f} MiB"


def printable(text: str) -> str:
    """A text without what would steer the terminal, which is shown as its escape ("\\x1b").

    Names and reasons come from files that others may have written. Line ends and tabs stay.
    """
    return "".join(
        c if c.isprintable() or c in "\n\t" or category(c) == "Zs" else ascii(c)[1:-1] for c in text
    )
