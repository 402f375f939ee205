"""A second base model for each tiny family, in layouts that nobody prepared, and plain diffusers.

The second bases are in shards, in half precision, or mixed: the denoiser in shards of a variant and
the rest as plain files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from tiny_families import ENTRIES, FAMILIES, write_tiny_families

from workbench.families import Family
from workbench.families.locate import locate
from workbench.families.manager import dtype_keyword
from workbench.families.quiet import quiet_libraries
from workbench.families.refs import ModelRef
from workbench.study import Trial

TWO = {
    "stable-diffusion": "some/sd-two",
    "stable-diffusion-xl": "some/xl-two",
    "stable-diffusion-3": "some/flow-two",
}
BASES = ("one", "two")


def write_two_bases(models: Path) -> dict[str, Family]:
    """All tiny families below `models`, each with the bases "one" and "two", and the catalogue."""
    write_tiny_families(models)
    entries = {}
    for name, entry in ENTRIES.items():
        second = {"repo": TWO[FAMILIES[name].architecture]}
        entries[name] = entry | {"base": entry["base"] | {"two": second}}
    (models / "families.yaml").write_text(yaml.safe_dump({"families": entries}), "utf-8")
    families = {name: Family.model_validate({"name": name, **entries[name]}) for name in entries}
    for seed, name in enumerate(("tiny-sd", "tiny-xl", "tiny-flow")):
        with quiet_libraries():
            _write_second(families[name], models, 60 + seed)
    return families


def _write_second(family: Family, models: Path, seed: int) -> None:
    pipeline = _load(family, "one", (), models)
    part = family.parts_of.denoiser
    torch.manual_seed(seed)
    denoiser = type(getattr(pipeline, part)).from_config(getattr(pipeline, part).config)
    if part == "transformer":  # its last layer starts near zero
        with torch.no_grad():
            denoiser.proj_out.weight.normal_(0, 0.2)
    folder = models / TWO[family.architecture]
    if family.architecture != "stable-diffusion-xl":
        if part == "transformer":
            denoiser.half()
        setattr(pipeline, part, denoiser)
        pipeline.save_pretrained(folder, max_shard_size="100KB")
        assert list((folder / part).glob("*-of-*.safetensors")), "it is in shards"
        return
    pipeline.save_pretrained(folder)
    for file in (folder / part).iterdir():
        file.unlink()
    denoiser.half().save_pretrained(folder / part, variant="fp16", max_shard_size="100KB")


def plain_picture(
    family: Family, trial: Trial, models: Path, pictures: Sequence[np.ndarray]
) -> np.ndarray:
    """What a user of diffusers makes of a trial, with no code of ours; uint8 H×W×3.

    `pictures` are its control maps. Every base model has ControlNets of its own.
    """
    names = tuple(
        family.controlnet_name(use.control, use.control_settings) for use in trial.controls
    )
    pipeline = _pipeline(family, trial.base, names, models)
    arguments: dict[str, Any] = {}
    if names:
        refs = [family.controlnet_ref(name) for name in names]
        images: list[Any] = [Image.fromarray(picture) for picture in pictures]
        listed = len(names) > 1
        key = family.parts_of.image
        if refs[0].union_mode is not None:
            key, listed = "control_image", True
            arguments["control_mode"] = [ref.union_mode for ref in refs]
        if refs[0].pixels == "sd35-canny":  # its model card's image processor
            pixels = torch.from_numpy(np.array(images[0])).permute(2, 0, 1)[None].float() / 255
            images = [pixels * 127.5 + 0.5]
        scales = [use.scale for use in trial.controls]
        arguments |= {
            key: images if listed else images[0],
            "controlnet_conditioning_scale": scales if len(names) > 1 else scales[0],
        }
    (picture,) = pipeline(
        trial.prompt,
        negative_prompt=trial.negative_prompt or None,
        height=trial.size,
        width=trial.size,
        num_inference_steps=trial.steps,
        guidance_scale=trial.guidance_scale,
        generator=torch.Generator().manual_seed(trial.seed),
        **arguments,
    ).images
    return np.asarray(picture)


_KEPT: dict[tuple[Any, ...], Any] = {}


def _pipeline(family: Family, base: str, names: tuple[str, ...], models: Path) -> Any:
    """A pipeline that is loaded once."""
    key = (family.name, base, names, models)
    if key not in _KEPT:
        _KEPT[key] = _load(family, base, names, models)
    return _KEPT[key]


def _load(family: Family, base: str, names: tuple[str, ...], models: Path) -> Any:
    import diffusers

    parts = family.parts_of

    def load(kind: str, ref: ModelRef, **more: Any) -> Any:
        place = locate(ref, models)
        more |= dtype_keyword("float32") | place.keywords
        return getattr(diffusers, kind).from_pretrained(place.name, **more)

    with quiet_libraries():
        more: dict[str, Any] = {}
        refs = [family.controlnet_ref(name) for name in names]
        union = bool(refs) and refs[0].union_mode is not None
        if refs:
            nets = [load(parts.union_controlnet if union else parts.controlnet, r) for r in refs]
            more["controlnet"] = nets if len(nets) > 1 else nets[0]
        if family.vae is not None:
            more["vae"] = load("AutoencoderKL", family.vae)
        kind = parts.text if not refs else parts.union if union else parts.control
        pipeline = load(kind, family.base_ref(base), **more)
    flow = parts.encodes_maps
    sampler = (
        diffusers.FlowMatchEulerDiscreteScheduler if flow else diffusers.EulerDiscreteScheduler
    )
    pipeline.scheduler = sampler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
