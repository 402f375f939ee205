"""A notebook killed while its app makes a sweep, and an app opened over what is left.

Protects the pictures that are on the disk from being shown as gone: the app's explorer reads the
run while it grows, and neither that nor opening the app may change what the run says.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_client import BlockingKernelClient
from jupyter_client.connect import write_connection_file
from scripts import HERE, environment
from small_runs import files, small_study
from tiny_app import TinyEngine
from tiny_models import write_tiny_family
from tiny_run import make_manager

import workbench as wb
from workbench.app import Workbench

pytestmark = pytest.mark.slow

KILLS = 20
BETWEEN_PICTURES = 0.2
CELL = """
import workbench.app.views.run as views
from kernels import AXES
from workbench.app import Workbench
views.FOLLOW_SHARE = 0
update = views.RunView._update
def counted(self):
    update(self)
    open({updates!r}, "a").write("x")
views.RunView._update = counted
bench = Workbench({runs!r}, engine=engine)
bench.session.make(AXES)
bench
"""


class Kernels:
    """Kernels of the script `kernels.py`, one after another."""

    def __init__(self, models: Path, out: Path) -> None:
        self.models, self.out = models, out
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "kernels.py"), str(models), str(out)],
            env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        while self._answer() != "ready":
            pass

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the script that starts the kernels has ended"
        return line.strip()

    def ask(self, order: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return self._answer()


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernels]:
    out = tmp_path_factory.mktemp("kernels")
    write_tiny_family(out / "models")
    started = Kernels(out / "models", out)
    yield started
    started.process.kill()
    started.process.wait()


def killed(kernels: Kernels, number: int, chance: random.Random, pictures: int) -> tuple[Path, int]:
    """Make the sweep in a notebook's app and kill its kernel; the runs folder, and updates seen."""
    runs = kernels.out / f"runs-{number}"
    updates = kernels.out / f"updates-{number}"
    updates.touch()
    connection, _ = write_connection_file(str(kernels.out / f"kernel-{number}.json"))
    kernel = int(kernels.ask(connection))
    client = BlockingKernelClient(connection_file=connection)
    client.load_connection_file()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        client.execute(CELL.format(updates=str(updates), runs=str(runs)))
        deadline = time.monotonic() + 60
        while len(list(runs.glob("*/trials/*/record.json"))) < pictures:
            assert time.monotonic() < deadline, "the sweep does not come on"
            time.sleep(0.002)
        time.sleep(chance.random() * BETWEEN_PICTURES)
    finally:
        os.kill(kernel, signal.SIGKILL)
        client.stop_channels()
        assert kernels.ask(f"wait {kernel}") == "ended"
    return runs, len(updates.read_text())


def pictures_shown(kernels: Kernels, runs: Path) -> int:
    """Open the app over a folder of runs, as a new notebook would: how many pictures it shows."""
    bench = Workbench(runs, engine=TinyEngine(kernels.models, kernels.out / "later"))
    try:
        bench.session.wait(60)
        return sum(number >= 0 for number in bench.run.explorer.data["cells"]["sample"])
    finally:
        bench.close()


def test_a_killed_notebook_hides_no_picture(kernels: Kernels, tmp_path: Path) -> None:
    chance = random.Random(5)
    total = len(wb.open_run(kernels.out / "unbroken").records)
    moments = [1 + chance.randrange(total) for _ in range(KILLS)]
    partial = after_updates = 0
    for number, pictures in enumerate(moments):
        runs, updates = killed(kernels, number, chance, pictures)
        before = files(runs)
        shown = pictures_shown(kernels, runs)
        assert files(runs) == before
        run = wb.open_run(runs / "workbench-1")
        assert len(run.records) >= pictures
        assert set(run.table["trial"]) == set(run.records)
        assert shown == len(run.records)
        if len(run.records) < total:
            partial += 1
            after_updates += updates > 0
            assert f"{len(run.records)} of {total} pictures are there" in run.status.sentence
    assert partial >= KILLS // 4 and after_updates >= 2, "the kills came too late to show anything"
    page = run.report(tmp_path / "report.html").read_text("utf-8")
    assert run.status.sentence in page


def test_an_app_over_a_run_of_another_study_changes_no_byte(kernels: Kernels) -> None:
    runs = kernels.out / "another"
    study = small_study(name="another", scales=[0.5, 1.5], prompt="a boy, rain, house")
    made = wb.run(study, runs / "demo", manager=make_manager(kernels.models))
    before = files(runs)
    assert pictures_shown(kernels, runs) == len(made.records)
    assert files(runs) == before
    assert set(made.refresh().table["trial"]) == set(made.records)
