"""What a folder or this machine lacks of a network that reads pictures, told without loading it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.families.annotators import LOADERS
from workbench.families.layout import weights_problem

if TYPE_CHECKING:
    from workbench.families.refs import NetworkRef

_PROCESSOR = ("preprocessor_config.json", "processor_config.json")
_PIP = {"cv2": "opencv-python-headless", "controlnet_aux": "controlnet-aux"}


def network_problem(ref: NetworkRef, folder: Path) -> str:
    """Why a folder cannot serve a catalogue entry (as the end of a sentence), else ""."""
    if ref.files:
        missing = [name for name in ref.files if not (folder / name).is_file()]
        origin = ref.repo or LOADERS[ref.loader].origin
        of = f" of {origin}" if origin else ""
        return f"it lacks {' and '.join(missing)}{of}" if missing else ""
    if problem := weights_problem(folder):
        return problem
    if not (folder / "config.json").is_file():
        return "it has no config.json"
    return _processor_problem(folder) if LOADERS[ref.loader].processor else ""


def clip_problem(folder: Path) -> str:
    """Why a folder cannot be loaded as a CLIP (as the end of a sentence), else ""."""
    if problem := weights_problem(folder):
        return problem
    if not (folder / "config.json").is_file():
        return "it has no config.json"
    words = (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()
    if not words and not (folder / "tokenizer.json").is_file():
        return "it has no tokenizer: save the model's CLIPTokenizer there with save_pretrained"
    return _processor_problem(folder)


def package_problem(loader: str) -> str:
    """Which packages a loader needs that are not installed, as one sentence, else ""."""
    missing = [name for name in LOADERS[loader].packages if find_spec(name) is None]
    if not missing:
        return ""
    names = " ".join(_PIP.get(name, name) for name in missing)
    return f"the loader {loader} needs packages that are not installed: pip install {names}"


def _processor_problem(folder: Path) -> str:
    if any((folder / name).is_file() for name in _PROCESSOR):
        return ""
    return f"it has no {_PROCESSOR[0]}: save the model's image processor there with save_pretrained"
