"""Tiny models of every architecture: SD 1.5, SDXL with ControlNets and a union model, SD3.5.

They are saved by `save_pretrained` in the layouts people have: `owner/name` folders, a hub cache
with snapshots, a ControlNet in a subfolder, files of the fp16 variant, plain files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from tiny_models import (
    PROMPTS,
    SIDE,
    _shake,
    _text_config,
    _text_encoder,
    _tokenizer,
    _vae,
    _write_clip,
    write_tiny_family,
)
from tiny_networks import NETWORKS, write_networks

from workbench.families import Family
from workbench.families.quiet import quiet_libraries

COMMIT = "0123456789abcdef0123456789abcdef01234567"
UNION_MODES = {
    "pose": 0,
    "depth": 1,
    "hed": 2,
    "scribble": 2,
    "canny": 3,
    "lines": 3,
    "lineart": 3,
    "normal": 4,
    "segmentation": 5,
}
_NEAR = (4, 8, 8, 8)
_XL = {
    "label": "Tiny SDXL (random weights)",
    "architecture": "stable-diffusion-xl",
    "resolution": SIDE,
    "text_limit": 20,
    "licence": "Apache-2.0",
    "memory": {"float32": 0.1},
    "base": {"one": {"repo": "some/xl-base", "variant": "fp16"}},
    "vae": {"repo": "some/xl-vae"},
    "clip": {"path": "some/clip"},
    "defaults": {"steps": 2, "scheduler": "euler"},
}
_FLOW = {
    "label": "Tiny SD3.5 (random weights)",
    "architecture": "stable-diffusion-3",
    "resolution": SIDE,
    "text_limit": 256,
    "licence": "Apache-2.0",
    "base": {"one": {"repo": "some/flow-base"}},
    "clip": {"path": "some/clip"},
    "defaults": {"steps": 2, "scheduler": "euler"},
}
ENTRIES: dict[str, dict[str, Any]] = {
    "tiny-sd": {
        "label": "Tiny SD 1.5 (random weights)",
        "resolution": SIDE,
        "text_limit": 20,
        "licence": "Apache-2.0",
        "base": {"one": {"path": "tiny/base"}},
        "controlnets": {name: {"path": "tiny/controlnet/depth"} for name in UNION_MODES}
        | {name: {"path": "tiny/controlnet/canny"} for name in ("canny", "lineart.anime")},
        "networks": NETWORKS,
        "judges": {"words": {"yes-or-no": {"loader": "vqa", "path": "some/blip"}}},
        "clip": {"path": "some/clip"},
        "defaults": {"steps": 2, "scheduler": "euler"},
    },
    "tiny-union": _XL
    | {
        "networks": NETWORKS,
        "controlnets": {
            name: {"repo": "some/xl-union", "union_mode": mode}
            for name, mode in UNION_MODES.items()
        },
    },
    "tiny-xl": _XL
    | {
        "controlnets": {
            "depth": {"repo": "some/xl-nets", "subfolder": "nets/depth"},
            "canny": {"repo": "some/xl-canny", "variant": "fp16"},
        }
    },
    # Like the 8B ControlNets of SD3.5 Large: no text, positions taken from the base.
    "tiny-flow": _FLOW
    | {
        "controlnets": {
            "depth": {"repo": "some/flow-depth"},
            "canny": {"repo": "some/flow-canny", "pixels": "sd35-canny"},
        }
    },
    # Like those of SD3 and SD3.5 Medium: a copy of the base's first blocks.
    "tiny-flow-copy": _FLOW
    | {"controlnets": {name: {"repo": f"some/flow-copy-{name}"} for name in ("depth", "canny")}},
}
FAMILIES = {name: Family.model_validate({"name": name, **ENTRIES[name]}) for name in ENTRIES}


def write_tiny_families(models: Path) -> dict[str, Family]:
    """Write all models below `models`, and the catalogue beside them; returns the families."""
    with quiet_libraries():
        tokenizer = _tokenizer()
        write_tiny_family(models)
        _write_xl(models, tokenizer)
        _write_flow(models, tokenizer)
        write_networks(models)
        torch.manual_seed(20)
        _write_clip(models / "some" / "clip", tokenizer)
    (models / "families.yaml").write_text(yaml.safe_dump({"families": ENTRIES}), "utf-8")
    return FAMILIES


def snapshot(models: Path, repo: str) -> Path:
    """The folder of a model in the layout of a hub cache, its branch main at `COMMIT`."""
    folder = models / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(COMMIT, "utf-8")
    return folder / "snapshots" / COMMIT


def _write_xl(models: Path, tokenizer: Any) -> None:
    from diffusers import (
        ControlNetModel,
        ControlNetUnionModel,
        EulerDiscreteScheduler,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )

    torch.manual_seed(30)
    shape = {
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "cross_attention_dim": 64,
        "attention_head_dim": (2, 4),
        "transformer_layers_per_block": (1, 2),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + 16,
        "norm_num_groups": 4,
    }
    unet = UNet2DConditionModel(
        sample_size=SIDE // 8, up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), **shape
    )
    vae = _vae()
    pipeline = StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=_text_encoder(tokenizer),
        text_encoder_2=_second_encoder(tokenizer),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=EulerDiscreteScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1
        ),
        add_watermarker=False,
    )
    for part in (pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2, pipeline.unet):
        part.half()
    pipeline.save_pretrained(snapshot(models, "some/xl-base"), variant="fp16")
    unet.float()
    torch.manual_seed(31)
    _vae().save_pretrained(models / "some" / "xl-vae")
    for seed, (folder, keywords) in enumerate(
        [("xl-nets/nets/depth", {}), ("xl-canny", {"variant": "fp16"})]
    ):
        torch.manual_seed(32 + seed)
        net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=_NEAR)
        _shake(net)
        net.half().save_pretrained(models / "some" / folder, **keywords)
    torch.manual_seed(35)
    union = ControlNetUnionModel(
        **shape,
        conditioning_embedding_out_channels=_NEAR,
        num_trans_channel=16,
        num_proj_channel=16,
        num_trans_head=4,
        num_control_type=6,
    )
    _shake(union)
    with torch.no_grad():
        union.task_embedding.normal_()
        for layer in union.transformer_layes:  # so that what it attends to shows in pictures
            layer.attn.in_proj_weight.mul_(4)
            layer.attn.out_proj.weight.mul_(4)
    union.half().save_pretrained(models / "xl-union")


def _write_flow(models: Path, tokenizer: Any) -> None:
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        SD3ControlNetModel,
        SD3Transformer2DModel,
        StableDiffusion3Pipeline,
    )
    from transformers import T5Config, T5EncoderModel, T5TokenizerFast

    torch.manual_seed(40)
    tokenizer_3 = T5TokenizerFast().train_new_from_iterator([*PROMPTS * 8], vocab_size=120)
    t5 = T5Config(
        vocab_size=len(tokenizer_3), d_model=64, d_kv=8, d_ff=64, num_layers=1, num_heads=4
    )
    shape = {
        "sample_size": SIDE // 8,
        "patch_size": 2,
        "in_channels": 4,
        "num_layers": 2,
        "attention_head_dim": 8,
        "num_attention_heads": 4,
        "pooled_projection_dim": 32,
        "out_channels": 4,
        "pos_embed_max_size": SIDE // 8,
    }
    text = {"joint_attention_dim": 64, "caption_projection_dim": 32}
    transformer = SD3Transformer2DModel(**shape, **text)
    with torch.no_grad():  # its last layer starts near zero
        transformer.proj_out.weight.normal_(0, 0.2)
    pipeline = StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=flow_vae(),
        text_encoder=_second_encoder(tokenizer),
        tokenizer=tokenizer,
        text_encoder_2=_second_encoder(tokenizer),
        tokenizer_2=tokenizer,
        text_encoder_3=T5EncoderModel(t5),
        tokenizer_3=tokenizer_3,
    )
    pipeline.save_pretrained(models / "some" / "flow-base")
    for seed, name in enumerate(("flow-depth", "flow-canny")):
        torch.manual_seed(42 + seed)
        net = SD3ControlNetModel(
            **shape,
            joint_attention_dim=None,
            caption_projection_dim=32,
            pos_embed_type=None,
            use_pos_embed=False,
            force_zeros_for_pooled_projection=False,
        )
        _shake(net)
        net.save_pretrained(models / "some" / name)
    for seed, name in enumerate(("flow-copy-depth", "flow-copy-canny")):
        torch.manual_seed(45 + seed)
        copied = SD3ControlNetModel(**shape, **text)
        _shake(copied)
        copied.half().save_pretrained(models / "some" / name)


def flow_vae() -> Any:
    """The tiny VAE with a shift; its encoder is sure, so that sampling its latents draws nothing.

    The stock pipeline draws the latents of control maps from the global random state.
    """
    vae = _vae()
    vae.register_to_config(shift_factor=0.1, scaling_factor=1.2)
    with torch.no_grad():
        vae.quant_conv.weight[4:] = 0
        vae.quant_conv.bias[4:] = -30
    return vae


def _second_encoder(tokenizer: Any) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    return CLIPTextModelWithProjection(CLIPTextConfig(**_text_config(tokenizer)))
