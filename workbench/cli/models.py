"""Commands about models: which families there are, training and auditing the embedded one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.common import Refusal

FamilyArgument = Annotated[str, typer.Argument(help="Name of a model family.")]


def families() -> None:
    """List the model families, their base models and their controls."""
    from workbench.families import load_catalogue

    for family in load_catalogue().values():
        typer.echo(f"{family.name}: {family.label}")
        typer.echo(f"  base models: {', '.join(family.base)}")
        typer.echo(f"  controls:    {', '.join(family.controlnets) or 'none'}")
        typer.echo(f"  resolution:  {family.resolution} px")
        typer.echo(f"  licence:     {family.licence}")


def train(
    family: FamilyArgument,
    stage: Annotated[
        str,
        typer.Option(
            help="clip, clip-pictures, vae, vae-decoder, judge, auditor, unet, vae-decoder:ink, "
            "unet:ink, or controlnet: and a control type (controlnet:depth)."
        ),
    ],
    work_dir: Annotated[
        Path, typer.Option(help="Folder for logs and checkpoints; training resumes from it.")
    ] = Path("training"),
    models_dir: Annotated[
        Path | None, typer.Option(help="Folder for finished weights; the family's own if absent.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.0, help="Stop, resumably, after this much time.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps of the stage, if not its own.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads to use.")] = 2,
    scenes: Annotated[
        int | None, typer.Option(min=64, help="Learn from only so many scenes, to try a stage out.")
    ] = None,
    improve: Annotated[
        bool,
        typer.Option(help="Start from the finished weights, at half the rate, not from nothing."),
    ] = False,
) -> None:
    """Train one stage of an embedded model family. Started again, it goes on where it stopped."""
    from workbench.families import get_family
    from workbench.families import models_dir as family_models
    from workbench.training.stages import run_stage, stage_names

    if not get_family(family).world:
        raise Refusal(f"{family} is not trained here: it has no world of its own")
    if stage not in stage_names():
        raise Refusal(f"there is no stage {stage!r}; there are: {', '.join(stage_names())}")
    finished = run_stage(
        stage,
        work_dir,
        models_dir or family_models() / family,
        minutes=minutes,
        steps=steps,
        threads=threads,
        scenes=scenes,
        improve=improve,
    )
    if not finished:
        typer.echo(f"{stage} is not finished; the same command goes on where it stopped.")


def audit(
    family: FamilyArgument,
    models_dir: Annotated[
        Path | None, typer.Option(help="Folder of the family's weights, if not the embedded one.")
    ] = None,
    pictures: Annotated[
        int, typer.Option(min=8, help="Generated pictures for each figure about samples.")
    ] = 128,
) -> None:
    """Measure how well an embedded family obeys prompt and control, and write its AUDIT.md.

    Exit code 1 if a figure falls short of its target.
    """
    from workbench.families import get_family
    from workbench.families import models_dir as family_models
    from workbench.training.audit import run_audit

    if not get_family(family).world:
        raise Refusal(f"{family} cannot be audited: it has no world of its own to check against")
    folder = models_dir or family_models() / family
    figures = run_audit(folder, pictures=pictures, log=typer.echo)
    missed = sum(not figure.reached for figure in figures)
    if missed:
        typer.echo(f"{missed} of {len(figures)} figures fall short of what is asked.", err=True)
        raise typer.Exit(1)
