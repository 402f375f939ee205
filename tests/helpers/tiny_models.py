"""A Stable-Diffusion-shaped family with random weights, small enough to run in milliseconds.

Written in the layout of a hub and in half precision, so that tests load it through the code that
loads real models. The pictures mean nothing, but they depend on prompt, control, scale and seed as
real ones do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workbench.controls.base import ControlMap
from workbench.families import Family
from workbench.families.quiet import quiet_libraries
from workbench.study import Trial

SIDE = 64
PROMPTS = ("a girl, long hair, red coat", "a boy, snow", "")
CONTROLS = ("depth", "canny")
_TEXT_LIMIT = 20
_WIDTH = 32

FAMILY = Family.model_validate(
    {
        "name": "tiny",
        "label": "Tiny (random weights)",
        "resolution": SIDE,
        "text_limit": _TEXT_LIMIT,
        "licence": "Apache-2.0",
        "base": {"render": {"path": "tiny/base"}, "ink": {"path": "tiny/ink"}},
        "controlnets": {name: {"path": f"tiny/controlnet/{name}"} for name in CONTROLS},
        "clip": {"path": "tiny/clip"},
        "networks": {"depth": {"loader": "judge", "path": "tiny/judge"}},
        "defaults": {"steps": 4},
    }
)


def write_tiny_family(models: Path) -> Family:
    """Write all models of `FAMILY` below the folder `models` and return the family."""
    with quiet_libraries():
        _write(models / "tiny")
    return FAMILY


def _write(root: Path) -> None:
    from diffusers import ControlNetModel, DDIMScheduler, StableDiffusionPipeline

    tokenizer = _tokenizer()
    unets = {}
    for seed, base in enumerate(("base", "ink")):
        torch.manual_seed(seed)
        unets[base] = _unet()
        pipeline = StableDiffusionPipeline(
            vae=_vae(),
            text_encoder=_text_encoder(tokenizer),
            tokenizer=tokenizer,
            unet=unets[base],
            scheduler=DDIMScheduler(
                beta_schedule="scaled_linear",
                beta_start=0.00085,
                beta_end=0.012,
                prediction_type="v_prediction",
                clip_sample=False,
                steps_offset=1,
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        for part in (pipeline.vae, pipeline.text_encoder, pipeline.unet):
            part.half()
        pipeline.save_pretrained(root / base, safe_serialization=True)
        unets[base].float()
    for seed, name in enumerate(CONTROLS):
        torch.manual_seed(10 + seed)
        controlnet = ControlNetModel.from_unet(
            unets["base"], conditioning_embedding_out_channels=(4, 8, 8, 8)
        )
        _shake(controlnet)
        controlnet.half().save_pretrained(root / "controlnet" / name)
    torch.manual_seed(20)
    _write_clip(root / "clip", tokenizer)


def make_trial(**changes: Any) -> Trial:
    """A controlled trial of the tiny family; `changes` replace its fields."""
    values: dict[str, Any] = {
        "family": "tiny",
        "base": "render",
        "control": "depth",
        "control_settings": "{}",
        "source_sha256": "source-0",
        "prompt": PROMPTS[0],
        "negative_prompt": "",
        "seed": 1,
        "steps": 4,
        "guidance_scale": 5.0,
        "scheduler": "unipc",
        "scale": 1.0,
        "control_start": 0.0,
        "control_end": 1.0,
        "size": SIDE,
    }
    if changes.get("control", "depth") is None:
        values |= {"control_settings": "", "source_sha256": None, "scale": 0.0}
    return Trial(**(values | changes))


def make_maps(count: int = 3) -> dict[tuple[str, str, str], ControlMap]:
    """Control maps of `count` made-up sources for every control of the tiny family."""
    maps = {}
    for control in CONTROLS:
        for i in range(count):
            rng = np.random.default_rng(i + 100 * CONTROLS.index(control))
            blocks = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            picture = np.kron(blocks, np.ones((SIDE // 8, SIDE // 8, 1), np.uint8))
            maps[f"source-{i}", control, "{}"] = ControlMap(picture, picture[:, :, 0] / 255)
    return maps


def _tokenizer() -> Any:
    from transformers import CLIPTokenizer

    letters = " ".join("abcdefghijklmnopqrstuvwxyz0123456789,.:")
    trained = CLIPTokenizer().train_new_from_iterator(
        [*PROMPTS * 4, letters, "".join(letters.split())], vocab_size=400, show_progress=False
    )
    trained.model_max_length = _TEXT_LIMIT
    return trained


def _text_config(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": _WIDTH,
        "intermediate_size": 2 * _WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": _TEXT_LIMIT,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "projection_dim": 16,
    }


def _text_encoder(tokenizer: Any) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(CLIPTextConfig(**_text_config(tokenizer)))


def _unet() -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=SIDE // 8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=_WIDTH,
        attention_head_dim=4,
        norm_num_groups=4,
    )


def _vae() -> Any:
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIDE,
        scaling_factor=1.0,
    )
    with torch.no_grad():  # or else the pictures would be almost grey
        vae.decoder.conv_out.weight.mul_(3)
    return vae


def _shake(controlnet: Any) -> None:
    """Give the zero convolutions weights, so that the control map changes pictures."""
    with torch.no_grad():
        for name, weight in controlnet.named_parameters():
            if not weight.any() and name.endswith("weight"):
                weight.normal_(0, 0.3)
            if "cond_embedding" in name and name.endswith("weight"):
                weight.mul_(3)


def _write_clip(folder: Path, tokenizer: Any) -> None:
    from transformers import CLIPConfig, CLIPModel

    text = _text_config(tokenizer)
    vision = {
        "hidden_size": _WIDTH,
        "intermediate_size": 2 * _WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": SIDE,
        "patch_size": 16,
        "projection_dim": 16,
    }
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    CLIPModel(config).half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "size": size,
        "crop_size": size,
        "do_center_crop": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor), "utf-8")
