"""One folder of pages for a class: the explorer of each run, each lesson, and an index."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from workbench.atomic import write_atomic
from workbench.classroom.lessons import lesson_page, linked, practised, runs_shown
from workbench.explorer import View, explorer_page
from workbench.runs import Run, open_run

INDEX = "index.html"
THUMBNAILS, THUMBNAIL_SIDE = 5, 112
_MARK = '<meta name="generator" content="ControlNet workbench, pages for a class">'


class ClassroomError(Exception):
    """Pages for a class cannot be built. The message says why, and what to do."""


@dataclass(frozen=True)
class Entry:
    """One page in the index. `pictures`: WebP files with their alternative texts."""

    file: str
    title: str
    text: str
    pictures: tuple[tuple[bytes, str], ...] = ()


@dataclass
class _Site:
    """The folder of pages as it grows."""

    folder: Path
    runs: dict[Path, Entry] = field(default_factory=dict)
    lessons: list[Entry] = field(default_factory=list)

    def name(self, title: str) -> str:
        """A file name that no page has yet."""
        stem = re.sub(r"[^\w.-]+", "-", title).strip("-.") or "run"
        taken = {entry.file for entry in (*self.runs.values(), *self.lessons)} | {INDEX}
        names = (f"{stem}{mark}.html" for mark in ("", *(f"-{n}" for n in range(2, 10_000))))
        return next(name for name in names if name not in taken)

    def add_run(self, run: Run) -> Entry:
        """The explorer of a run, built once however often it is shown."""
        place = run.path.resolve()
        if place not in self.runs:
            view = run.view()
            entry = _entry(run, view, self.name(place.name))
            write_atomic(self.folder / entry.file, explorer_page(view).encode("utf-8"))
            self.runs[place] = entry
        return self.runs[place]


def build_classroom(
    runs: Sequence[str | Path],
    folder: str | Path,
    *,
    lessons: Sequence[str | Path] = (),
    tell: Callable[[str], object] = lambda _: None,
) -> tuple[str, ...]:
    """Build the pages of runs and lessons, and an index of them, into one folder.

    They need no kernel, no server and no network. A lesson is run from top to bottom, once: its
    copy with results is kept in `folder`/practised as long as the lesson stays as it is. The runs
    that a lesson shows in an explorer get pages, too.

    Args:
        runs: run folders.
        folder: where to; made if it is not there, and pages in it are replaced.
        lessons: notebooks.
        tell: called with a sentence before each step that takes time.

    Returns:
        The names of the files in `folder` that belong to the class, the index first.

    Raises:
        StoreError: one of `runs` is no run. LessonError: a lesson failed. ClassroomError: there is
        nothing to show, or `folder` holds an index that is not from here.
    """
    site = _Site(Path(folder))
    _check(site.folder)
    opened = [open_run(run) for run in runs]
    if not opened and not lessons:
        raise ClassroomError("There is nothing to show: name a run folder or a lesson.")
    site.folder.mkdir(parents=True, exist_ok=True)
    for run in opened:
        tell(f"Page of {run.path}")
        site.add_run(run)
    written: list[str] = []
    for lesson in map(Path, lessons):
        notebook = practised(lesson, site.folder / "practised", tell)
        tell(f"Page of {lesson}")
        pages = {
            shown: site.add_run(open_run(lesson.parent / shown)).file
            for shown in runs_shown(notebook)
        }
        page = lesson_page(notebook, pages)
        entry = Entry(site.name(lesson.stem), page.title, page.text)
        site.lessons.append(entry)
        written.append(page.html)
    names = {Path(one).name: entry.file for one, entry in zip(lessons, site.lessons, strict=True)}
    for entry, html in zip(site.lessons, written, strict=True):
        write_atomic(site.folder / entry.file, linked(html, names).encode("utf-8"))
    index = _index((("Lessons", site.lessons), ("Runs", list(site.runs.values()))))
    write_atomic(site.folder / INDEX, index.encode("utf-8"))
    return (INDEX, *(entry.file for entry in (*site.lessons, *site.runs.values())))


def _check(folder: Path) -> None:
    index = folder / INDEX
    if index.exists() and _MARK not in index.read_text("utf-8", errors="replace"):
        raise ClassroomError(
            f"{index} is there already and not from here: take another folder for the class."
        )


def _entry(run: Run, view: View, file: str) -> Entry:
    """What the index says of a run: the answer, how many pictures, and a row of them."""
    data = view.shown.data
    kinds = ", ".join(control["name"] for control in data["controls"])
    count = sum(sample >= 0 for sample in data["cells"]["sample"])
    size = f"{count} pictures" if count != 1 else "1 picture"
    text = " ".join([*data["notes"], f"{size}: {kinds}."])
    return Entry(file, view.title, text, tuple(_thumbnails(view)))


def _thumbnails(view: View) -> Iterable[tuple[bytes, str]]:
    """Pictures of one source and seed under the longest prompt, from scale to scale."""
    data, shown = view.shown.data, view.shown
    cells = data["cells"]
    columns = zip(*(cells[name] for name in ("control", "source", "base", "seed")), strict=True)
    longest = max(cells["prompt"], default=0)
    row = {
        cells["scale"][i]: cells["sample"][i]
        for i, place in enumerate(columns)
        if not any(place) and cells["prompt"][i] == longest and cells["sample"][i] >= 0
    }
    scales = sorted(row)
    if len(scales) > THUMBNAILS:
        step = (len(scales) - 1) / (THUMBNAILS - 1)
        scales = [scales[round(i * step)] for i in range(THUMBNAILS)]
    wanted = {shown.pictures[row[at]]: f"scale {data['scales'][at]:g}" for at in scales}
    files = dict(view.pictures.files(list(wanted), THUMBNAIL_SIDE))
    return ((files[picture], said) for picture, said in wanted.items() if picture in files)


def _index(parts: Iterable[tuple[str, Sequence[Entry]]]) -> str:
    sections = "".join(
        f"<section><h2>{name}</h2>\n{''.join(map(_card, entries))}</section>\n"
        for name, entries in parts
        if entries
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"{_MARK}\n"
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Who steers the picture?</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        "<main>\n<h1>Who steers the picture?</h1>\n<p>Two signals steer a picture made with "
        "ControlNet: the text prompt and the control image. Open a run, drag its sliders, and "
        f"see which of them wins.</p>\n{sections}</main>\n</body>\n</html>\n"
    )


def _card(entry: Entry) -> str:
    pictures = "".join(
        f'<img alt="{escape(said)}" src="data:image/webp;base64,'
        f'{base64.b64encode(file).decode("ascii")}">'
        for file, said in entry.pictures
    )
    row = f'<div class="row">{pictures}</div>' if pictures else ""
    return (
        f'<article><h3><a href="{escape(entry.file)}">{escape(entry.title)}</a></h3>'
        f'<p dir="auto">{escape(entry.text)}</p>{row}</article>\n'
    )


_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { margin: 0; color: light-dark(#1c2127, #e6e8ea); background: light-dark(#fff, #14171a) }
main { max-width: 62rem; margin: 0 auto; padding: 1rem 1.2rem 3rem }
section { display: grid; gap: .8rem }
h2, h3, p { margin: .2rem 0 }
article { border: 1px solid light-dark(#d0d5da, #3a4149); border-radius: 8px; padding: .7rem 1rem }
a { color: light-dark(#0b57a4, #8cc2ff) }
.row { display: flex; flex-wrap: wrap; gap: 6px; margin-top: .5rem }
.row img { width: 112px; height: auto; border-radius: 4px }
"""
