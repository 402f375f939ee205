"""A lesson as a page: its notebook with results, without a kernel and without a network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

WIDGET = "application/vnd.jupyter.widget-view+json"
_SHOWN = re.compile(r'(?:<div class="wb-still">)?<div class="wb-run" data-run="([^"]*)">')


class LessonError(Exception):
    """A lesson could not be run or read. The message says which, where and why."""


@dataclass(frozen=True)
class LessonPage:
    """A lesson: title, first sentences, and the whole as an HTML document."""

    title: str
    text: str
    html: str


def practised(lesson: Path, folder: Path, tell: Callable[[str], object]) -> Any:
    """The notebook of a lesson with the results of its cells.

    It is run where it lies, once: a copy with results is kept in `folder`, and taken as long as
    its cells are those of the lesson. LessonError if it cannot be read, a cell fails, or the
    kernel dies.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    try:
        notebook: Any = nbformat.read(lesson, as_version=4)
    except (OSError, ValueError) as error:
        raise LessonError(f"{lesson} cannot be read as a notebook: {error}") from None
    kept = folder / lesson.name
    if kept.is_file():
        before: Any = nbformat.read(kept, as_version=4)
        if [cell.source for cell in before.cells] == [cell.source for cell in notebook.cells]:
            return before
    tell(f"Running {lesson}, once; this takes some minutes")
    client = NotebookClient(
        notebook,
        timeout=None,
        resources={"metadata": {"path": lesson.parent}},
        extra_arguments=["--log-level=ERROR"],  # its warnings are about Jupyter itself
    )
    try:
        client.execute()
    except CellExecutionError as error:
        reason = " ".join(f"{error.ename}: {error.evalue}".split()).rstrip(":")
        raise LessonError(f"{lesson} fails in cell {_failed(notebook)}: {reason}") from None
    except DeadKernelError:
        raise LessonError(
            f"{lesson} fails: its kernel died; too little memory is a frequent cause"
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, kept)
    return notebook


def _failed(notebook: Any) -> str:
    """The cell with an error, as Jupyter numbers it, and its first line."""
    for cell in notebook.cells:
        if any(output.output_type == "error" for output in cell.get("outputs", [])):
            return f"[{cell.execution_count}] ({cell.source.strip().splitlines()[0]})"
    return "[?]"


def runs_shown(notebook: Any) -> tuple[str, ...]:
    """The run folders that explorers in a notebook show, as seen from where it lies."""
    return tuple(dict.fromkeys(shown for _, shown in _explorers(notebook)))


def _explorers(notebook: Any) -> Iterator[tuple[Any, str]]:
    """The data of each output that is an explorer, with its run folder."""
    from html import unescape

    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if found := _SHOWN.match("".join(data.get("text/html", ""))):
                yield data, unescape(found[1])


def lesson_page(notebook: Any, pages: Mapping[str, str]) -> LessonPage:
    """A notebook with results as a page that loads nothing but the explorers of its runs.

    Args:
        notebook: as `practised` returns it; it is changed.
        pages: run folder, as in `runs_shown` -> the file of its page.
    """
    from nbconvert.exporters import HTMLExporter

    for data, run in _explorers(notebook):
        data["text/html"] = (
            f'<iframe class="run" title="Explorer of {escape(Path(run).name)}" '
            f'src="{escape(pages[run])}"></iframe>'
        )
    notebook.metadata.pop("widgets", None)  # their scripts would come from a network
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = [one for one in cell.outputs if not _is_bare(one)]
    exporter = HTMLExporter(template_name="basic")
    exporter.register_filter("markdown2html", _markdown)
    body, resources = exporter.from_notebook_node(notebook)
    style = "\n".join(resources["inlining"]["css"]) + _STYLE
    title, text = _heading(notebook)
    return LessonPage(
        title,
        text,
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n"
        f'<p><a href="index.html">All lessons and runs</a></p>\n{body}\n'
        "</main>\n</body>\n</html>\n",
    )


def linked(html: str, pages: Mapping[str, str]) -> str:
    """A page whose links to other notebooks lead to their pages, or are plain text without one.

    pages: file name of a notebook -> the file of its page.
    """

    def link(found: re.Match[str]) -> str:
        page = pages.get(unquote(found[1]))
        return found[2] if page is None else f'<a href="{escape(quote(page))}">{found[2]}</a>'

    return re.sub(r'<a href="([^":/]+\.ipynb)">(.*?)</a>', link, html, flags=re.DOTALL)


def _is_bare(output: Any) -> bool:
    """Whether an output is a widget with nothing to show without it; its mark is taken off."""
    data = output.get("data", {})
    return data.pop(WIDGET, None) is not None and set(data) <= {"text/plain"}


def _markdown(source: str) -> str:
    """HTML of a cell of text; formulas become MathML, which browsers draw themselves.

    Tables may stand in a quotation, as in JupyterLab.
    """
    from latex2mathml.converter import convert
    from mistune.plugins.table import table_in_quote
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        def block_math(self, body: str) -> str:
            return str(convert(body, display="block"))

        def inline_math(self, body: str) -> str:
            return str(convert(body))

    markdown = MarkdownWithMath(renderer=Renderer(escape=False))
    table_in_quote(markdown)
    return str(markdown.render(source))


def _heading(notebook: Any) -> tuple[str, str]:
    """Title and first paragraph of a notebook, as plain text."""
    first = next((cell.source for cell in notebook.cells if cell.cell_type == "markdown"), "")
    blocks = [block.strip() for block in re.split(r"\n\s*\n", first) if block.strip()]
    title = blocks[0].splitlines()[0].lstrip("# ") if blocks else "Lesson"
    text = next((" ".join(b.split()) for b in blocks[1:] if b[0].isalnum() or b[0] == "*"), "")
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|[*`$]", lambda m: m[1] or "", text)
    return title, plain


_STYLE = """
:root { color-scheme: light; font: 16px/1.55 system-ui, sans-serif }
body { margin: 0; color: #1c2127; background: #fff }
main { max-width: 80rem; margin: 0 auto; padding: 1rem 1.2rem 4rem }
main p, main li, main h1, main h2, main h3, main details { max-width: 50rem }
main a { color: #0b57a4 }
a.anchor-link, .jp-InputPrompt, .jp-OutputPrompt, .prompt { display: none }
pre { font: 13.5px/1.45 ui-monospace, monospace; overflow-x: auto; white-space: pre-wrap }
.highlight { background: #f5f7f9; border-left: 3px solid #b9c2cb; padding: .1rem .8rem }
.highlight pre { white-space: pre }
table { border-collapse: collapse; font-size: 14px }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #d0d5da; text-align: right }
blockquote :is(th, td) { text-align: left }
img, svg { max-width: 100%; height: auto }
iframe.run { width: 100%; height: 46rem; border: 1px solid #d0d5da; border-radius: 6px }
"""
