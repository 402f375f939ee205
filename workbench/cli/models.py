"""Commands about models: which families there are, training and auditing the embedded one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
        typer.Option(help="clip, vae, unet, judge, auditor, controlnet:depth or controlnet:canny."),
    ],
    work_dir: Annotated[
        Path, typer.Option(help="Folder for logs and checkpoints; training resumes from it.")
    ] = Path("training"),
    minutes: Annotated[
        float | None, typer.Option(min=0.0, help="Stop after this time; the stage's own if absent.")
    ] = None,
) -> None:
    """Train one stage of an embedded model family. Started again, it goes on where it stopped."""
    from workbench.training.stages import run_stage

    run_stage(family, stage, work_dir, minutes=minutes)


def audit(
    family: FamilyArgument,
    models_dir: Annotated[
        Path | None, typer.Option(help="Folder of the family's weights, if not the embedded one.")
    ] = None,
) -> None:
    """Measure how well an embedded family obeys prompt and control, and write its AUDIT.md."""
    from workbench.paths import models_dir as embedded
    from workbench.training.audit import run_audit

    run_audit(models_dir or embedded() / family)
