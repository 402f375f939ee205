"""Commands that train: a ControlNet for any base model, and the stages of the embedded one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workbench.cli.common import Refusal, checked_settings, parse_settings, say
from workbench.cli.models import FamilyArgument

if TYPE_CHECKING:
    from workbench.training.trainer import ControlNetTraining, Trained


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
    start_from: Annotated[
        str, typer.Option(help="Control type whose finished ControlNet a new one starts from.")
    ] = "",
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed of the draws; --improve again wants one not yet used."),
    ] = None,
) -> None:
    """Train one stage of an embedded model family. Started again, it goes on where it stopped."""
    from workbench.families import get_family
    from workbench.paths import models_dir as family_models
    from workbench.training.context import TrainingContext
    from workbench.training.stages import run_stage, stage_names

    if not get_family(family).world:
        raise Refusal(f"{family} is not trained here: it has no world of its own")
    if stage not in stage_names():
        raise Refusal(f"there is no stage {stage!r}; there are: {', '.join(stage_names())}")
    context = TrainingContext(
        work_dir, models_dir or family_models() / family, minutes, steps, threads, scenes, improve,
        start_from, seed,
    )  # fmt: skip
    finished = run_stage(stage, context)
    if not finished:
        say(f"{stage} is not finished; the same command goes on where it stopped.")


def train_controlnet(
    family: Annotated[str, typer.Option(help="Model family whose base model it steers.")],
    control: Annotated[str, typer.Option(help="Control type that it learns to read.")],
    data: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|paperdoll",
            help="Pictures with captions (metadata.jsonl or .csv with file_name and text, or a "
            ".txt beside each), or scenes of the embedded world.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder; training/<family>-<control> if absent."),
    ] = None,
    base: Annotated[str, typer.Option(help="Base model of the family; the first if absent.")] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of the map's extractor."),
    ] = None,
    steps: Annotated[
        int, typer.Option(min=1, help="Optimiser steps, also of what goes on.")
    ] = 5000,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures in each gradient.")] = 4,
    accumulate: Annotated[int, typer.Option(min=1, help="Gradients in each step.")] = 1,
    rate: Annotated[float, typer.Option(min=0, help="Learning rate after the warm-up.")] = 1e-5,
    warm_up: Annotated[int, typer.Option(min=0, help="Steps until the rate is reached.")] = 500,
    drop: Annotated[
        float, typer.Option(min=0, max=1, help="Share of prompts that are replaced by nothing.")
    ] = 0.5,
    reader: Annotated[
        float, typer.Option(min=0, help="Weight of an objective that helps the condition encoder.")
    ] = 0.0,
    ema: Annotated[
        float, typer.Option(min=0, max=1, help="Decay of a running average; 0 keeps none.")
    ] = 0.0,
    precision: Annotated[
        Literal["auto", "no", "fp16", "bf16"], typer.Option(help="Mixed precision.")
    ] = "auto",
    checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory for more time.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of first weights and draws.")] = 0,
    validate_every: Annotated[
        int, typer.Option(min=1, help="Steps between two looks: pictures and adherence.")
    ] = 500,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between two checkpoints.")] = 500,
    scenes: Annotated[int, typer.Option(min=1, help="Scenes to learn from (paperdoll).")] = 2000,
    threads: Annotated[
        int, typer.Option(min=0, help="Processor threads; 0: as many as usual.")
    ] = 0,
    device: Annotated[
        str, typer.Option(help="cpu, cuda, cuda:0, mps; CUDA if absent and there, else the CPU.")
    ] = "",
) -> None:
    """Train a ControlNet for a family's base model, and watch how well it obeys.

    Ctrl-C keeps what is done; the same command goes on from there, with more --steps, too.
    """
    from workbench.controls import get_control
    from workbench.live import cancelling, progress_bar
    from workbench.training.trainer import ControlNetTraining, train_any

    checked_settings(get_control(control), settings or [], family)
    asked = ControlNetTraining(
        family, control, data, out or Path("training") / f"{family}-{control}", base,
        parse_settings(settings or []), device, precision, steps, batch_size, accumulate, rate,
        warm_up, drop, ema, checkpointing, seed, validate_every, save_every, scenes, threads,
        reader=reader,
    )  # fmt: skip
    with cancelling() as token, progress_bar(f"{family}, {control}") as show:
        done = train_any(asked, log=say, show=show, cancel=token)
    if not done.finished:
        say(f"Stopped. {done.step} of {steps} steps are done; the same command goes on from there.")
        raise typer.Exit(130)
    _tell_result(asked, done)


def _tell_result(asked: ControlNetTraining, done: Trained) -> None:
    """Where the ControlNet is, and how a study uses it."""
    import yaml

    from workbench.paths import models_dir
    from workbench.training.trainer import catalogue_entry

    say(f"Done: the ControlNet is in {done.folder}, its adherence over the steps in {asked.out}.")
    models, folder = models_dir().resolve(), done.folder.resolve()
    if folder.is_relative_to(models):
        say(f"A study uses it with family: {done.name}, once {models / 'families.yaml'} has")
        path = folder.relative_to(models).as_posix()
    else:
        say(f"A study of family: {done.name} uses it with --models {asked.out}. Where other models")
        say(f"lie in {models}, copy the folder there as {done.name}, and into families.yaml:")
        path = done.name
    say(yaml.safe_dump(catalogue_entry(asked, path), sort_keys=False))
