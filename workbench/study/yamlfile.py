"""Reading YAML that a stranger may have written: size limit, no aliases, no duplicate keys."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from workbench.study.errors import StudyError

MAX_BYTES = 256 * 1024


class _StrictLoader(yaml.SafeLoader):
    """The safe loader, without aliases (they can grow without bound) and repeated keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not allowed: write the value out",
                problem_mark=self.peek_event().start_mark,
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem="a key must be a single word", problem_mark=key.start_mark
                )
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f'the key "{key.value}" appears twice', problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_text(path: Path) -> str:
    """The file's text (UTF-8, at most 256 KiB). Anything else raises StudyError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StudyError([f"{path}: cannot be read ({reason})"]) from error
    if len(data) > MAX_BYTES:
        raise StudyError([f"{path}: is too large for a study; allowed: up to 256 KiB"])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StudyError([f"{path}: is not text; allowed: a YAML file in UTF-8"]) from error


def parse_yaml(text: str, *, name: str = "study") -> dict[str, Any]:
    """Parse one YAML mapping with text keys. Everything else raises StudyError."""
    if len(text) > MAX_BYTES:
        raise StudyError([f"{name}: is too large for a study; allowed: up to 256 KiB"])
    try:
        data = yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{name}, line {mark.line + 1}, column {mark.column + 1}" if mark else name
        raise StudyError([f"{where}: {error.problem}"]) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise StudyError([f"{name}: is not valid YAML ({str(error)[:200]})"]) from error
    except RecursionError:
        raise StudyError([f"{name}: is nested too deeply"]) from None
    if not isinstance(data, dict):
        raise StudyError([f"{name}: is not a study; allowed: a YAML mapping (key: value)"])
    odd = [repr(key) for key in data if not isinstance(key, str)]
    if odd:
        raise StudyError([f"{name}: {key} is not a word that can be a key" for key in odd])
    return data


def dump_yaml(data: dict[str, Any]) -> str:
    """YAML text in the order of the given keys; lists of plain values on one line."""
    return yaml.safe_dump(
        data, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None
    )
