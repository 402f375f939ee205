"""What a public name promises stands in its docstring, which the reference shows.

Protects callers from having to read code for the shape, unit or range of an array.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import griffe
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))
from docstrings import with_fences, with_sections  # noqa: E402

PAGES = sorted((ROOT / "docs" / "reference").glob("*.md"))
PACKAGES = [
    name.removeprefix("workbench").removeprefix(".")
    for page in PAGES
    for name in re.findall(r"^::: ([\w.]+)$", page.read_text("utf-8"), re.M)
]
ARRAYS = re.compile(r"\b(ndarray|NDArray|Tensor|Picture|Maps|Images|Embeddings)\b")


@pytest.fixture(scope="module")
def workbench() -> griffe.Module:
    found = griffe.load("workbench", search_paths=[ROOT], resolve_aliases=True)
    assert isinstance(found, griffe.Module)
    return found


def functions(package: griffe.Object | griffe.Alias) -> Iterator[griffe.Function]:
    """The public functions of a package, and the public methods of its public classes."""
    for name in package.exports or ():
        member = package[str(name)]
        item = member.final_target if member.is_alias else member
        if isinstance(item, griffe.Function):
            yield item
        elif isinstance(item, griffe.Class):
            for method in item.members.values():
                if isinstance(method, griffe.Function) and not method.name.startswith("_"):
                    yield method


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_function_says_what_it_does(workbench: griffe.Module, name: str) -> None:
    package = workbench[name] if name else workbench
    bare = [item.path for item in functions(package) if not item.docstring]
    assert not bare


@pytest.mark.parametrize("name", PACKAGES)
def test_arrays_are_described(workbench: griffe.Module, name: str) -> None:
    """A docstring names every array, says a shape, or refers to another ("As `…`")."""
    package = workbench[name] if name else workbench
    silent = []
    for item in functions(package):
        told = item.docstring.value if item.docstring else ""
        if item.parent and item.parent.is_class and item.parent.docstring:
            told += item.parent.docstring.value
        if "×" not in told and not told.startswith("As `"):
            silent += [
                f"{item.path}({parameter.name})"
                for parameter in item.parameters
                if ARRAYS.search(str(parameter.annotation)) and parameter.name not in told
            ]
    assert not silent


def test_described_parameters_become_sections() -> None:
    told = "Does it.\n\na, b: both. c: a third,\n    told at length.\nother: prose."
    assert with_sections(told, {"a", "b", "c"}, "Args") == (
        "Does it.\n\nother: prose.\n\n"
        "Args:\n    a: both.\n    b: both.\n    c: a third,\n        told at length."
    )


def test_sections_that_are_there_are_kept() -> None:
    told = "Does it.\n\nArgs:\n    a, b: both.\n    c: one\n        more."
    assert with_sections(told, {"a", "b", "c"}, "Args") == (
        "Does it.\n\nArgs:\n    a: both.\n    b: both.\n    c: one\n            more."
    )


def test_docstrings_without_descriptions_stay_as_they_are() -> None:
    told = "Does it.\n\nnote: x.\n\n```yaml\na: 1\n```"
    assert with_sections(told, {"a"}, "Args") == told


def test_examples_become_code() -> None:
    told = "Does it.\n\n>>> f(1)\n[1,\n 2]\n>>> f(2)\n2\n\nMore.\n\n>>> f(3)\n3"
    assert with_fences(told) == (
        "Does it.\n\n```pycon\n>>> f(1)\n[1,\n 2]\n>>> f(2)\n2\n```\n\nMore.\n\n"
        "```pycon\n>>> f(3)\n3\n```\n"
    )
