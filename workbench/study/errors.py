"""One exception that carries every problem of a study, and the sentences it is made of."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 4
_SHORT.maxlevel = 2

MAX_SHOWN, MAX_LINE = 30, 500
"""Problems in a message, and characters of one problem."""

_REASONS = {
    "bool_type": "is not true or false",
    "dict_type": "is not a mapping (key: value)",
    "finite_number": "is not a finite number",
    "float_type": "is not a number",
    "greater_than": "is too small",
    "greater_than_equal": "is too small",
    "int_from_float": "is not a whole number",
    "int_type": "is not a whole number",
    "less_than": "is too large",
    "less_than_equal": "is too large",
    "literal_error": "is not known",
    "model_attributes_type": "is not a mapping (key: value)",
    "model_type": "is not a mapping (key: value)",
    "string_pattern_mismatch": "has characters that are not allowed",
    "string_too_long": "is too long",
    "string_too_short": "is empty",
    "string_type": "is not text (put it in quotes)",
    "too_long": "has too many entries",
    "too_short": "is an empty list",
    "tuple_type": "is not a list",
}


QUOTED = "is text to YAML: write the number plainly, without quotes"
_NUMBERS = frozenset({"float_type", "int_type"})


class StudyError(Exception):
    """A study that cannot be used. `problems` holds one sentence for each thing that is wrong.

    Not a ValueError on purpose: pydantic would wrap it and hide the list.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems: tuple[str, ...] = tuple(dict.fromkeys(map(one_line, problems)))
        count = len(self.problems)
        head = "1 problem in the study" if count == 1 else f"{count} problems in the study"
        lines = [f"  - {line}" for line in self.problems[:MAX_SHOWN]]
        if count > MAX_SHOWN:
            lines.append(f"  … and {count - MAX_SHOWN} more")
        super().__init__("\n".join([f"{head}:", *lines]))


def one_line(text: str) -> str:
    """Text that may hold anything, as one printable line of bounded length."""
    if len(text) > MAX_LINE:
        text = f"{text[: MAX_LINE // 2]} … {text[-MAX_LINE // 2 :]}"
    text = " ".join(text.split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def short(value: Any) -> str:
    """A readable, bounded rendering of a value that came from outside."""
    try:
        text = _SHORT.repr(value)
    except ValueError:  # Python writes no integers of more than 4300 digits
        text = "a value that is too long to show"
    return text if len(text) <= 100 else text[:97] + "..."


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """'; did you mean "scales"?' when a known word is close, else nothing."""
    lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), list(lower), n=1, cutoff=0.6)
    return f' (did you mean "{lower[close[0]]}"?)' if close else ""


def problem(field: str, what: str, allowed: str = "") -> str:
    """One sentence: the field, what is wrong with it, what is allowed."""
    return f"{field}: {what}; allowed: {allowed}" if allowed else f"{field}: {what}"


def unknown(field: str, word: str, known: Collection[str], noun: str) -> str:
    """The sentence for a word that is not in the list of known ones."""
    what = f'there is no {noun} "{word}"{did_you_mean(word, known)}'
    return problem(field, what, ", ".join(known) or "none")


def field_path(loc: Sequence[str | int]) -> str:
    """('controls', 0, 'type') -> 'controls[0].type'."""
    path = ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not part.startswith("["):  # pydantic's "[key]", and the forms of an entry
            path += f".{part}" if path else part
    return path or "study"


def structure_problems(
    error: ValidationError,
    *,
    keys: Mapping[str, Collection[str]],
    allowed: Mapping[str, str],
    prefix: str = "",
) -> list[str]:
    """Turn pydantic's errors into sentences.

    `keys` maps a top-level field ("" for the study itself), or one form of its entries ("[pair]"),
    to the keys it may hold; `allowed` maps a field to the text after "allowed:", pydantic's own
    words where it has none.
    """
    lines = []
    for item in error.errors(include_url=False):
        loc = item["loc"]
        top = str(loc[0]) if loc else ""
        path = field_path((prefix, *loc) if prefix else loc)
        kind, value = item["type"], item["input"]
        if kind == "too_short" and value:
            continue  # pydantic counts valid entries only, and each wrong one is named already
        if kind == "extra_forbidden":
            owner = "" if len(loc) < 2 else str(loc[-2])
            known = sorted(keys[owner] if owner in keys else keys.get(top, ()))
            hint = did_you_mean(str(loc[-1]), known)
            lines.append(problem(path, f"unknown key{hint}", ", ".join(known) or "none"))
            continue
        named = (part for part in reversed(loc) if part in allowed)
        text = allowed[str(next(named))] if top in allowed else ""
        if kind == "too_long":
            text = f"up to {item['ctx']['max_length']:,} entries"
        if kind == "missing":
            lines.append(problem(path, "is missing", text))
        elif kind in {"value_error", "assertion_error"}:
            lines.append(problem(path, str(item["ctx"]["error"]), text))
        else:
            quoted = kind in _NUMBERS and isinstance(value, str) and _is_number(value)
            what = f"{short(value)} {QUOTED if quoted else _REASONS.get(kind, 'is not allowed')}"
            if kind == "literal_error" and isinstance(value, str):
                known = [word.strip("'") for word in _literals(item["ctx"]["expected"])]
                what += did_you_mean(value, known)
                text = ", ".join(known)
            lines.append(problem(path, what, text or _lower(item["msg"])))
    return lines


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _literals(expected: str) -> list[str]:
    return expected.replace(" or ", ", ").split(", ")


def _lower(message: str) -> str:
    return message.removeprefix("Input should be ").removeprefix("Value should be ")
