"""What lies in a model folder: weight files and their variants, and what makes it unusable.

Only names, small JSON files and the headers of weight files are read, so that every model of a
study can be checked before the first one is loaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from workbench.families.architecture import Architecture

_WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|model)(?:\.(?P<variant>[a-z0-9_]+))?(?:-\d+-of-\d+)?\.safetensors"
)
_PICKLES = (".bin", ".ckpt", ".pt", ".pth")
SAFETY_PARTS = ("safety_checker", "feature_extractor")
"""The folders of a base model that its safety checker is loaded from."""
_NETWORKS = ("unet", "vae", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3")


def read_json(path: Path) -> dict[str, Any]:
    """A small JSON file; empty if it is missing or something else."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def variant_of(name: str) -> str | None:
    """The variant a weight file belongs to, "" for the plain one; None for other files."""
    match = _WEIGHTS.fullmatch(name)
    return None if match is None else match["variant"] or ""


def variants(folder: Path) -> set[str]:
    """The variants of the safetensors files in a folder, "" for plain ones."""
    found = {variant_of(path.name) for path in folder.glob("*.safetensors")}
    return {variant for variant in found if variant is not None}


def components(folder: Path) -> tuple[str, ...]:
    """The components of a saved pipeline, those without content left out."""
    index = read_json(folder / "model_index.json")
    return tuple(
        name
        for name, value in index.items()
        if isinstance(value, list) and len(value) == 2 and value[0] is not None
    )


def network_folders(folder: Path) -> dict[str, Path]:
    """Folders that must hold weights, by component; the folder itself ("") for a single model."""
    parts = components(folder)
    if not parts:
        return {"": folder}
    return {name: folder / name for name in parts if name in _NETWORKS}


def pick_variant(folder: Path, wanted: str) -> str:
    """The variant to load: the wanted one if it is there, else plain files, else what there is.

    In a pipeline a component without the variant's files is loaded from its plain ones.
    """
    sets = [variants(path) for path in network_folders(folder).values()]
    present = set().union(*sets)
    single = len(sets) == 1
    for variant in (wanted, "", "fp16", *sorted(present)):
        whole = all(variant in found or (not single and "" in found) for found in sets)
        if variant in present and whole:
            return variant
    return wanted


def weight_files(folder: Path, variant: str, skip: Iterable[str] = ()) -> list[Path]:
    """The weight files that loading takes, where `variant` is the one that was picked.

    Those of each network of a pipeline, without the components `skip`, or of a single model;
    checkpoints beside them and a safety checker are never loaded.
    """
    found: list[Path] = []
    for name, path in network_folders(folder).items():
        if name in skip:
            continue
        files = {file: variant_of(file.name) for file in sorted(path.glob("*.safetensors"))}
        chosen = next((v for v in (variant, "") if v in files.values()), None)
        found += [file for file, own in files.items() if own == chosen]
    return found


def weights_problem(folder: Path) -> str:
    """Why a folder's weights cannot be loaded (as the end of a sentence), else ""."""
    for name, path in network_folders(folder).items():
        what = f"its {name}" if name else "it"
        if variants(path):
            continue
        if not path.is_dir():
            return f"{what} is missing"
        if any(file.suffix in _PICKLES for file in path.iterdir()):
            return (
                f"{what} has pickled weights only, which are never loaded; save it with "
                "save_pretrained(..., safe_serialization=True) first"
            )
        return f"{what} has no safetensors weights"
    return ""


def lacks_checker(folder: Path) -> bool:
    """Whether a base model's folder has no safety checker that can be loaded."""
    checker, processor = (folder / name for name in SAFETY_PARTS)
    return not variants(checker) or not processor.is_dir()


def base_problem(folder: Path, architecture: Architecture) -> str:
    """Why a folder is no base model of this architecture (as the end of a sentence), else ""."""
    if not (folder / "model_index.json").is_file():
        return "it is no saved diffusers pipeline: it has no model_index.json"
    parts = components(folder)
    missing = [name for name in architecture.parts if name not in parts]
    other = [name for name in architecture.absent if name in parts]
    if missing or other:
        kind = read_json(folder / "model_index.json").get("_class_name", "another pipeline")
        detail = f"it lacks a {missing[0]}" if missing else f"it has a {other[0]}"
        return f"it is of another architecture ({kind}): {detail}, unlike {architecture.text}"
    return weights_problem(folder)


def controlnet_problem(
    folder: Path, architecture: Architecture, base: Path | None, *, union: bool
) -> str:
    """Why a folder is no ControlNet for this base (as the end of a sentence), else "".

    The weights' names tell the kinds apart: a union model's config may have any class name.
    """
    config = read_json(folder / "config.json")
    if not config:
        return "it is no diffusers model: it has no config.json"
    if problem := weights_problem(folder):
        return problem
    names = _weight_names(folder)
    if "pos_embed_input.proj.weight" in names:
        kind = "SD3ControlNetModel"
    elif "task_embedding" in names:
        kind = "ControlNetUnionModel"
    elif "controlnet_cond_embedding.conv_in.weight" in names:
        kind = "ControlNetModel"
    else:
        return f"it is no ControlNet, but {config.get('_class_name', 'something else')}"
    wanted = architecture.union_controlnet if union else architecture.controlnet
    if kind != wanted:
        return f"it is of another kind: {kind}, where {wanted} is needed"
    theirs = _width(config)
    ours = _width(read_json(base / architecture.denoiser / "config.json")) if base else None
    if ours is not None and theirs is not None and ours != theirs:
        return (
            f"it belongs to another architecture: its width is {theirs}, that of the base "
            f"model {ours}"
        )
    return ""


def _weight_names(folder: Path) -> set[str]:
    from safetensors import SafetensorError, safe_open

    names: set[str] = set()
    for path in folder.glob("*.safetensors"):
        if variant_of(path.name) is None:
            continue
        try:
            with safe_open(path, framework="numpy") as file:
                names |= set(file.keys())
        except SafetensorError:
            continue  # a broken file; loading it says so
    return names


def _width(config: dict[str, Any]) -> int | None:
    """The width of what the ControlNet and its base share: the text, or a transformer's tokens."""
    if "cross_attention_dim" in config:
        width = config["cross_attention_dim"]
        return width if isinstance(width, int) else None
    if "num_attention_heads" in config and "attention_head_dim" in config:
        return int(config["num_attention_heads"]) * int(config["attention_head_dim"])
    return None
