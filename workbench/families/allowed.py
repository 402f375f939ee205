"""What a model folder may ask diffusers to load: known classes of known libraries, and no code.

`model_index.json` names a library and a class for every part of a pipeline. diffusers before 0.42
imports whatever installed module stands there, and code that lies in the folder where `_class_name`
is a list (https://github.com/huggingface/diffusers/releases). So a folder is looked at before
diffusers sees it.
"""

from __future__ import annotations

from pathlib import Path

from workbench.families.files import read_json

_CLASSES = {
    "diffusers": frozenset(
        {
            *("AutoencoderKL", "AutoencoderTiny", "UNet2DConditionModel", "SD3Transformer2DModel"),
            *("ControlNetModel", "ControlNetUnionModel", "SD3ControlNetModel"),
        }
    ),
    "transformers": frozenset(
        {
            *("CLIPTextModel", "CLIPTextModelWithProjection", "CLIPVisionModelWithProjection"),
            *("CLIPTokenizer", "CLIPTokenizerFast", "CLIPImageProcessor", "CLIPFeatureExtractor"),
            *("CLIPImageProcessorFast", "T5EncoderModel", "T5Tokenizer", "T5TokenizerFast"),
        }
    ),
    "stable_diffusion": frozenset({"StableDiffusionSafetyChecker"}),  # of old files
}
_CHECKER = ("diffusers.pipelines.stable_diffusion.safety_checker", "StableDiffusionSafetyChecker")
_ENDINGS = ("Scheduler", "Pipeline")
"""Classes of diffusers with these endings hold numbers, or are not loaded by name."""


def class_problem(folder: Path) -> str:
    """Why a model folder must not be loaded, as a clause that names the file; "" if it may be."""
    index = read_json(folder / "model_index.json")
    for name, value in index.items():
        if name == "_class_name" and not _is_diffusers(value):
            return f"model_index.json asks for {_short(value)} as its pipeline"
        if name.startswith("_") or not isinstance(value, list) or value[:1] in ([None], [False]):
            continue
        if not _is_known(value):
            return f"model_index.json asks for {_short(value)} as its {name[:40]}"
        if not name.isidentifier():
            return f"model_index.json has a part called {_short(name)}"
    for part in ("", *(name for name, value in index.items() if isinstance(value, list))):
        found = read_json(folder / part / "config.json")
        for key in ("auto_map", "custom_pipelines"):
            if found.get(key):
                return f"{Path(part) / 'config.json'} asks for code of its own ({key})"
        if not isinstance(found.get("_class_name", ""), str):
            return f"{Path(part) / 'config.json'} has no single class"
    return ""


def _is_known(value: list[object]) -> bool:
    if len(value) != 2 or not all(isinstance(text, str) for text in value):
        return False
    library, name = map(str, value)
    if library == "diffusers" and name.endswith(_ENDINGS):
        return _is_diffusers(name)
    return name in _CLASSES.get(library, ()) or (library, name) == _CHECKER


def _is_diffusers(value: object) -> bool:
    return isinstance(value, str) and value.isidentifier() and value.endswith(_ENDINGS)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
