"""Lists as people write them: "0..1.6 step 0.4" for numbers, "pictures/*.png" for sources."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from workbench.images import SUFFIXES
from workbench.study.errors import QUOTED
from workbench.study.labels import is_map, is_scene, path_of

MOST = 10_000
"""So many numbers or files one range may stand for."""
RANGE_ALLOWED = "a range (0..1.6 step 0.4)"
_NUMBER = r"(?:\d{1,9}(?:\.\d{1,6})?|\.\d{1,6})"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*(?:step\s+({_NUMBER})\s*)?")


def list_numbers(value: Any) -> Any:
    """As `expand_numbers`, for the fields of a study, where a number in quotes is no number."""
    if isinstance(value, str) and re.fullmatch(_NUMBER, value.strip()):
        raise ValueError(f"{value!r} {QUOTED}")
    return expand_numbers(value)


def expand_numbers(value: Any) -> Any:
    """The numbers that a text, or the texts of a list, stand for; anything else as it is.

    "0..1.6 step 0.4" is 0, 0.4, 0.8, 1.2, 1.6: both ends belong to it if the steps meet them.
    Without a step, which only whole ends can do, it is 1. Texts with commas are several. ValueError
    for a range that runs backwards, or stands still, or is too long.

    >>> expand_numbers("0..1.6 step 0.4, 2")
    [0.0, 0.4, 0.8, 1.2, 1.6, 2.0]
    >>> expand_numbers([1, "4..6"])
    [1, 4, 5, 6]
    """
    if isinstance(value, str):
        parts = value.split(",")
        found = [number for part in parts for number in _numbers(part)]
        whole = all(isinstance(number, int) for number in found)
        return found if whole else [float(number) for number in found]
    if not isinstance(value, list | tuple) or not any(
        isinstance(item, str) and _RANGE.fullmatch(item) for item in value
    ):
        return value
    return [
        number for item in value for number in (_numbers(item) if isinstance(item, str) else [item])
    ]


def expand_seeds(value: Any) -> Any:
    """As `list_numbers`; a single number is how many seeds there are: 1, 2, 3, …

    >>> expand_seeds(3)
    [1, 2, 3]
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MOST:
            raise ValueError(f"{value} is how many seeds? From 1 to {MOST:,}, or a list of them")
        return list(range(1, value + 1))
    return list_numbers(value)


def expand_sources(value: Any, folder: Path) -> Any:
    """Sources with the files that a pattern stands for, in the order of their names.

    value: what a study says of its sources. folder: what paths are relative to. Only pictures are
    taken; a pattern that is a file's own name stands for that file. ValueError for a pattern that
    no picture fits.
    """
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        return value
    return [source for item in value for source in _files(item, folder)]


def with_sources(data: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """A study's data with its patterns of sources written out; errors as `expand_sources`."""
    if "sources" not in data:
        return data
    return {**data, "sources": expand_sources(data["sources"], folder)}


def _files(item: Any, folder: Path) -> Iterable[Any]:
    if not isinstance(item, str) or is_scene(item) or not re.search(r"[*?]", path_of(item)):
        return [item]
    pattern = path_of(item).strip()
    if (folder / pattern).is_file():
        return [item]
    place = Path(pattern)
    root = Path(place.anchor) if place.is_absolute() else folder
    inside = str(place.relative_to(place.anchor)) if place.is_absolute() else pattern
    try:
        found = sorted(
            path for path in root.glob(inside) if path.suffix.lower() in SUFFIXES and path.is_file()
        )
    except ValueError as error:
        raise ValueError(f'"{pattern[:60]}" is no pattern of files ({error})') from None
    if not found:
        raise ValueError(f'"{pattern[:60]}" fits no picture in {root}')
    if len(found) > MOST:
        raise ValueError(f'"{pattern[:60]}" fits more than {MOST:,} pictures')
    names = [path if place.is_absolute() else path.relative_to(folder) for path in found]
    return [("map:" if is_map(item) else "") + name.as_posix() for name in names]


def _numbers(text: str) -> list[Any]:
    single = re.fullmatch(rf"\s*({_NUMBER})\s*", text)
    if single:
        return [_plain(Decimal(single[1]))]
    found = _RANGE.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text.strip()[:40]}" is no number and no range like 0..1.6 step 0.4')
    low, high, step = Decimal(found[1]), Decimal(found[2]), Decimal(found[3] or 1)
    if low > high or step == 0:
        raise ValueError(f'"{text.strip()[:40]}" must rise: write 0..1.6 step 0.4')
    if not found[3] and "." in found[1] + found[2]:
        raise ValueError(f'"{text.strip()[:40]}" has no step: write 0..1.6 step 0.4')
    if (high - low) / step >= MOST:
        raise ValueError(f'"{text.strip()[:40]}" is more than {MOST:,} numbers')
    return [_plain(low + step * i) for i in range(int((high - low) / step) + 1)]


def _plain(number: Decimal) -> int | float:
    return int(number) if number == number.to_integral_value() else float(number)
