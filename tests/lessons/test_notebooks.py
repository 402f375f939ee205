"""Each lesson is one text in two files, and keeps what every lesson promises its readers.

Protects a class from a notebook that says something else than its source, or states what it does
not check. That the notebooks run is tested by running them.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("lesson_*.ipynb"))


def cells(name: str) -> list[tuple[str, str]]:
    """(kind, text) of every cell."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def test_every_source_has_a_notebook() -> None:
    sources = sorted(path.stem for path in NOTEBOOKS.glob("lesson_*.py"))
    assert sources == NAMES != []


@pytest.mark.parametrize("name", NAMES)
def test_notebook_and_source_are_one(name: str) -> None:
    """After a change of one: `jupytext --sync notebooks/lesson_*.ipynb`."""
    jupytext = pytest.importorskip("jupytext")
    written = jupytext.read(NOTEBOOKS / f"{name}.py")
    assert [(cell.cell_type, cell.source) for cell in written.cells] == cells(name)


@pytest.mark.parametrize("name", NAMES)
def test_no_output_is_kept(name: str) -> None:
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


@pytest.mark.parametrize("name", NAMES)
def test_one_import_is_enough(name: str) -> None:
    code = "\n".join(text for kind, text in cells(name) if kind == "code")
    found = [n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in found] == ["import workbench as wb"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_to_be_checked_is_checked(name: str) -> None:
    """The code right above sentences with ✓ asserts."""
    above = ""
    for kind, text in cells(name):
        if kind == "code":
            above = text
            continue
        told = len(re.findall("^✓", text, re.M))
        tested = sum(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(above)))
        assert told == 0 or tested > 0, text[:80]
        above = ""


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_has_its_words_and_exercises_with_folded_answers(name: str) -> None:
    text = "\n".join(text for kind, text in cells(name) if kind == "markdown")
    assert "> **Words of this lesson**" in text and "Deutsch" in text and "中文" in text
    exercises = text.split("## Exercises")[1]
    asked = len(re.findall(r"^\*\*\d+\.\*\*", exercises, re.M))
    folded = re.findall(r"<details><summary>Answer</summary>\n\n.+?\n\n</details>", exercises, re.S)
    assert asked == len(folded) >= 3
