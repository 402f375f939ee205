"""How much of a sweep at Stable Diffusion's shape lies outside the forward passes of models?

    python benchmarks/overhead.py [--width 320] [--size 256] [--steps 8] [--threads N] [--json]

The models have the block structure of Stable Diffusion 1.5, its VAE and its text encoder, a
ControlNet made from the UNet, and a CLIP judge of ViT-B/16's shape, all with random weights. At
--width 320 the UNet is that of SD 1.5 (860 M parameters). The default makes UNet, ControlNet and
VAE a fifth as wide, so that a laptop is done in minutes: their forward passes then take about a
twentieth of the time, so the share outside of them comes out larger than it is at the full width.
Aim: at most 5 %.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from clock import ForwardClock, Stopwatch
from throughput import Phases, most_first, say

from workbench.families import Family, get_family
from workbench.families.manager import ModelManager
from workbench.families.quiet import quiet_libraries
from workbench.paths import models_dir
from workbench.study import Study
from workbench.sweep import Progress, run_study

FULL_WIDTH = 320


def main() -> None:
    """Read the command line, make the models, run the study, print what came out."""
    options = parse_arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        say("making models")
        parameters = write_models(Path(folder) / "sd", options.width)
        manager = ModelManager(shaped_family(options.size), models_dir=folder)
        result = {"width": options.width, "size": options.size, "parameters": parameters}
        result |= measure(manager, shaped_study(options.steps), Path(folder) / "run")
    print(json.dumps(result, indent=2) if options.json else "\n" + table(result))


def parse_arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--width", type=int, default=FULL_WIDTH // 5, help="of the first block")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures in pixels")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, help="threads torch may use")
    parser.add_argument("--json", action="store_true", help="print nothing but JSON")
    return parser.parse_args()


def shaped_family(size: int) -> Family:
    """A family of these models. It borrows the embedded one's name, so that studies accept it."""
    own = get_family("paperdoll")
    return Family.model_validate(
        {
            "name": own.name,
            "label": "SD 1.5 shape, random weights",
            "world": own.world,
            "resolution": size,
            "text_limit": own.text_limit,
            "licence": own.licence,
            "base": {"render": {"path": "sd/base"}},
            "controlnets": {"canny": {"path": "sd/controlnet"}},
            "clip": {"path": "sd/clip"},
        }
    )


def shaped_study(steps: int) -> Study:
    """Three pictures: one of text only, and one source at two scales."""
    return Study(
        name="overhead",
        sources=("paperdoll:900001",),
        controls=("canny",),
        prompt="a girl, long hair, black coat, snow",
        scales=(0, 0.5, 1),
        seeds=(1,),
        steps=steps,
        batch_size=2,
    )


def write_models(root: Path, width: int) -> int:
    """Save all models in the hub's layout; returns the parameters of the UNet."""
    from diffusers import (
        AutoencoderKL,
        ControlNetModel,
        DDIMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    own = models_dir() / "paperdoll"
    tokenizer = CLIPTokenizer.from_pretrained(own / "base", subfolder="tokenizer")
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": tokenizer.model_max_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    torch.manual_seed(0)
    channels = tuple(width * factor for factor in (1, 2, 4, 4))
    unet = UNet2DConditionModel(
        sample_size=64, block_out_channels=channels, cross_attention_dim=768, attention_head_dim=8
    )
    narrow = max(32, 128 * width // FULL_WIDTH // 32 * 32)
    vae = AutoencoderKL(
        block_out_channels=tuple(narrow * factor for factor in (1, 2, 4, 4)),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        sample_size=512,
        scaling_factor=0.18215,
    )
    with torch.inference_mode():  # or else a random decoder would paint one grey
        drawn = vae.decode(torch.randn(1, 4, 16, 16) / 0.18215).sample
        vae.decoder.conv_out.weight.mul_(0.5 / drawn.std())
        vae.decoder.conv_out.bias.sub_(drawn.mean((0, 2, 3))).mul_(0.5 / drawn.std())
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(CLIPTextConfig(**text)),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(
            beta_schedule="scaled_linear",
            beta_start=0.00085,
            beta_end=0.012,
            steps_offset=1,
            clip_sample=False,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    with quiet_libraries():
        pipeline.save_pretrained(root / "base")
        ControlNetModel.from_unet(unet).save_pretrained(root / "controlnet")
        shutil.copytree(own / "clip", root / "clip")
        (root / "clip" / "model.safetensors").unlink()
        CLIPModel(clip_config(text)).save_pretrained(root / "clip")
    processor = json.loads((root / "clip" / "preprocessor_config.json").read_text("utf-8"))
    processor["size"] = processor["crop_size"] = {"height": 224, "width": 224}
    (root / "clip" / "preprocessor_config.json").write_text(json.dumps(processor), "utf-8")
    return int(unet.num_parameters())


def clip_config(text: dict[str, Any]) -> Any:
    """A CLIP of ViT-B/16's shape: 12 layers of 512 for text, 12 of 768 for pictures of 224 px."""
    from transformers import CLIPConfig

    narrow = text | {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8}
    vision = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 224,
        "patch_size": 16,
    }
    return CLIPConfig(text_config=narrow, vision_config=vision, projection_dim=512)


def measure(manager: ModelManager, study: Study, folder: Path) -> dict[str, Any]:
    """Run the study into a folder and tell where the time went, as JSON values."""
    phases = Phases(say)
    once: list[float] = []  # wall and processor seconds until the models are loaded and hashed

    def show(progress: Progress) -> None:
        phases(progress)
        if progress.phase == "preparing" and not once:
            once.extend(watch.read())

    with ForwardClock() as clock:
        watch = Stopwatch()
        run = run_study(study, folder, manager=manager, progress=show)
        seconds, cpu = watch.read()
    records = list(run.records())
    failed = [record.failed for record in records if record.failed]
    if failed:
        raise SystemExit(f"{len(failed)} of {len(records)} pictures failed: {failed[0]}")
    working, busy = seconds - once[0], cpu - once[1]
    return {
        "pictures": len(records),
        "steps": study.steps,
        "batch_size": study.batch_size,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "seconds": round(seconds, 2),
        "once_seconds": round(once[0], 2),
        "forward_seconds": {k: round(v, 2) for k, v in most_first(clock.by_model)},
        "phase_seconds": {k: round(v, 2) for k, v in phases.finished().items()},
        "outside_seconds": round(working - clock.seconds, 2),
        "outside_share": round(1 - clock.seconds / working, 4),
        "cpu_outside_seconds": round(busy - clock.cpu_seconds, 2),
        "cpu_outside_share": round(1 - clock.cpu_seconds / busy, 4),
    }


def table(result: dict[str, Any]) -> str:
    """The figures for people."""
    models = ", ".join(f"{k} {v:.1f} s" for k, v in result["forward_seconds"].items() if v >= 0.05)
    phases = ", ".join(f"{k} {v:.1f} s" for k, v in result["phase_seconds"].items() if v >= 0.05)
    shape = f"width {result['width']} (UNet {result['parameters'] / 1e6:.0f} M)"
    return "\n".join(
        [
            f"SD 1.5's blocks at {shape}, {result['size']} px: "
            f"{result['pictures']} pictures of {result['steps']} steps, "
            f"batches of {result['batch_size']}, {result['threads']} threads, "
            f"torch {result['torch']}",
            f"whole run         {result['seconds']:8.1f} s   {phases}",
            f"loading, once     {result['once_seconds']:8.1f} s   (also hashes all weights)",
            f"outside of models {result['outside_share']:8.1%}     "
            f"{result['outside_seconds']:.2f} s of the rest   (aim at most 5 %)",
            f"in processor time {result['cpu_outside_share']:8.1%}     "
            f"{result['cpu_outside_seconds']:.2f} s   (the one to read on a busy machine)",
            f"inside of models            {models}",
        ]
    )


if __name__ == "__main__":
    main()
