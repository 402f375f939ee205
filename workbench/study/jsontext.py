"""Reading JSON that a stranger may have written: limits of size and depth."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

MAX_VALUES = 500_000
MAX_DEPTH = 50
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_json(data: bytes, most: int = MAX_VALUES, *, foreign: bool = False) -> Any:
    """The value that JSON text in UTF-8 says. Everything else raises ValueError.

    So do values that this program writes into no file: NaN, infinity, halves of characters, and
    more than about `most` values and keys. With `foreign` NaN and infinity, which other programs
    write, are None.
    """
    if sum(map(data.count, (b",", b"[", b"{"))) > most:
        raise ValueError(f"it has more than {most:,} values")
    try:
        value = json.loads(data, parse_constant=_nothing if foreign else _refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for holder in level
            if isinstance(holder, dict | list)
            for item in (holder.values() if isinstance(holder, dict) else holder)
            if isinstance(item, dict | list)
        ]
    if level:
        raise ValueError("it is nested too deeply")
    if _SURROGATE.search(data):
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _nothing(_: str) -> None:
    return None


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no value in JSON")
