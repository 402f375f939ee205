"""The stages that make the embedded model, each a command that logs, checkpoints and resumes."""

from __future__ import annotations

from collections.abc import Callable

import torch

from workbench.controls import CONTROL_NAMES
from workbench.families.determinism import processor_threads
from workbench.training.auditor import train_auditor
from workbench.training.captions import corpus
from workbench.training.clip import RECIPE as CLIP_RECIPE
from workbench.training.clip import clip_loss, new_clip, tag_accuracy
from workbench.training.clip_pictures import RECIPE as PICTURE_RECIPE
from workbench.training.clip_pictures import PictureLesson, picture_loss
from workbench.training.context import TrainingContext
from workbench.training.controlnet import train_controlnet
from workbench.training.data import held_pictures, render_arrays, words_of
from workbench.training.export import load_clip, load_vae, save_clip, save_score_clip, save_vae
from workbench.training.judge import train_judge
from workbench.training.latents import latents_of
from workbench.training.tokenizer import train_tokenizer
from workbench.training.unet import train_other_style, train_unet
from workbench.training.vae import (
    DECODER_RECIPE,
    Decoder,
    decoder_loss,
    new_vae,
    normalise_latents,
    psnr,
    reconstruct,
    vae_loss,
)
from workbench.training.vae import RECIPE as VAE_RECIPE
from workbench.training.words import train_words

_NEEDS: dict[str, tuple[tuple[str, str], ...]] = {
    "clip-pictures": (("clip", "clip"),),
    "vae-decoder": (("vae", "base/vae"),),
    "vae-decoder:ink": (("vae-decoder", "base/vae"),),
    "judge": (("vae", "base/vae"),),
    "words": (("vae-decoder", "base/vae"), ("vae-decoder:ink", "ink/vae")),
    "auditor": (("vae", "base/vae"),),
    "unet": (("clip", "base/text_encoder"), ("vae", "base/vae")),
    "unet:ink": (("unet", "base/unet"), ("vae-decoder:ink", "ink/vae")),
    "controlnet": (("unet", "base/unet"), ("judge", "judge")),
}
"""For each stage: what it builds on, and the folder that the other stage leaves."""


class StageError(ValueError):
    """A stage cannot run; the message says why and what to do."""


def stage_names() -> tuple[str, ...]:
    """All stages in the order in which they depend on each other."""
    return (
        *(name for name in _STAGES if name != "controlnet"),
        *(f"controlnet:{name}" for name in CONTROL_NAMES),
    )


def run_stage(stage: str, context: TrainingContext) -> bool:
    """Run or resume one stage and, when it is finished, export its weights.

    Returns:
        Whether the stage has run all its steps.

    Raises:
        StageError: if no stage has this name, a stage it builds on has not been run, or the
            context's `start_from` names what is no other finished ControlNet.
    """
    models_dir = context.models_dir
    name, _, detail = stage.partition(":")
    if stage not in stage_names():
        raise StageError(f"there is no stage {stage!r}; there are: {', '.join(stage_names())}")
    if context.start_from:
        _check_start(stage, context)
    for earlier, folder in _NEEDS.get(stage, _NEEDS.get(name, ())):
        if not (models_dir / folder).is_dir():
            raise StageError(
                f"stage {stage} builds on stage {earlier}: run that first "
                f"({models_dir / folder} is missing)"
            )
    function = _STAGES[stage if stage in _STAGES else name]
    with processor_threads(context.threads):
        return function(context, detail) if detail else function(context)


def _check_start(stage: str, context: TrainingContext) -> None:
    start_from, models_dir = context.start_from, context.models_dir
    name, _, control = stage.partition(":")
    if name != "controlnet":
        raise StageError(f"only ControlNets start from another one; {stage} is none")
    if context.improve:
        raise StageError("start either from the stage's own weights or from another ControlNet")
    if start_from == control or not (models_dir / "controlnet" / start_from).is_dir():
        raise StageError(f"{stage} cannot start from {start_from!r}: that is no finished other one")


def _clip(context: TrainingContext) -> bool:
    data = context.data()
    tokenizer = train_tokenizer(list(corpus(CLIP_RECIPE.seed)))
    model = new_clip(tokenizer)
    result = context.fit("clip", model, lambda d: clip_loss(model, tokenizer, data, d), CLIP_RECIPE)
    save_clip(result.module, tokenizer, context.models_dir)
    _report_clip(context, result.module, tokenizer, "clip")
    return result.finished


def _clip_pictures(context: TrainingContext) -> bool:
    data = context.data()
    model, tokenizer = load_clip(context.models_dir)
    lesson = PictureLesson(model)
    result = context.fit(
        "clip-pictures", lesson, lambda d: picture_loss(lesson, tokenizer, data, d), PICTURE_RECIPE
    )
    clip = result.module.clip
    save_score_clip(clip, tokenizer, context.models_dir)  # type: ignore[arg-type]
    _report_clip(context, clip, tokenizer, "clip-pictures")  # type: ignore[arg-type]
    return result.finished


def _report_clip(
    context: TrainingContext, model: torch.nn.Module, tokenizer: object, stage: str
) -> None:
    held = render_arrays(range(700_000, 700_256))
    figures = tag_accuracy(model.eval(), tokenizer, held["rgb"], words_of(held["tags"]))  # type: ignore[arg-type]
    context.log(stage)("  ".join(f"{k} {v:.3f}" for k, v in figures.items()))


def _vae(context: TrainingContext) -> bool:
    data = context.data()
    vae = new_vae()
    result = context.fit("vae", vae, lambda d: vae_loss(vae, data, d), VAE_RECIPE)
    normalise_latents(result.module, data)  # type: ignore[arg-type]
    save_vae(result.module, context.models_dir)
    _report_vae(context, "vae")
    return result.finished


def _vae_decoder(context: TrainingContext, style: str = "render") -> bool:
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
    held = held_pictures(range(700_000, 700_128), style)
    vae = load_vae(context.models_dir, style).eval()
    context.log(stage)(f"PSNR {psnr(held, reconstruct(vae, held)):.2f} dB on 128 other scenes")


_STAGES: dict[str, Callable[..., bool]] = {
    "clip": _clip,
    "clip-pictures": _clip_pictures,
    "vae": _vae,
    "vae-decoder": _vae_decoder,
    "judge": train_judge,
    "auditor": train_auditor,
    "unet": train_unet,
    "vae-decoder:ink": _vae_decoder,
    "words": train_words,
    "unet:ink": train_other_style,
    "controlnet": train_controlnet,
}
"""A function for every stage; those with a detail after the colon take it as second argument."""
