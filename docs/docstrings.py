"""Reads the docstrings of this project for the reference.

In them a parameter or field is described by a line of its own, `name: what it is`, without the
heading that Google's style wants, and examples stand where they help. This extension of griffe puts
in the headings, and the fences around examples.
"""

from __future__ import annotations

import re
from typing import Any

import griffe


def with_sections(text: str, names: set[str], heading: str) -> str:
    """The docstring with all that describes one of `names` in one section.

    text: the docstring. Several names may share one description (`a, b: both`), and one line may
        hold several.
    heading: "Args" or "Attributes"; what already stands under either is kept.
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
        elif line not in ("Args:", "Attributes:"):
            inside = False
            prose.append(line)
    if not found:
        return text
    head = "\n".join(prose).rstrip()
    return f"{head}\n\n{heading}:\n" + "\n".join(found)


def with_fences(text: str) -> str:
    """The docstring with every example (from `>>>` to the next empty line) as a code block."""
    return re.sub(
        r"^>>> (?:.+\n?)+", lambda m: f"```pycon\n{m[0].rstrip()}\n```\n", text, flags=re.M
    )


class Sections(griffe.Extension):
    """Applies `with_sections` and `with_fences` to every docstring of the package."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = with_fences(obj.docstring.value)

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        if func.docstring:
            names = {parameter.name.lstrip("*") for parameter in func.parameters}
            func.docstring.value = with_sections(func.docstring.value, names, "Args")

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        if cls.docstring:
            init = cls.members.get("__init__")
            given = init.parameters if isinstance(init, griffe.Function) else ()
            names = {parameter.name.lstrip("*") for parameter in given}
            fields = {name for name, member in cls.members.items() if member.is_attribute}
            text = with_sections(cls.docstring.value, names, "Args")
            cls.docstring.value = with_sections(text, fields - names, "Attributes")
