"""Study files: YAML that a stranger may have written, read by the rules of `workbench.yamltext`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from workbench.study.errors import StudyError, short
from workbench.yamltext import MAX_BYTES, YamlError, read_yaml


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


def dump_yaml(data: dict[str, Any]) -> str:
    """YAML text in the order of the given keys; lists of plain values on one line."""
    return yaml.safe_dump(
        data, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None
    )
