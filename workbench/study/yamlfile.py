"""Reading YAML that a stranger may have written: limits of size and depth; no tags, no aliases, no
duplicate keys."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from workbench.study.errors import StudyError, short

MAX_BYTES = 256 * 1024
MAX_NODES = 30_000
"""Keys, values and lists in one file."""
TOO_DEEP = "is nested too deeply"
MAX_DEPTH = 20
MAX_DIGITS = 40


# The parser in C reads the same language, some ten times faster; PyYAML may come without it.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _StrictLoader(_Base):  # type: ignore[misc]
    """The safe loader without repeated keys and merge keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem="a key must be a single word", problem_mark=key.start_mark
                )
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(
                    problem="merge keys (<<) are not allowed: write the keys out",
                    problem_mark=key.start_mark,
                )
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f'the key "{key.value}" appears twice', problem_mark=key.start_mark
                )
            seen.add(key.value)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


def _whole_number(loader: _StrictLoader, node: yaml.ScalarNode) -> Any:
    if len(node.value) > MAX_DIGITS:
        raise yaml.MarkedYAMLError(problem="is too long for a number", problem_mark=node.start_mark)
    return loader.construct_yaml_int(node)


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _whole_number)


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
    if len(text) > MAX_BYTES:
        raise StudyError([f"{name}: is too large for a study; allowed: up to 256 KiB"])
    try:
        _check_events(text)
        data = yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{name}, line {mark.line + 1}, column {mark.column + 1}" if mark else name
        # From 6.0.4 on PyYAML's scanner has a limit of its own, which it meets before ours.
        deep = "nesting depth" in str(error.problem)
        raise StudyError([f"{where}: {TOO_DEEP if deep else error.problem}"]) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise StudyError([f"{name}: is not valid YAML ({str(error)[:200]})"]) from error
    if not isinstance(data, dict):
        raise StudyError([f"{name}: is not a study; allowed: a YAML mapping (key: value)"])
    odd = [short(key) for key in data if not isinstance(key, str)]
    if odd:
        raise StudyError([f"{name}: {key} is not a word that can be a key" for key in odd[:10]])
    return data


def _check_events(text: str) -> None:
    """Refuse what makes a small file large or slow, before anything is built from it."""
    nodes = depth = 0
    event: Any
    for event in yaml.parse(text, Loader=_Base):
        problem = ""
        if isinstance(event, yaml.NodeEvent):
            nodes += 1
            if isinstance(event, yaml.AliasEvent):
                problem = "aliases (*name) are not allowed: write the value out"
            elif getattr(event, "tag", None) is not None:
                problem = "tags (!name) are not allowed: write the plain value"
            elif nodes > MAX_NODES:
                problem = f"has more than {MAX_NODES:,} values, too many for a study"
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            problem = problem or (TOO_DEEP if depth > MAX_DEPTH else "")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if problem:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def dump_yaml(data: dict[str, Any]) -> str:
    """YAML text in the order of the given keys; lists of plain values on one line."""
    return yaml.safe_dump(
        data, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None
    )
