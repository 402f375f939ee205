"""Commands about trust: verify a run, compare two, and get a study back out of what a run left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.common import check_output, say


def verify(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    trials: Annotated[
        int, typer.Option(min=0, help="How many pictures are made again; 0 makes none.")
    ] = 4,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Decides which pictures these are; drawn, and told, if absent."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="A report of the run; RUN/report.html, if any, if absent.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every item as JSON.")] = False,
) -> None:
    """Verify a run: check every hash, measure every picture again, make some pictures again.

    Exit status: 0 all identical or within tolerance, 1 something differs, 2 something could not be
    checked. Nothing is written but RUN/verification.json, which the report then quotes.
    """
    import json

    from workbench.live import cancelling, progress_bar
    from workbench.store import RunFolder

    run = RunFolder.open(run_dir)
    from workbench.verify.result import as_text, write_state
    from workbench.verify.run import verify_run

    with progress_bar(f"verify {run_dir.name}") as show, cancelling() as cancel:
        result = verify_run(
            run_dir, trials=trials, seed=seed, report=report, progress=show, cancel=cancel
        )
    if result is None:
        say("Stopped. Nothing was written.", err=True)
        raise typer.Exit(130)
    say(json.dumps(result.to_dict(), indent=1) if as_json else as_text(result))
    try:
        write_state(run, result)
    except OSError as error:
        reason = error.strerror or error
        say(f"The result was not kept in {run_dir} ({reason}).", err=True)
    raise typer.Exit(result.exit_code)


def diff(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="A run folder.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="Another one.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the difference as JSON.")] = False,
) -> None:
    """Compare two runs: settings, sources, trials, pictures, readings and mean adherence.

    Their studies may differ: cells are then matched by what they are (source, control, prompt,
    scale, seed, base model). Exit status: 0 the same or within tolerance, 1 something differs,
    2 they cannot be compared. Nothing is written.
    """
    import json

    from workbench.verify import diff_runs
    from workbench.verify.diff import diff_text

    found = diff_runs(run_a, run_b)
    say(json.dumps(found.to_dict(), indent=1) if as_json else diff_text(found))
    raise typer.Exit(found.exit_code)


def study(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A report (HTML), a sample (PNG) or a run."),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Study file; printed if absent.")
    ] = None,
) -> None:
    """Take the study out of a report, a picture or a run folder, so that it can be run again.

    A picture gives a study of one trial, which makes that picture again.
    """
    from workbench.verify import recover_study

    check_output(output, ".yaml", ".yml")
    found = recover_study(file, output.parent if output else Path())
    if output is None:
        typer.echo(found.text, nl=False)  # data, which YAML has made printable
    else:
        from workbench.atomic import write_atomic

        write_atomic(output, found.text.encode("utf-8"))
        say(f"Study: {output.resolve()}. Run it: workbench run {output}")
    for label, name in found.kept.items():
        say(f"The source {label} is taken from the run folder: {name}", err=True)
    if found.missing:
        count = len(found.missing)
        what = "a picture" if count == 1 else f"{count} pictures"
        say(
            f"The study needs {what} that a {found.origin} does not carry. Put them beside it, "
            "under these names; other pictures are refused:",
            err=True,
        )
        for label, digest in found.missing.items():
            known = f"SHA-256 of its fitted pixels {digest}" if digest else "pixels not recorded"
            say(f"  {label}  ({known})", err=True)
