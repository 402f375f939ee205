"""Finished weights: half-precision safetensors in diffusers and transformers folders."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from workbench.training.clip import PIXEL_MEAN, PIXEL_SPREAD

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
    from transformers import CLIPModel, CLIPTokenizer


def plain_attention(model: Any) -> Any:
    """Attention by matrix products: on processors its backward pass is much faster."""
    from diffusers.models.attention_processor import AttnProcessor

    model.set_attn_processor(AttnProcessor())
    return model


def save_half(module: Any, folder: Path) -> None:
    """Save a diffusers or transformers model as float16 safetensors; the module is unchanged.

    The configuration says float32, in which a loader that asks for nothing shall compute:
    transformers would otherwise load half precision beside diffusers' float32. Nor does it say in
    which folder the weights lay while they were trained.
    """
    module = copy.deepcopy(module).eval().half()
    for parameter in module.parameters():
        parameter.data = parameter.data.contiguous()
    module.save_pretrained(folder, safe_serialization=True)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)
    if "dtype" in config:
        _compute_in_float32(config)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _compute_in_float32(config: dict[str, Any]) -> None:
    for key, value in config.items():
        if key == "dtype":
            config[key] = "float32"
        elif isinstance(value, dict):
            _compute_in_float32(value)


def save_clip(model: nn.Module, tokenizer: CLIPTokenizer, models_dir: Path) -> None:
    """CLIP for scoring in ``clip/``; its text tower and tokenizer again in ``base/``."""
    from transformers import CLIPTextModel

    save_score_clip(model, tokenizer, models_dir)
    text = CLIPTextModel(model.config.text_config)  # type: ignore[union-attr,arg-type]
    text.load_state_dict(_text_state(text, model))
    save_half(text, models_dir / "base" / "text_encoder")
    tokenizer.save_pretrained(models_dir / "base" / "tokenizer")


def save_score_clip(model: nn.Module, tokenizer: CLIPTokenizer, models_dir: Path) -> None:
    """CLIP for scoring in ``clip/`` only: the base checkpoint keeps the text tower it has."""
    from transformers import CLIPImageProcessor

    from workbench.paperdoll import SIDE

    save_half(model, models_dir / "clip")
    tokenizer.save_pretrained(models_dir / "clip")
    CLIPImageProcessor(
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        image_mean=list(PIXEL_MEAN),
        image_std=list(PIXEL_SPREAD),
    ).save_pretrained(models_dir / "clip")


def _text_state(text: nn.Module, model: nn.Module) -> dict[str, torch.Tensor]:
    wanted = text.state_dict()
    have = model.state_dict()
    out = {}
    for key in wanted:
        source = key if key in have else f"text_model.{key}"
        out[key] = have[source]
    return out


def load_clip(models_dir: Path) -> tuple[CLIPModel, CLIPTokenizer]:
    """The scoring CLIP in float32 and its tokenizer."""
    from transformers import CLIPModel, CLIPTokenizer

    folder = models_dir / "clip"
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model, CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def base_folder(style: str) -> str:
    """The folder of a drawing style's base checkpoint."""
    return "base" if style == "render" else style


def save_vae(vae: nn.Module, models_dir: Path, style: str = "render") -> None:
    """The autoencoder of a base checkpoint."""
    save_half(vae, models_dir / base_folder(style) / "vae")


def load_vae(models_dir: Path, style: str = "render") -> AutoencoderKL:
    """The autoencoder in float32, convolutions channels last."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(
        models_dir / base_folder(style) / "vae", torch_dtype=torch.float32, local_files_only=True
    )
    return vae.to(memory_format=torch.channels_last)


def load_unet(models_dir: Path) -> UNet2DConditionModel:
    """The base checkpoint's UNet in float32, convolutions channels last."""
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(
        models_dir / "base" / "unet", torch_dtype=torch.float32, local_files_only=True
    )
    return unet.to(memory_format=torch.channels_last)


def load_controlnet(control: str, models_dir: Path) -> ControlNetModel:
    """A ControlNet in float32 by its control type's name, with attention that trains fast."""
    from diffusers import ControlNetModel

    made = ControlNetModel.from_pretrained(
        models_dir / "controlnet" / control, torch_dtype=torch.float32, local_files_only=True
    )
    return plain_attention(made.to(memory_format=torch.channels_last))  # type: ignore[no-any-return]


def save_controlnet(controlnet: ControlNetModel, control: str, models_dir: Path) -> None:
    """A ControlNet under its control type's name."""
    save_half(controlnet, models_dir / "controlnet" / control)


def save_base(
    unet: nn.Module,
    text: nn.Module,
    schedule: dict[str, Any],
    models_dir: Path,
    style: str = "render",
) -> None:
    """UNet, text tower, scheduler and ``model_index.json``: the base folder is then complete.

    Another style's folder gets a copy of the tokenizer.
    """
    import diffusers
    from diffusers import UniPCMultistepScheduler

    base = models_dir / base_folder(style)
    if style != "render":
        shutil.copytree(models_dir / "base" / "tokenizer", base / "tokenizer", dirs_exist_ok=True)
    save_half(text, base / "text_encoder")
    save_half(unet, base / "unet")
    UniPCMultistepScheduler(**schedule).save_pretrained(base / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (base / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
