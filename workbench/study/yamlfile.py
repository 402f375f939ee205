"""Study files: YAML that a stranger may have written, read by the rules of `workbench.yamltext`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from workbench.paths import data_dir
from workbench.study.errors import StudyError, did_you_mean, problem, short
from workbench.yamltext import MAX_BYTES, YamlError, read_yaml


def shipped_studies() -> dict[str, Path]:
    """The study files that come with the package, by the names that they are called by."""
    return {path.stem: path for path in sorted((data_dir() / "studies").glob("*.yaml"))}


def study_file(named: str | Path) -> Path:
    """The file that is meant: one that is there, else the package's own of that bare name.

    StudyError if there is neither. A name with a folder or a suffix is a path and nothing else.
    """
    path, shipped = Path(named), shipped_studies()
    name = str(named)  # "./demo" is a path
    if name in shipped and not os.path.isfile(path):  # a folder of that name is no study
        return shipped[name]
    if os.path.exists(path):
        return path
    hint = did_you_mean(path.stem, shipped)
    what = f"there is no such file, and no such study comes with the package{hint}"
    raise StudyError([problem(name, what, f"a file, or {', '.join(shipped) or 'a path'}")])


def first_comment(path: Path) -> str:
    """What a study file says of itself in its first line; "" if that is no comment."""
    first = read_text(path).partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""


def read_text(path: Path) -> str:
    """The file's text (UTF-8, at most 256 KiB). Anything else raises StudyError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StudyError([f"{path}: cannot be read ({reason})"]) from error
    return decode_text(data, path)


def decode_text(data: bytes, path: Path) -> str:
    """What `read_text` makes of a file's bytes."""
    if len(data) > MAX_BYTES:
        raise StudyError([f"{path}: is too large for a study; allowed: up to 256 KiB"])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StudyError([f"{path}: is not text; allowed: a YAML file in UTF-8"]) from error


def parse_yaml(text: str, *, name: str = "study") -> dict[str, Any]:
    """Parse one YAML mapping with text keys. Everything else raises StudyError."""
    try:
        data = read_yaml(text, name=name, what="study")
    except YamlError as error:
        raise StudyError([str(error)]) from error
    odd = [short(key) for key in data if not isinstance(key, str)]
    if odd:
        raise StudyError([f"{name}: {key} is not a word that can be a key" for key in odd[:10]])
    return data


def dump_entries(data: Mapping[str, Any]) -> str:
    """As `dump_yaml` of plain values one of which is a list or a mapping, entry by entry.

    What was written lately is known: of the studies in the pictures of a run few entries differ.
    """
    return "".join(_entry(key, json.dumps(value)) for key, value in data.items())


@lru_cache(maxsize=1024)
def _entry(key: str, value: str) -> str:
    # A mapping of single words alone would stand on one line, in braces.
    text = dump_yaml({key: json.loads(value), f"{key}_": []})
    return text[: text.rindex("\n", 0, -1) + 1]


def dump_yaml(data: dict[str, Any]) -> str:
    """YAML text in the order of the given keys; lists of plain values on one line."""
    return yaml.safe_dump(
        data, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None
    )
