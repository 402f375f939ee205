"""Pictures of a run as other programs would have written them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from workbench.runs import Run
from workbench.study import Trial


def webui(trial: Trial) -> dict[str, str]:
    """The text of the web UI, its ControlNet extension at work."""
    return {
        "parameters": (
            f"{trial.prompt}\nNegative prompt: blurry\nSteps: 2, Sampler: UniPC, CFG scale: 5, "
            f"Seed: {trial.seed}, Size: 32x32, Model hash: 6ce0161689, Model: render, ControlNet 0:"
            f' "Module: canny, Model: control_v11p_sd15_canny [d14c016b], Weight: {trial.scale:g}, '
            "Resize Mode: Crop and Resize, Threshold A: 100, Threshold B: 200, Guidance Start: 0, "
            'Guidance End: 1, Pixel Perfect: True", Version: v1.6.0'
        )
    }


def graph(trial: Trial, source: str) -> dict[str, Any]:
    """A graph of ComfyUI: Canny of a loaded picture steers."""
    nodes = {
        "3": ("KSampler", {"seed": trial.seed, "steps": 2, "cfg": 5.0, "sampler_name": "uni_pc",
                           "scheduler": "normal", "denoise": 1.0, "model": ["4", 0],
                           "positive": ["12", 0], "negative": ["12", 1], "latent_image": ["5", 0]}),
        "4": ("CheckpointLoaderSimple", {"ckpt_name": "render"}),
        "5": ("EmptyLatentImage", {"width": 32, "height": 32, "batch_size": 1}),
        "6": ("CLIPTextEncode", {"text": trial.prompt, "clip": ["4", 1]}),
        "7": ("CLIPTextEncode", {"text": "blurry", "clip": ["4", 1]}),
        "8": ("VAEDecode", {"samples": ["3", 0], "vae": ["4", 2]}),
        "9": ("SaveImage", {"images": ["8", 0], "filename_prefix": "ComfyUI"}),
        "10": ("LoadImage", {"image": source, "upload": "image"}),
        "11": ("ControlNetLoader", {"control_net_name": "control_v11p_sd15_canny.pth"}),
        "12": ("ControlNetApplyAdvanced", {"strength": trial.scale, "start_percent": 0.0,
                                           "end_percent": 1.0, "positive": ["6", 0],
                                           "negative": ["7", 0], "control_net": ["11", 0],
                                           "image": ["13", 0]}),
        "13": ("CannyEdgePreprocessor", {"image": ["10", 0], "low_threshold": 100,
                                         "high_threshold": 200, "resolution": 512}),
    }  # fmt: skip
    return {name: {"class_type": kind, "inputs": told} for name, (kind, told) in nodes.items()}


def comfyui(trial: Trial, source: str) -> dict[str, str]:
    """The text of ComfyUI, which writes NaN into its JSON."""
    text = json.dumps(graph(trial, source) | {"99": {"is_changed": [float("nan")]}})
    return {"prompt": text, "workflow": "{}"}


def save(path: Path, image: Any, text: dict[str, str] | None = None) -> None:
    """A PNG file with text chunks."""
    info = PngImagePlugin.PngInfo()
    for name, value in (text or {}).items():
        info.add_text(name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, pnginfo=info)


def steered(run: Run) -> list[tuple[Trial, str]]:
    """The trials that a control steers, and the file name of each one's source."""
    found = []
    for record in run.records.values():
        if record.trial.control is not None:
            label = next(iter(record.cells.values()))["source"]
            found.append((record.trial, f"{label.partition(':')[2]}.png"))
    return found


def export(run: Run, program: str, folder: Path) -> Path:
    """The steered pictures of a run as a program's; returns what `workbench score` is given."""
    inputs = folder.parent / "input" if program == "comfyui" else folder / "sources"
    for label, image in run.sources.items():
        save(inputs / f"{label.partition(':')[2]}.png", image)
    rows = []
    for trial, source in steered(run):
        text = {"webui": webui(trial), "comfyui": comfyui(trial, source)}.get(program)
        save(folder / f"{trial.id}.png", run.pictures[trial.id], text)
        row: dict[str, Any] = {"file_name": f"{trial.id}.png", "source": f"sources/{source}"}
        if program == "table":
            row |= {"text": trial.prompt, "control_type": "canny", "weight": trial.scale}
            row |= {"seed": trial.seed, "base": "render"}
        rows.append(row)
    if program == "webui":
        lines = ["file_name,source", *(f"{row['file_name']},{row['source']}" for row in rows)]
        (folder / "metadata.csv").write_text("\n".join(lines), "utf-8")
    if program == "table":
        table = folder / "pictures.jsonl"
        table.write_text("\n".join(map(json.dumps, rows)), "utf-8")
        return table
    return folder
