"""The command line: every command is a thin door to a room below.

Nothing heavy is imported before a command runs, so that `workbench --help` answers at once.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from workbench.cli import checking, classroom, doctor, models, pictures, running, training
from workbench.cli.common import PrintableFormatter, Refusal, friendly_message, say
from workbench.cli.places import with_models
from workbench.versions import require_docstrings


class _Interrupted(Exception):
    """Ctrl-C. Typer would end the process without a word."""


@contextmanager
def _interruptible() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise _Interrupted from interrupt


class _Commands(TyperGroup):
    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Read the command line."""
        with _interruptible():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        with _interruptible():
            return super().invoke(ctx)


app = typer.Typer(
    name="workbench",
    cls=_Commands,
    help="Measure how a text prompt and a control image share the steering of one picture.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("controlnet-workbench"))
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


app.command("run")(with_models(running.run))
app.command("studies")(running.studies)
app.command("influence")(with_models(running.influence))
app.command("score")(with_models(running.score))
app.command("report")(with_models(running.report))
app.command("view")(with_models(running.view))
app.command("classroom")(with_models(classroom.classroom))
app.command("classroom-live")(with_models(classroom.classroom_live))
app.command("verify")(with_models(checking.verify))
app.command("diff")(checking.diff)
app.command("study")(checking.study)
app.command("extract")(with_models(pictures.extract))
app.command("compare")(with_models(pictures.compare))
families = typer.Typer(invoke_without_command=True)
families.callback()(models.families)
families.command("pin")(models.pin)
app.add_typer(families, name="families")
app.command("doctor")(with_models(doctor.doctor))
trainings = typer.Typer(cls=models.FamilyOrCommand, no_args_is_help=True)
trainings.command("family")(training.train)
trainings.command("controlnet")(with_models(training.train_controlnet))
app.add_typer(trainings, name="train", help="Train a ControlNet, or a stage of an embedded family.")
audits = typer.Typer(cls=models.FamilyOrCommand, no_args_is_help=True)
audits.command("family")(models.audit)
audits.command("judge")(with_models(models.audit_judge))
app.add_typer(audits, name="audit", help="Audit an embedded family, or a judge of words.")


def main() -> None:
    """Run the command line. Mistakes of the user end with one clear message and exit code 2.

    Ctrl-C ends with exit code 130. Anything else is a fault of the program and keeps its
    traceback.
    """
    if logging.lastResort is not None:  # what prints warnings
        logging.lastResort.setFormatter(PrintableFormatter())
    try:
        require_docstrings()
        app(prog_name="workbench")  # whether it was started so or by `python -m`
    except (KeyboardInterrupt, _Interrupted):
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # what ends may take its time
        say("\nStopped.", err=True)
        sys.exit(130)
    except Refusal as refusal:
        say(refusal, err=True)
        sys.exit(2)
    except Exception as error:
        message = friendly_message(error)
        if message is None:
            raise
        say(f"Error: {message}", err=True)
        sys.exit(2)
