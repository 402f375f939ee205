"""Commands about studies: run one, write its report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.formats import duration

if TYPE_CHECKING:
    from workbench.generation import CancelToken
    from workbench.store import RunFolder
    from workbench.study import Study


def run(
    study_file: Annotated[Path, typer.Argument(metavar="STUDY", help="A study file (YAML).")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder; runs/<name> if absent.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and generate nothing.")
    ] = False,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Pictures at once; the study's own if absent."),
    ] = None,
    executor: Annotated[
        str,
        typer.Option(
            help="in-process; processes: one for each device; dask: workers of a Dask scheduler."
        ),
    ] = "in-process",
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda, cuda:0, mps; CUDA if absent and there, else the CPU."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="How many; one for each CUDA device, or two on a CPU, if absent."),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="A Dask scheduler (tcp://host:8786); a cluster on this machine if absent.",
        ),
    ] = None,
    worker_timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", help="How long to wait for Dask workers when all are gone."
        ),
    ] = 600,
) -> None:
    """Run a study. Ctrl-C keeps what is done; started again, it computes only what is missing."""
    from workbench.study import Study

    study = Study.from_yaml(study_file)
    folder = out or Path("runs") / study.name
    from workbench.sweep import ExecutorChoice, run_study

    choice = ExecutorChoice(executor, device, workers, scheduler, worker_timeout)
    choice.check()
    if dry_run:
        if not print_plan(study, folder, batch_size, None if choice.remote else device):
            raise typer.Exit(2)
        return
    with progress_bar(study.name) as show, cancelling() as cancel:
        run_folder = run_study(
            study, folder, progress=show, cancel=cancel, batch_size=batch_size, executor=choice
        )
    if cancel.cancelled:
        typer.echo(f"Stopped. What is done is kept in {folder}; the same command goes on there.")
        raise typer.Exit(130)
    _tell_failures(run_folder)
    typer.echo(f"Done: the run is in {folder}. Its report: workbench report {folder}")


def _tell_failures(run_folder: RunFolder) -> None:
    """Say how many pictures failed, or could not be measured, and what the next start does."""
    from workbench.measuring import NOT_MEASURED

    failed = retried = unread = 0
    for record in run_folder.records():
        failed += bool(record.failed)
        retried += record.retry
        unread += any(str(row.get("reason", "")).startswith(NOT_MEASURED) for row in record.rows)
    if failed:
        where = f"{run_folder.path}/trials"
        typer.echo(f"{_pictures(failed)} failed; the records in {where} say why.", err=True)
    if unread:
        typer.echo(f"{_pictures(unread)} could not be measured; the report says why.", err=True)
    if retried or unread:
        typer.echo("The same command tries again.", err=True)


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


def report(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML file; RUN/report.html if absent.")
    ] = None,
) -> None:
    """Write the report of a run: one HTML file that needs nothing else."""
    from workbench.store import RunFolder

    run_folder = RunFolder.open(run_dir)
    from workbench.report import write_report

    written = write_report(run_folder, output or run_dir / "report.html")
    typer.echo(f"Report: {written.resolve()}")


def print_plan(
    study: Study, folder: Path, batch_size: int | None = None, device: str | None = None
) -> bool:
    """Print what running the study into `folder` would compute, and about how long it would take.

    Without a stored pace the models are loaded on the device and timed for a few steps. Returns
    whether the study can run, and prints why it cannot.
    """
    from workbench.families import FamilyError, LocateError
    from workbench.generation import GenerationError
    from workbench.sweep import dry_run

    unknown = ""
    try:
        plan = dry_run(study, folder, batch_size=batch_size, device=device)
    except (LocateError, FamilyError, GenerationError) as error:
        plan = dry_run(study, folder, calibrate=False)
        unknown = str(error)
    typer.echo(f"Study {study.name}, family {study.family}, {len(study.sources)} sources")
    lines = (
        ("cells", f"{plan.cells:,}"),
        ("pictures, one for each cell", f"{plan.trials_before:,}"),
        ("pictures without identical ones", f"{plan.trials_after:,}"),
        (f"already in {folder}", f"{plan.cached:,}"),
        ("to generate", f"{plan.to_generate:,}"),
        ("estimated time", _estimate(plan.seconds_estimate, plan.speed_from)),
    )
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        typer.echo(f"  {name:<{width}}  {value}")
    if unknown:
        typer.echo(f"This study cannot run yet: {unknown}")
    return not unknown


def _estimate(seconds: float | None, origin: str) -> str:
    if seconds is None:
        return "unknown"
    sources = {"stored": " (from this run's own pace)", "calibration": " (from a few timed steps)"}
    return duration(seconds) + sources.get(origin, "")


@contextmanager
def cancelling() -> Iterator[CancelToken]:
    """Turn the first Ctrl-C into a polite cancel; a second one interrupts at once."""
    import signal
    import threading
    from types import FrameType

    from workbench.generation import CancelToken

    token = CancelToken()

    def polite(_number: int, _frame: FrameType | None) -> None:
        if token.cancelled:
            raise KeyboardInterrupt
        token.cancel()
        typer.echo("\nStopping after this step; press Ctrl-C again to stop at once.", err=True)

    if threading.current_thread() is not threading.main_thread():
        yield token
        return
    before = signal.signal(signal.SIGINT, polite)
    try:
        yield token
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def progress_bar(title: str) -> Iterator[Any]:
    """Yield a callback for `run_study` that draws a bar, the count and the time left.

    Where standard error is no terminal it prints a line for each phase and each tenth instead.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    console = Console(stderr=True)
    last = ("", 0)
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=None, left="")

        def show(progress: Any) -> None:
            nonlocal last
            left = progress.seconds_left
            text = "" if left is None or left != left else f"{duration(left)} left"
            bar.update(
                task,
                completed=progress.done,
                total=progress.total,
                description=f"{title}: {progress.phase}",
                left=text,
            )
            tenths = 10 * progress.done // max(progress.total, 1)
            if not console.is_terminal and last != (progress.phase, tenths):
                last = (progress.phase, tenths)
                done = f"({progress.done}/{progress.total})"
                console.print(f"{title}: {progress.phase} {done} {text}".rstrip())

        yield show
