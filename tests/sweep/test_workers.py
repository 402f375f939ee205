"""Real workers: one is killed midway, the scheduler is lost, Ctrl-C comes. Nothing done is lost.

Protects: a run by worker processes or Dask workers has the pictures and readings of a run in one
process, whatever happens to the workers.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import run_command
from pools import assert_same_run, chosen
from tiny_run import TINY_WORLD, TinyManager, make_study

from workbench.families.determinism import deterministic
from workbench.store import RunFolder
from workbench.study import Study
from workbench.sweep import ExecutorChoice, ExecutorError, Progress, run_study
from workbench.sweep.local import LocalProcessPool
from workbench.sweep.messages import WorkerDiedError

pytest.importorskip("distributed")
pytestmark = pytest.mark.slow

HERE = Path(__file__).resolve()


def study() -> Study:
    """24 trials in 12 batches."""
    return make_study(seeds=[1, 2, 3, 4], batch_size=2, steps=4)


@pytest.fixture(autouse=True)
def tiny(models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tiny family for workers too, and one thread for everybody, so that bits can be equal."""
    monkeypatch.setenv("WORKBENCH_MODELS", str(models))
    monkeypatch.setattr("workbench.sweep.runner.get_family", lambda name: TINY_WORLD)
    with deterministic(threads=1):
        yield


@pytest.fixture(scope="module")
def whole(
    models: Path, manager: TinyManager, tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    """The study run by one process without any incident."""
    with deterministic(threads=1):
        return run_study(study(), tmp_path_factory.mktemp("whole") / "run", manager=manager)


def children() -> set[int]:
    """Worker processes begun by this process."""
    return {child.pid for child in multiprocessing.active_children() if child.pid}


def once_midway(act: Callable[[], None]) -> Callable[[Progress], None]:
    """A progress callback that acts once, when the first pictures are stored."""
    acted: list[int] = []

    def show(progress: Progress) -> None:
        if progress.phase == "generating" and 0 < progress.done < progress.total and not acted:
            acted.append(progress.done)
            act()

    return show


@pytest.mark.parametrize("kind", ["processes", "dask"])
def test_a_killed_worker_costs_nothing(
    kind: str, whole: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.sweep.backends.processors", lambda: 2)
    killed: list[int] = []

    def kill() -> None:
        workers = children()
        assert len(workers) == 2
        killed.append(min(workers))
        os.kill(killed[0], signal.SIGKILL)

    with chosen(kind, 2) as choice:
        environment = dict(os.environ)
        run = run_study(study(), tmp_path / "run", executor=choice, progress=once_midway(kill))
        assert dict(os.environ) == environment, "what runs next has the threads it had before"
        assert len(children()) == (0 if kind == "processes" else 2), "workers of others stay"
    assert killed and not children()
    assert_same_run(run, whole)
    made_by = [record.made_by for record in run.records()]
    assert {made["threads"] for made in made_by} == {1}
    assert len({made["worker"] for made in made_by}) == 2
    manifest = run.read_json("manifest.json")["executor"]
    assert manifest["kind"] == kind and len(manifest["workers"]) == 2


def test_ctrl_c_ends_the_processes_and_the_same_command_goes_on(
    whole: RunFolder, manager: TinyManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal sends Ctrl-C to the workers as well."""
    path = tmp_path / "study.yaml"
    path.write_text(study().to_yaml(), "utf-8")

    def interrupt() -> None:
        for pid in [*children(), os.getpid()]:
            os.kill(pid, signal.SIGINT)

    real = run_study
    midway = once_midway(interrupt)
    monkeypatch.setattr(
        "workbench.sweep.run_study",
        lambda *a, **k: real(*a, **{**k, "progress": midway}),
    )
    arguments = ("--executor", "processes", "--device", "cpu", "--workers", "1")
    done = run_command("run", path, "-o", tmp_path / "run", *arguments)
    assert done.code == 130 and "kept" in done.out and "Traceback" not in done.err
    assert not children()
    stored = RunFolder.open(tmp_path / "run").trial_ids()
    assert 0 < len(stored) < len(whole.trial_ids())
    assert_same_run(run_study(study(), tmp_path / "run", manager=manager), whole)


def start(*arguments: str) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join([str(HERE.parents[1] / "helpers"), str(HERE.parents[2])])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    quiet = subprocess.DEVNULL
    command = [sys.executable, "-m", *arguments]
    return subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet)


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A Dask scheduler with one worker, both processes of their own, and its address."""
    file = tmp_path / "scheduler.json"
    common = ("--scheduler-file", str(file))
    begun = [
        start(
            *("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"),
            *("--no-dashboard", *common),
        )
    ]
    try:
        deadline = time.monotonic() + 60
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        begun.append(
            start(
                *("distributed.cli.dask_worker", *common, "--nthreads", "1"),
                *("--no-dashboard", "--no-nanny"),
            )
        )
        yield json.loads(file.read_text("utf-8"))["address"], begun[0]
    finally:
        for process in reversed(begun):
            process.terminate()
            process.wait(30)


def test_a_cancel_and_a_lost_scheduler_lose_nothing(
    scheduler: tuple[str, subprocess.Popen[bytes]],
    whole: RunFolder,
    manager: TinyManager,
    tmp_path: Path,
) -> None:
    from workbench.generation import CancelToken

    address, process = scheduler
    choice = ExecutorChoice("dask", scheduler=address)
    folder = tmp_path / "run"
    cancel = CancelToken()
    run = run_study(
        study(), folder, executor=choice, progress=once_midway(cancel.cancel), cancel=cancel
    )
    first = set(run.trial_ids())
    assert 0 < len(first) < len(whole.trial_ids())
    assert (folder / "measurements.parquet").is_file()

    def lose() -> None:
        process.send_signal(signal.SIGKILL)
        process.wait(30)

    with pytest.raises(ExecutorError, match="is lost: what was done until now is kept"):
        run_study(study(), folder, executor=choice, progress=once_midway(lose))
    assert first <= set(run.trial_ids())
    with run.claim():
        pass  # nobody holds the folder any more
    assert_same_run(run_study(study(), folder, manager=manager), whole)


def test_a_call_that_kills_every_process_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.sweep.local.DEATHS", 2)
    pool = LocalProcessPool(["cpu"])
    try:
        with pytest.raises(WorkerDiedError, match="died 2 times"):
            pool.submit(os._exit, 3).result(120)
        assert pool.submit(os.getpid).result(60) in children()
    finally:
        pool.close(at_once=True)
    assert not children()
