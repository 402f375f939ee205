"""Pages of runs and lessons for a class, and the server that shows them.

Protects thirty pupils without a kernel or an internet, and the teacher's other files.
"""

from __future__ import annotations

import http.client
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import nbformat
import pandas as pd
import pytest
from written_run import write_run

from workbench.classroom import (
    ClassroomError,
    LessonError,
    build_classroom,
    lan_address,
    page_server,
)
from workbench.classroom.lessons import lesson_page, practised, runs_shown
from workbench.store import StoreError

TAGS = ("a girl", "<b>long</b> hair")


@pytest.fixture(scope="module")
def run(demo_frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One control type and source, two lengths, five scales."""
    frame = demo_frame[demo_frame["length"].isin([3, 7])]
    first = frame[frame["control"] == "canny"]  # whose maps need no network
    few = first[first["source"] == first["source"].iloc[0]]
    return write_run(tmp_path_factory.mktemp("runs") / "de mo", few, TAGS * 4).path


def notebook(path: Path, *cells: str) -> Path:
    """A notebook of one text and some cells of code."""
    text = nbformat.v4.new_markdown_cell(
        "# Lesson 7: <b>one</b>\n\nHow *far* is $x^2$ from [here](there.md)?\n\n$$\\frac{1}{2}$$"
    )
    code = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=[text, *code]), path)
    return path


@contextmanager
def served(folder: Path, *names: str) -> Iterator[http.client.HTTPConnection]:
    """A connection to a server of the named files."""
    with page_server(folder, names, address="127.0.0.1") as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
        try:
            yield connection
        finally:
            connection.close()
            server.shutdown()
            thread.join()


def answer(connection: http.client.HTTPConnection, path: str, method: str = "GET") -> int:
    """The status of an answer, which is read to its end."""
    connection.request(method, path)
    response = connection.getresponse()
    response.read()
    return response.status


def test_runs_and_an_index_of_them(run: Path, tmp_path: Path) -> None:
    names = build_classroom([run, run], tmp_path / "site")
    assert names == ("index.html", "de-mo.html")
    index = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert '<a href="de-mo.html">de mo</a>' in index, index[:3000]
    assert "pictures: Canny" in index, index[:3000]
    shown = re.findall(r'alt="scale ([\d.]+)" src="data:image/webp;base64', index)
    assert len(shown) == 5 and shown == sorted(shown, key=float)
    assert "wbx-page" in (tmp_path / "site" / "de-mo.html").read_text("utf-8")


def test_names_of_runs_do_not_hide_each_other(run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "index")
    third = shutil.copytree(run, tmp_path / "de-mo")
    names = build_classroom([run, other, third], tmp_path / "site")
    assert names == ("index.html", "de-mo.html", "index-2.html", "de-mo-2.html")


def test_a_folder_of_somebody_else_is_left_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(ClassroomError, match="another folder"):
        build_classroom([run], tmp_path)
    assert (tmp_path / "index.html").read_text() == "mine"
    with pytest.raises(ClassroomError, match="nothing to show"):
        build_classroom([], tmp_path / "site")
    with pytest.raises(StoreError):
        build_classroom([tmp_path / "none"], tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_only_the_pages_are_served(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("index")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "practised").mkdir()
    (tmp_path / "practised" / "index.html").write_text("no page")
    with served(tmp_path, "index.html") as to:
        assert [answer(to, path) for path in ("/", "/index.html", "/?a=b")] == [200] * 3
        wrong = ("/secret.txt", "/practised/", "/practised/index.html", "/../index.html", "//etc")
        assert [answer(to, path) for path in (*wrong, "/%2e%2e/secret.txt")] == [404] * 6
        assert answer(to, "/", "POST") == 501


def test_a_run_may_have_a_name_in_any_language(run: Path, tmp_path: Path) -> None:
    """A browser sends other letters than those of ASCII as percent codes."""
    named = shutil.copytree(run, tmp_path / "Prüfung")
    index, page = build_classroom([named], tmp_path / "site")
    assert page == "Prüfung.html"
    with served(tmp_path / "site", index, page) as to:
        assert answer(to, f"/{quote(page)}") == 200


def test_a_page_is_fetched_again_only_if_it_changed(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("index")
    with served(tmp_path, "index.html") as to:
        to.request("GET", "/")
        first = to.getresponse()
        assert first.read() == b"index" and first.headers["Cache-Control"] == "no-cache"
        to.request("GET", "/", headers={"If-Modified-Since": first.headers["Last-Modified"]})
        assert to.getresponse().status == 304


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with page_server(tmp_path, [], address="127.0.0.1") as server:
        port = server.server_port
        with pytest.raises(ClassroomError, match=f"Port {port} cannot be had"):
            page_server(tmp_path, [], port, "127.0.0.1")


def test_the_address_is_one_of_this_machine() -> None:
    with page_server(Path(), [], address=lan_address()) as server:
        assert server.server_port > 0


def test_a_lesson_is_run_once_and_its_explorer_is_alive(run: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "with open('count', 'a') as file: file.write('x')\n"
        f"html = '''<div class=\"wb-run\" data-run=\"{run}\"><b>de mo</b></div>'''\n"
        "widget = {'application/vnd.jupyter.widget-view+json': {'model_id': '1'}}\n"
        "display({'text/plain': 'bare'.upper()} | widget, raw=True)\n"
        "display({'text/html': f'<div class=\"wb-still\">{html}</div>'}, raw=True)"
    )
    lesson = notebook(tmp_path / "lesson_7.ipynb", code)
    for _ in range(2):
        names = build_classroom([], tmp_path / "site", lessons=[lesson])
    assert names == ("index.html", "lesson_7.html", "de-mo.html")
    assert (tmp_path / "count").read_text() == "x"
    page = (tmp_path / "site" / "lesson_7.html").read_text("utf-8")
    assert re.search(r'<iframe [^>]*src="de-mo.html"', page)
    assert "BARE" not in page and "<b>de mo</b>" not in page, "the explorer itself is there"
    assert "http" not in re.sub(r"http://www.w3.org/\S+", "", page), "nothing comes from elsewhere"
    assert "<script" not in page and page.count("<math") == 2 and "$" not in page.split("<main>")[1]
    index = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert "Lesson 7: &lt;b&gt;one&lt;/b&gt;" in index and "How far is x^2 from here?" in index


def test_lessons_lead_to_each_other_and_to_nothing_that_is_not_there(tmp_path: Path) -> None:
    first, second = (notebook(tmp_path / f"lesson_{n}.ipynb", "1") for n in (1, 2))
    for path, text in ((first, "[a](lesson_2.ipynb) [b](lesson_3.ipynb)"), (second, "[c](x.md)")):
        written = nbformat.read(path, as_version=4)
        written.cells.append(nbformat.v4.new_markdown_cell(text))
        nbformat.write(written, path)
    (tmp_path / "else").mkdir()
    third = notebook(tmp_path / "else" / "lesson_2.ipynb", "2")
    build_classroom([], tmp_path / "same", lessons=[second, third])
    assert len(list((tmp_path / "same").glob("lesson_2*.html"))) == 2
    build_classroom([], tmp_path / "site", lessons=[first, second])
    page = (tmp_path / "site" / "lesson_1.html").read_text("utf-8")
    assert '<a href="lesson_2.html">a</a> b' in page and ".ipynb" not in page
    assert 'href="x.md"' in (tmp_path / "site" / "lesson_2.html").read_text("utf-8")


def test_formulas_and_tables_of_the_real_lessons_are_drawn() -> None:
    """Nothing of what JupyterLab draws stands on a page as it was typed."""
    for path in sorted((Path(__file__).parents[2] / "notebooks").glob("lesson_*.ipynb")):
        html = lesson_page(nbformat.read(path, as_version=4), {}).html
        formulas = re.findall("<math.*?</math>", html, re.S)
        assert not [one for one in formulas if "\\" in one], path.name
        assert "|---" not in html and html.count("<table>") >= 1, path.name


def test_a_lesson_that_changed_or_fails(tmp_path: Path) -> None:
    kept = tmp_path / "practised"
    lesson = notebook(tmp_path / "lesson_7.ipynb", "1 / 0")
    with pytest.raises(LessonError, match=r"lesson_7.ipynb fails in cell \[1\] \(1 / 0\): Zero"):
        practised(lesson, kept, lambda _: None)
    lesson = notebook(tmp_path / "lesson_8.ipynb", "import os; os._exit(1)")
    with pytest.raises(LessonError, match=r"lesson_8.ipynb fails: its kernel died"):
        practised(lesson, kept, lambda _: None)
    assert not kept.exists()
    (tmp_path / "none.ipynb").write_text("none")
    with pytest.raises(LessonError, match="cannot be read"):
        practised(tmp_path / "none.ipynb", kept, lambda _: None)


def test_a_notebook_without_explorers_has_no_runs() -> None:
    plain = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    assert runs_shown(plain) == () and lesson_page(plain, {}).title == "Lesson"
