"""Commands about studies: list and run them, look at a run, write its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import workbench
from workbench.cli.common import Refusal, check_output, parse_settings, say
from workbench.formats import duration
from workbench.paths import data_dir

if TYPE_CHECKING:
    from workbench.runs import Run
    from workbench.study import Study

FAILED_STATUS = 3
"""Exit status of a run in which a picture failed or could not be measured."""
SHOWN = 5
"""So many reasons are printed."""


def run(
    study_file: Annotated[
        str,
        typer.Argument(
            metavar="STUDY", help="A study file (YAML), or the name of one of `workbench studies`."
        ),
    ],
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
            help="The Dask scheduler (tls://host:8786) of the executor dask.",
        ),
    ] = None,
    worker_timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", help="How long to wait for Dask workers when all are gone."
        ),
    ] = 600,
) -> None:
    """Run a study. Ctrl-C keeps what is done; started again, it computes only what is missing.

    Exit status 3 if a picture failed or could not be measured: the reasons are printed, the most
    frequent first.
    """
    from workbench.study import Study

    study = Study.from_yaml(study_file)
    folder = out or Path("runs") / study.name
    from workbench.live import Stopped
    from workbench.sweep import ExecutorChoice

    choice = ExecutorChoice(executor, device, workers, scheduler, worker_timeout)
    choice.check()
    if dry_run:
        if not print_plan(study, folder, batch_size, None if choice.kind == "dask" else device):
            raise typer.Exit(2)
        return
    try:
        done = workbench.run(study, folder, batch_size=batch_size, executor=choice)
    except Stopped as stopped:
        say(stopped)
        raise typer.Exit(130) from None
    _end(done, folder)


def score(
    pictures: Annotated[
        Path,
        typer.Argument(
            metavar="PICTURES",
            help="A folder of pictures, a table (.csv, .jsonl, .parquet), or a run folder.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder; runs/<name>-scored if absent.")
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(help="Lends the judges; the run's own, or the embedded one, if absent."),
    ] = None,
    judge: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A judge of the family: vit-b-32, or clip=vit-b-32."),
    ] = None,
    pairs: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="COLUMN=VALUE",
            help="What holds for every picture that says nothing else: control=canny.",
        ),
    ] = None,
    vae: Annotated[
        bool,
        typer.Option(
            "--vae/--no-vae",
            help="Ceilings from sources pushed through the family's VAE, or from the sources.",
        ),
    ] = True,
) -> None:
    """Measure pictures that another program made, or those of a run by other judges.

    They become a run folder of their own. No picture is made or changed.
    """
    from workbench.runs import Stopped, scored_folder

    folder = out or scored_folder(pictures)
    try:
        done = workbench.score(
            pictures, folder, family=family, judges=judge or (),
            defaults=parse_settings(pairs or ()), vae=vae,
        )  # fmt: skip
    except Stopped as stopped:
        say(stopped)
        raise typer.Exit(130) from None
    _end(done, folder)


def _end(run: Run, folder: Path) -> None:
    """Say what came out. Exits with FAILED_STATUS if there are pictures without readings."""
    lacking = _tell_failures(run)
    say(run.word_judge)
    say(f"Done: the run is in {folder}. Its report: workbench report {folder}")
    if lacking:
        raise typer.Exit(FAILED_STATUS)


def _tell_failures(run: Run) -> int:
    """Say how many pictures failed and why, or could not be measured, and what the next start does.

    Returns how many these are.
    """
    from workbench.measuring import NOT_MEASURED
    from workbench.store import failures

    records = run.records.values()
    found = failures(records)
    failed = sum(one.count for one in found)
    unread = Counter(
        next((r for row in one.rows if (r := str(row.get("reason"))).startswith(NOT_MEASURED)), "")
        or ("" if one.rows or one.failed else "the process that measured it died")
        for one in records
    )
    del unread[""]
    if failed:
        say(
            f"{failed} of {_pictures(len(records))} failed; the records in {run.path}/trials:",
            err=True,
        )
        _tell_reasons([one.text for one in found])
    if unread:
        say(f"{unread.total()} of {_pictures(len(records))} could not be measured:", err=True)
        _tell_reasons(
            [f"{n} × {r.removeprefix(f'{NOT_MEASURED}: ')}" for r, n in unread.most_common()]
        )
    if unread or any(one.retry for one in records):
        say("The same command tries again.", err=True)
    return failed + unread.total()


def _tell_reasons(reasons: Sequence[str]) -> None:
    for reason in reasons[:SHOWN]:
        say(f"  {reason}", err=True)
    if len(reasons) > SHOWN:
        say(f"  and {len(reasons) - SHOWN} other reasons", err=True)


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


def studies() -> None:
    """List the studies that come with the package; `workbench run demo` runs one by its name."""
    from workbench.study import first_comment, shipped_studies

    found = shipped_studies()
    if not found:
        raise Refusal(f"There are no study files in {data_dir() / 'studies'}.")
    width = max(map(len, found))
    for name, path in found.items():
        say(f"{name:<{width}}  {first_comment(path)}")
    say(f"They lie in {data_dir() / 'studies'}: copy one to begin a study of your own.")


def influence(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A study file (YAML), or a run folder.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder; that of the study if absent.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it costs and look at nothing.")
    ] = False,
    maps_at: Annotated[
        list[int] | None,
        typer.Option(help="Keep the maps of this step; may be given several times."),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Draw the curves into this file (PNG or SVG).")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda, cuda:0, mps; CUDA if absent and there, else the CPU."),
    ] = None,
) -> None:
    """Who is driving? Text or control, at each denoising step of a study's pictures.

    It takes four predictions a step. Ctrl-C keeps what is done; the same command goes on there.
    """
    from workbench.influences import influence_job
    from workbench.live import Stopped

    check_output(figure, ".png", ".svg", option="--figure")
    if dry_run:
        say(influence_job(study, out, maps_at=maps_at, device=device).cost().sentence)
        return
    try:
        found = workbench.influence(study, out, maps_at=maps_at, device=device)
    except Stopped as stopped:
        say(stopped)
        raise typer.Exit(130) from None
    say(found.statement())
    if figure is not None:
        from workbench.atomic import write_atomic
        from workbench.plots import to_png, to_svg

        write = to_svg if figure.suffix.lower() == ".svg" else to_png
        write_atomic(figure, write(found.plot()))
        say(f"Figure: {figure.resolve()}")


def report(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML file; RUN/report.html if absent.")
    ] = None,
    influence: Annotated[
        bool, typer.Option("--influence", help="With who is driving (workbench influence RUN).")
    ] = False,
) -> None:
    """Write the report of a run: one HTML file that needs nothing else."""
    check_output(output, ".html", ".htm")
    written = workbench.open_run(run_dir).report(output, influence=influence)
    say(f"Report: {written.resolve()}")


def view(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML file; RUN/explorer.html if absent.")
    ] = None,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open it in a browser.")] = True,
    control: Annotated[
        list[str] | None, typer.Option(help="Only this control type; may be given several times.")
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="Only this source; may be given several times.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Only the first so many seeds.")] = None,
    pictures: Annotated[int, typer.Option(min=1, help="At most so many pictures.")] = 2000,
    maps: Annotated[
        bool | None,
        typer.Option(
            "--maps/--no-maps",
            help="Read control maps back from the pictures; where that costs little if absent.",
        ),
    ] = None,
) -> None:
    """Explore a run in a browser: one HTML file that needs no kernel, server or network."""
    import webbrowser

    from workbench.explorer import ViewChoice

    check_output(output, ".html", ".htm")
    choice = ViewChoice(pictures, seeds, tuple(source or ()), tuple(control or ()), maps)
    try:
        written = workbench.open_run(run_dir).page(output, choice).resolve()
    except ValueError as error:
        raise Refusal(str(error)) from None
    say(f"Explorer: {written}")
    if show and not webbrowser.open(written.as_uri()):
        say("No browser was found: open that file in one.")


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
    say(f"Study {study.name}, family {study.family}, {len(study.sources)} sources")
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
        say(f"  {name:<{width}}  {value}")
    if plan.downloads:
        total = sum(one.bytes for one in plan.downloads)
        say(f"Models to download first, {_gigabytes(total)}:")
        for one in plan.downloads:
            say(f"  {one.ref.title}: {_gigabytes(one.bytes)}")
    for note in plan.notes:
        say(note)
    if unknown:
        say(f"This study cannot run yet: {unknown}")
    return not unknown


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"


def _estimate(seconds: float | None, origin: str) -> str:
    if seconds is None:
        return "unknown"
    sources = {"stored": " (from this run's own pace)", "calibration": " (from a few timed steps)"}
    return duration(seconds) + sources.get(origin, "")
