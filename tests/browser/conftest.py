"""A real JupyterLab on loopback and a real Chromium, for tests that click as a person would.

Skipped where there is no `chromium` on the PATH. Everything JupyterLab writes goes to a folder of
its own, and it is told not to look for news.
"""

from __future__ import annotations

import json
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.lab import find_chromium, running_chromium, running_lab

HELPERS = Path(__file__).resolve().parent.parent / "helpers"
CELLS_SECONDS = 300
WITHIN = """
  const within = (seconds, promise) => Promise.race([
    promise, new Promise((done) => setTimeout(() => done(false), 1000 * seconds)),
  ]);
"""
"""A promise that is false after so many seconds: Playwright itself waits for a script for ever."""
START_ALL = """() => {
  const run = async () => {
    const app = window.jupyterapp;
    await app.restored;
    const panel = app.shell.currentWidget;
    await panel.context.ready;
    await panel.sessionContext.ready;
    await panel.sessionContext.session.kernel.info;
    await app.commands.execute('notebook:run-all-cells');
    return true;
  };
  window.cellsEnded = run();
}"""
ENDED = f"async seconds => {{ {WITHIN} return await within(seconds, window.cellsEnded); }}"
STATE = """() => {
  const panel = window.jupyterapp.shell.currentWidget;
  const kernel = panel.sessionContext.session?.kernel;
  return [
    `kernel ${kernel?.status}, ${kernel?.connectionStatus}`,
    ...panel.content.widgets.map((cell) => `[${cell.prompt}] ${cell.model.sharedModel.source}`),
    ...[...document.querySelectorAll('.jp-Dialog')].map((dialog) => dialog.innerText),
  ].join('\\n').slice(0, 2000);
}"""
STARTUP = """
import faulthandler, os, signal
from pathlib import Path

def _tell(begun):
    path = Path(os.environ["KERNELS"]) / f"{os.getpid()}.cells"
    with path.open("a") as file:
        file.write("begun\\n" if begun else "ended\\n")

if "KERNELS" in os.environ:
    faulthandler.register(
        signal.SIGUSR1, open(Path(os.environ["KERNELS"]) / f"{os.getpid()}.stacks", "w")
    )
    get_ipython().events.register("pre_run_cell", lambda info: _tell(True))
    get_ipython().events.register("post_run_cell", lambda result: _tell(False))
"""
"""What each kernel does first: it notes when cells begin and end, and shows its stacks if asked."""
SHUT_DOWN = f"""async () => {{ {WITHIN}
  await within(30, window.jupyterapp.serviceManager.sessions.shutdownAll());
}}"""


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: its address, the folder that it shows, and that of STARTUP's notes."""

    url: str
    folder: Path
    kernels: Path

    def cells(self) -> dict[int, list[str]]:
        """What each kernel that lives has said of its cells, by process."""
        told = {int(p.stem): p.read_text().split() for p in self.kernels.glob("*.cells")}
        return {process: cells for process, cells in told.items() if psutil.pid_exists(process)}

    def stacks(self) -> str:
        """What all threads of the kernels that run a cell are at."""
        told = []
        for process, cells in self.cells().items():
            if len(cells) % 2:
                os.kill(process, signal.SIGUSR1)
                time.sleep(1)
                told.append((self.kernels / f"{process}.stacks").read_text())
        return "\n".join(told)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium."""
    path = find_chromium()
    if path is None:
        pytest.skip("there is no chromium on the PATH")
    return path


@pytest.fixture(scope="session")
def lab(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab for all tests of the session."""
    home = tmp_path_factory.mktemp("home")
    folder = tmp_path_factory.mktemp("lab")
    startup = home / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "cells.py").write_text(STARTUP)
    kernels = tmp_path_factory.mktemp("kernels")
    path = os.pathsep.join(filter(None, [str(HELPERS), os.environ.get("PYTHONPATH", "")]))
    with running_lab(home, folder, {"KERNELS": str(kernels), "PYTHONPATH": path}) as found:
        yield Lab(found.url, folder, kernels)


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Any]:
    """Chromium, driven by Playwright."""
    with running_chromium(chromium) as found:
        yield found


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A fresh page, large enough for the whole app."""
    context = browser.new_context(viewport={"width": 1500, "height": 1500})
    page = context.new_page()
    page.set_default_timeout(300_000)
    yield page
    context.close()


@pytest.fixture
def run_notebook(lab: Lab, page: Any) -> Iterator[Callable[[dict[str, Any]], Any]]:
    """Open a notebook (its JSON) in JupyterLab, run all cells, return the page."""

    def run(notebook: dict[str, Any], name: str = "app.ipynb") -> Any:
        (lab.folder / name).write_text(json.dumps(notebook), encoding="utf-8")
        for _ in range(2):
            page.goto(f"{lab.url}/lab/tree/{name}?reset", wait_until="domcontentloaded")
            page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.sessionContext")
            page.evaluate(START_ALL)
            if _wait_for_cells(page, lab):
                return page
            # JupyterLab and the kernel have lost each other's messages, as they do on rare
            # occasions; what runs in the kernel has no part in it.
            warnings.warn(
                f"no cell runs, and the page waits:\n{page.evaluate(STATE)}", stacklevel=2
            )
            page.evaluate(SHUT_DOWN)
        pytest.fail(f"no cell runs, and the page waits:\n{page.evaluate(STATE)}")

    yield run
    if page.url.startswith(lab.url):
        page.evaluate(SHUT_DOWN)


def _wait_for_cells(page: Any, lab: Lab) -> bool:
    """Until all cells have run; False if the page waits although no kernel runs a cell."""
    end = time.monotonic() + CELLS_SECONDS
    looks: list[object] = []
    while time.monotonic() < end:
        if page.evaluate(ENDED, 20):
            return True
        cells = lab.cells()
        looks = [*looks, cells] if looks[-1:] == [cells] else [cells]
        if len(looks) == 3 and all(len(told) % 2 == 0 for told in cells.values()):
            return False
        looks = looks[-2:]
    pytest.fail(f"the cells did not end:\n{page.evaluate(STATE)}\n{lab.stacks()}")
