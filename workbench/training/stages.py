"""The stages that make the embedded model, each a command that logs, checkpoints and resumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from workbench.controls import CONTROL_NAMES
from workbench.training.context import TrainingContext

_NEEDS: dict[str, tuple[tuple[str, str], ...]] = {
    "clip-pictures": (("clip", "clip"),),
    "vae-decoder": (("vae", "base/vae"),),
    "vae-decoder:ink": (("vae-decoder", "base/vae"),),
    "judge": (("vae", "base/vae"),),
    "auditor": (("vae", "base/vae"),),
    "unet": (("clip", "base/text_encoder"), ("vae", "base/vae")),
    "unet:ink": (("unet", "base/unet"), ("vae-decoder:ink", "ink/vae")),
    "controlnet": (("unet", "base/unet"), ("judge", "judge")),
}
"""For each stage: what it builds on, and the folder that the other stage leaves."""

_STYLED = ("vae-decoder:ink", "unet:ink")
"""Stages of the second base checkpoint."""


class StageError(ValueError):
    """A stage cannot run; the message says why and what to do."""


def stage_names() -> tuple[str, ...]:
    """All stages in the order in which they depend on each other."""
    return (*_STAGES, *_STYLED, *(f"controlnet:{name}" for name in CONTROL_NAMES))


def run_stage(
    stage: str,
    work_dir: Path,
    models_dir: Path,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    threads: int = 2,
    scenes: int | None = None,
    improve: bool = False,
    start_from: str = "",
    seed: int | None = None,
) -> bool:
    """Run or resume one stage and, when it is finished, export its weights.

    Returns:
        Whether the stage has run all its steps.

    Raises:
        StageError: if no stage has this name, a stage it builds on has not been run, or
            `start_from` names what is no other finished ControlNet.
    """
    context = TrainingContext(
        work_dir, models_dir, minutes, steps, threads, scenes, improve, start_from, seed
    )
    name, _, detail = stage.partition(":")
    if stage not in stage_names():
        raise StageError(f"there is no stage {stage!r}; there are: {', '.join(stage_names())}")
    if start_from:
        _check_start(stage, start_from, models_dir, improve)
    for earlier, folder in _NEEDS.get(stage, _NEEDS.get(name, ())):
        if not (models_dir / folder).is_dir():
            raise StageError(
                f"stage {stage} builds on stage {earlier}: run that first "
                f"({models_dir / folder} is missing)"
            )
    torch.set_num_threads(threads)
    if name == "controlnet":
        from workbench.training.controlnet import train_controlnet

        return train_controlnet(context, detail)
    if stage == "unet:ink":
        from workbench.training.unet import train_other_style

        return train_other_style(context, detail)
    if stage == "vae-decoder:ink":
        return _vae_decoder(context, detail)
    return _STAGES[name](context)


def _check_start(stage: str, start_from: str, models_dir: Path, improve: bool) -> None:
    name, _, control = stage.partition(":")
    if name != "controlnet":
        raise StageError(f"only ControlNets start from another one; {stage} is none")
    if improve:
        raise StageError("start either from the stage's own weights or from another ControlNet")
    if start_from == control or not (models_dir / "controlnet" / start_from).is_dir():
        raise StageError(f"{stage} cannot start from {start_from!r}: that is no finished other one")


def _clip(context: TrainingContext) -> bool:
    from workbench.training.captions import corpus
    from workbench.training.clip import RECIPE, clip_loss, new_clip
    from workbench.training.export import save_clip
    from workbench.training.tokenizer import train_tokenizer

    data = context.data()
    tokenizer = train_tokenizer(list(corpus(RECIPE.seed)))
    model = new_clip(tokenizer)
    result = context.fit("clip", model, lambda d: clip_loss(model, tokenizer, data, d), RECIPE)
    save_clip(result.module, tokenizer, context.models_dir)
    _report_clip(context, result.module, tokenizer, "clip")
    return result.finished


def _clip_pictures(context: TrainingContext) -> bool:
    from workbench.training.clip_pictures import RECIPE, PictureLesson, picture_loss
    from workbench.training.export import load_clip, save_score_clip

    data = context.data()
    model, tokenizer = load_clip(context.models_dir)
    lesson = PictureLesson(model)
    result = context.fit(
        "clip-pictures", lesson, lambda d: picture_loss(lesson, tokenizer, data, d), RECIPE
    )
    clip = result.module.clip
    save_score_clip(clip, tokenizer, context.models_dir)  # type: ignore[arg-type]
    _report_clip(context, clip, tokenizer, "clip-pictures")  # type: ignore[arg-type]
    return result.finished


def _report_clip(
    context: TrainingContext, model: torch.nn.Module, tokenizer: object, stage: str
) -> None:
    from workbench.training.clip import tag_accuracy
    from workbench.training.data import render_arrays, words_of

    held = render_arrays(range(700_000, 700_256))
    figures = tag_accuracy(model.eval(), tokenizer, held["rgb"], words_of(held["tags"]))  # type: ignore[arg-type]
    context.log(stage)("  ".join(f"{k} {v:.3f}" for k, v in figures.items()))


def _vae(context: TrainingContext) -> bool:
    from workbench.training.export import save_vae
    from workbench.training.vae import RECIPE, new_vae, normalise_latents, vae_loss

    data = context.data()
    vae = new_vae()
    result = context.fit("vae", vae, lambda d: vae_loss(vae, data, d), RECIPE)
    normalise_latents(result.module, data)  # type: ignore[arg-type]
    save_vae(result.module, context.models_dir)
    _report_vae(context, "vae")
    return result.finished


def _vae_decoder(context: TrainingContext, style: str = "render") -> bool:
    from workbench.training.export import load_vae, save_vae
    from workbench.training.latents import latents_of
    from workbench.training.vae import DECODER_RECIPE, Decoder, decoder_loss

    data = context.data()
    vae = load_vae(context.models_dir)
    latents = latents_of(context.work_dir, vae, data, style)
    decoder = Decoder(vae)
    result = context.fit(
        "vae-decoder" if style == "render" else f"vae-decoder:{style}",
        decoder,
        lambda d: decoder_loss(decoder, latents, data, d, style),
        DECODER_RECIPE,
    )
    vae.post_quant_conv.load_state_dict(result.module.post_quant_conv.state_dict())  # type: ignore[union-attr]
    vae.decoder.load_state_dict(result.module.decoder.state_dict())  # type: ignore[union-attr]
    save_vae(vae, context.models_dir, style)
    _report_vae(context, "vae-decoder", style)
    return result.finished


def _report_vae(context: TrainingContext, stage: str, style: str = "render") -> None:
    from workbench.training.data import held_pictures
    from workbench.training.export import load_vae
    from workbench.training.vae import psnr, reconstruct

    held = held_pictures(range(700_000, 700_128), style)
    vae = load_vae(context.models_dir, style).eval()
    context.log(stage)(f"PSNR {psnr(held, reconstruct(vae, held)):.2f} dB on 128 other scenes")


def _unet(context: TrainingContext) -> bool:
    from workbench.training.unet import train_unet

    return train_unet(context)


def _judge(context: TrainingContext) -> bool:
    from workbench.training.judge import train_judge

    return train_judge(context)


def _auditor(context: TrainingContext) -> bool:
    from workbench.training.auditor import train_auditor

    return train_auditor(context)


_STAGES: dict[str, Callable[[TrainingContext], bool]] = {
    "clip": _clip,
    "clip-pictures": _clip_pictures,
    "vae": _vae,
    "vae-decoder": _vae_decoder,
    "judge": _judge,
    "auditor": _auditor,
    "unet": _unet,
}
