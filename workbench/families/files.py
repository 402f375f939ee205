"""What lies in a model folder: its components, its weight files, their variants and hashes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

_END = r"(?:\.(?P<variant>[a-z0-9_]+))?(?:-\d+-of-(?P<shards>\d+))?"
_WEIGHTS = re.compile(rf"(?:diffusion_pytorch_model|model){_END}\.safetensors")
_BINS = re.compile(rf"pytorch_model{_END}\.bin")
_SETTINGS = {
    *("model_index.json", "config.json", "scheduler_config.json", "generation_config.json"),
    *("preprocessor_config.json", "processor_config.json", "tokenizer_config.json"),
    *("tokenizer.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt"),
    *("merges.txt", "spiece.model", "sentencepiece.bpe.model"),
}
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
"""How files end whose weights are pickled."""
SAFETY_PARTS = ("safety_checker", "feature_extractor")
"""The folders of a base model that its safety checker is loaded from."""
NETWORKS = ("unet", "vae", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3")
"""The components of a pipeline that hold weights which are loaded."""


def read_json(path: Path) -> dict[str, Any]:
    """A small JSON file; empty if it is missing or something else."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def variant_of(name: str) -> str | None:
    """The variant a safetensors file belongs to, "" for the plain one; None for other files."""
    match = _WEIGHTS.fullmatch(name)
    return None if match is None else match["variant"] or ""


def weight_sets(names: Iterable[str], *, bins: bool = False) -> dict[str, tuple[str, ...]]:
    """The sets of weight files among names without folders: variant ("" for plain) -> its files.

    A set in several files counts only if all of them are there. Where no safetensors do and `bins`
    says so, those of `pytorch_model.bin` are told.
    """
    listed = sorted(names)
    for pattern in (_WEIGHTS, _BINS) if bins else (_WEIGHTS,):
        found: dict[str, list[str]] = {}
        needed: dict[str, int] = {}
        for name in listed:
            if match := pattern.fullmatch(name):
                variant = match["variant"] or ""
                if match["shards"]:
                    needed[variant] = int(match["shards"])
                else:  # sorted after its parts, if there are any: loading takes the one file
                    found[variant], needed[variant] = [], 1
                found.setdefault(variant, []).append(name)
        whole = {v: tuple(own) for v, own in found.items() if len(own) >= needed.get(v, 1)}
        if whole:
            return whole
    return {}


def variants(folder: Path, *, bins: bool = False) -> set[str]:
    """The variants of the weights in a folder, "" for plain ones; see `weight_sets`."""
    return set(weight_sets((path.name for path in folder.glob("*.*")), bins=bins))


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
    return {name: folder / name for name in parts if name in NETWORKS}


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


def weight_files(
    folder: Path, variant: str, skip: Iterable[str] = (), *, bins: bool = False
) -> list[Path]:
    """The weight files that loading takes, where `variant` is the one that was picked.

    Those of each network of a pipeline, without the components `skip`, or of a single model;
    checkpoints beside them and a safety checker are never loaded.
    """
    found: list[Path] = []
    for name, path in network_folders(folder).items():
        if name in skip:
            continue
        sets = weight_sets((file.name for file in path.glob("*.*")), bins=bins)
        chosen = next((v for v in (variant, "") if v in sets), None)
        found += [] if chosen is None else [path / name for name in sets[chosen]]
    return found


def is_setting(name: str) -> bool:
    """Whether a file of a model ("title/tokenizer/vocab.json") holds settings, not weights."""
    return name.rpartition("/")[2] in _SETTINGS


def setting_files(folder: Path) -> list[Path]:
    """The files beside the weights that decide what a model does, by the names that loading asks
    for: configurations, tokenizers, the scheduler's settings. A safety checker's are left out."""
    parts = [name for name in components(folder) if name not in SAFETY_PARTS]
    found = [path for part in ("", *parts) for path in (folder / part).glob("*")]
    return sorted(path for path in found if path.name in _SETTINGS and path.is_file())


def lacks_checker(folder: Path) -> bool:
    """Whether a base model's folder has no safety checker that can be loaded."""
    checker, processor = (folder / name for name in SAFETY_PARTS)
    return not variants(checker) or not processor.is_dir()


def file_hashes(
    folder: Path, name: str, files: Sequence[str] = (), variant: str = "", *, bins: bool = False
) -> dict[str, str]:
    """SHA-256 (hex) of the files that are loaded from a folder, as "name/file" -> hash: weights,
    and what else decides pixels and readings (`setting_files`).

    With `files` only those are told; a single one goes by the name alone, which names it already.
    """
    if files:
        paths = [folder / file for file in files if (folder / file).is_file()]
    else:
        paths = [*weight_files(folder, variant, bins=bins), *setting_files(folder)]
    found: dict[str, str] = {}
    for path in paths:
        stat = path.stat()
        within = path.relative_to(folder).as_posix()
        label = name if tuple(files) == (within,) else f"{name}/{within}"
        found[label] = _sha256(str(path), stat.st_mtime_ns, stat.st_size)
    return found


@lru_cache(maxsize=256)
def _sha256(path: str, _changed: int, _size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
