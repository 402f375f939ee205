"""Reading JSON that a stranger may have written: limits of size and depth."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from pydantic_core import from_json

MAX_VALUES = 500_000
MAX_DEPTH = 50
_HOLDERS = (dict, list)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_json(data: bytes, most: int = MAX_VALUES, *, foreign: bool = False) -> Any:
    """The value that JSON text in UTF-8 says. Everything else raises ValueError.

    So do values that this program writes into no file: NaN, infinity, halves of characters, and
    more than about `most` values and keys. With `foreign` NaN and infinity, which other programs
    write, are None.
    """
    opened = data.count(b"[") + data.count(b"{")
    if data.count(b",") + opened > most:
        raise ValueError(f"it has more than {most:,} values")
    try:
        value = from_json(data, allow_inf_nan=False)
    except ValueError:  # the slower reader takes more, and says better what is wrong
        value = _parsed(data, foreign)
    if opened <= MAX_DEPTH:
        return value
    level = [value] if isinstance(value, _HOLDERS) else []
    for _ in range(MAX_DEPTH + 1):
        if not level:
            return value
        level = [
            item
            for holder in level
            for item in (holder.values() if isinstance(holder, dict) else holder)
            if isinstance(item, _HOLDERS)
        ]
    raise ValueError("it is nested too deeply")


def _parsed(data: bytes, foreign: bool) -> Any:
    try:
        value = json.loads(data, parse_constant=_nothing if foreign else _refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if _SURROGATE.search(data):
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _nothing(_: str) -> None:
    return None


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no value in JSON")
