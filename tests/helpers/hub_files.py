"""What the repositories of the catalogue hold: their published lists of files, and tiny networks of
the same classes under the same names.

`tests/families/hub/published.yaml` says where each list was read.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes

PUBLISHED = Path(__file__).parents[1] / "families" / "hub" / "published.yaml"
_WEIGHTS = re.compile(
    r"(?P<stem>\w*model)(?:\.(?P<variant>fp16))?(?:-(?P<part>\d+)-of-(?P<parts>\d+))?"
    r"\.(?P<kind>safetensors|bin)"
)
_INDEX = re.compile(r"(?P<stem>\w*model)\.safetensors\.index(?:\.fp16)?\.json")


@dataclass(frozen=True)
class Published:
    """A repository at one commit.

    files: name -> size in bytes, None where it could not be read.
    like: folder of a tiny model of the same classes, below a folder of models; "annotators" and
        "onnx" for single files.
    read_at: addresses at which the list was read. unconfirmed: what of it was not read there.
    """

    commit: str
    files: Mapping[str, int | None]
    like: str
    read_at: tuple[str, ...]
    unconfirmed: str = ""


def published() -> dict[str, Published]:
    """Every repository of the catalogue."""
    found = yaml.safe_load(PUBLISHED.read_text("utf-8"))
    return {
        repo: Published(**{**entry, "read_at": tuple(entry["read_at"])})
        for repo, entry in found.items()
    }


class TinyContent:
    """The bytes behind the published names; `models` holds what the tiny helpers have written."""

    def __init__(self, models: Path, repos: Mapping[str, Published]) -> None:
        self._models, self._repos = models, repos
        self._known: dict[tuple[str, str], bytes] = {}

    def __call__(self, repo: str, name: str) -> bytes:
        key = repo, name
        if key not in self._known:
            self._known[key] = self._make(self._repos[repo], name)
        return self._known[key]

    def _make(self, repo: Published, name: str) -> bytes:
        source = self._models / repo.like
        own = source / name
        inside, _, file = name.rpartition("/")
        if match := _WEIGHTS.fullmatch(file):
            return self._weights(source / inside, match)
        if match := _INDEX.fullmatch(file):
            return _index(source / inside, repo, inside)
        if own.is_file() and file not in {"tokenizer.json"}:
            return own.read_bytes()
        tokenizer = source / inside / "tokenizer.json"
        if file == "tokenizer.json" and tokenizer.is_file():
            return tokenizer.read_bytes()
        if file in {"vocab.json", "merges.txt"} and tokenizer.is_file():
            return _vocabulary(tokenizer)[file]
        return b"{}" if file.endswith(".json") else file.encode()

    def _weights(self, folder: Path, match: re.Match[str]) -> bytes:
        state = _state(folder)
        if not state:
            return match[0].encode()
        half = match["variant"] == "fp16"
        chosen = {
            key: value.half() if half and value.is_floating_point() else value
            for key, value in state.items()
        }
        if match["parts"]:
            wanted = _split(tuple(chosen), int(match["parts"]))[int(match["part"]) - 1]
            chosen = {key: chosen[key] for key in wanted}
        if match["kind"] == "safetensors":
            return bytes(safetensors_bytes(chosen, metadata={"format": "pt"}))
        file = io.BytesIO()
        torch.save(chosen, file)
        return file.getvalue()


@cache
def _state(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for path in sorted(folder.glob("*.safetensors")):
        state |= {k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()}
    return state


def _split(keys: tuple[str, ...], parts: int) -> list[tuple[str, ...]]:
    return [keys[part::parts] for part in range(parts)]


def _index(folder: Path, repo: Published, inside: str) -> bytes:
    """The index of weights in several files, as transformers and diffusers write it."""
    prefix = f"{inside}/" if inside else ""
    names = sorted(
        name.removeprefix(prefix)
        for name in repo.files
        if name.startswith(prefix) and "-of-" in name and ".fp16" not in name
    )
    keys = tuple(_state(folder))
    parts = _split(keys, len(names)) if names else []
    where = {key: name for name, part in zip(names, parts, strict=True) for key in part}
    return json.dumps({"metadata": {"total_size": 1}, "weight_map": where}).encode()


@cache
def _vocabulary(tokenizer: Path) -> dict[str, bytes]:
    model = json.loads(tokenizer.read_text("utf-8"))["model"]
    merges = (one if isinstance(one, str) else " ".join(one) for one in model.get("merges", ()))
    return {
        "vocab.json": json.dumps(model["vocab"]).encode(),
        "merges.txt": "\n".join(["#version: 0.2", *merges]).encode(),
    }
