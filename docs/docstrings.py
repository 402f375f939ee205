"""Reads the docstrings of this project for the reference.

In them a parameter or field is described by a line of its own, `name: what it is`, without the
heading that Google's style wants. This extension of griffe puts the headings in.
"""

from __future__ import annotations

import re
from typing import Any

import griffe


def with_sections(text: str, names: set[str], heading: str) -> str:
    """The docstring with all that describes one of `names` in one section.

    text: the docstring. Several names may share one description (`a, b: both`), and one line may
        hold several.
    heading: "Args" or "Attributes"; what already stands under it is kept.
    """
    if not names:
        return text
    known = "|".join(map(re.escape, names))
    start = re.compile(rf"(?:^ *|(?<=[.;]) )((?:{known})(?:, (?:{known}))*): ")
    found: list[str] = []
    prose: list[str] = []
    inside = fenced = False
    for line in text.splitlines():
        fenced ^= line.lstrip().startswith("```")
        if not fenced and start.match(line):
            inside = True
            parts = start.split(line)[1:]
            for described, what in zip(parts[::2], parts[1::2], strict=True):
                found += [f"    {name}: {what}" for name in described.split(", ")]
        elif inside and line.startswith("    "):
            found.append(f"    {line}")
        elif line != f"{heading}:":
            inside = False
            prose.append(line)
    if not found:
        return text
    head = "\n".join(prose).rstrip()
    return f"{head}\n\n{heading}:\n" + "\n".join(found)


class Sections(griffe.Extension):
    """Applies `with_sections` to every function and class of the package."""

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        if func.docstring:
            names = {parameter.name.lstrip("*") for parameter in func.parameters}
            func.docstring.value = with_sections(func.docstring.value, names, "Args")

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        if cls.docstring:
            fields = {name for name, member in cls.members.items() if member.is_attribute}
            text = with_sections(cls.docstring.value, fields, "Attributes")
            init = cls.members.get("__init__")
            if isinstance(init, griffe.Function):
                names = {parameter.name.lstrip("*") for parameter in init.parameters}
                text = with_sections(text, names, "Args")
            cls.docstring.value = text
