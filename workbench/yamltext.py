"""Reading YAML that a stranger may have written: limits of size and depth; no tags, no duplicate
keys, and aliases only where they are asked for."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

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

    merges = False

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem="a key must be a single word", problem_mark=key.start_mark
                )
            if key.tag == "tag:yaml.org,2002:merge" and not self.merges:
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


class _AliasLoader(_StrictLoader):
    """The same with merge keys."""

    merges = True


def _whole_number(loader: _StrictLoader, node: yaml.ScalarNode) -> Any:
    if len(node.value) > MAX_DIGITS:
        raise yaml.MarkedYAMLError(problem="is too long for a number", problem_mark=node.start_mark)
    if ":" in node.value or re.match(r"[-+]?0[\d_]", node.value):
        raise yaml.MarkedYAMLError(
            problem=f"{node.value} is another number to other programs (base 8 or 60): write it "
            "plainly, without a leading 0 or a colon",
            problem_mark=node.start_mark,
        )
    return loader.construct_yaml_int(node)


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _whole_number)


class YamlError(ValueError):
    """A text is no YAML that is read here. The message is one sentence that begins with its name
    and, where it is known, the place."""


def read_yaml(text: str, *, name: str, what: str, aliases: bool = False) -> dict[Any, Any]:
    """Parse one YAML mapping; YamlError for everything else.

    name: of the file, for messages. what: it shall be ("study"). aliases: whether `*name` may
    stand for a value that was marked `&name` before, and `<<: *name` for its keys.
    """
    if len(text) > MAX_BYTES:
        raise YamlError(f"{name}: is too large for a {what}; allowed: up to 256 KiB")
    try:
        _check_events(text, what, aliases)
        data = yaml.load(text, Loader=_AliasLoader if aliases else _StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{name}, line {mark.line + 1}, column {mark.column + 1}" if mark else name
        # From 6.0.4 on PyYAML's scanner has a limit of its own, which it meets before ours.
        deep = "nesting depth" in str(error.problem)
        raise YamlError(f"{where}: {TOO_DEEP if deep else error.problem}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise YamlError(f"{name}: is not valid YAML ({str(error)[:200]})") from error
    if not isinstance(data, dict):
        raise YamlError(f"{name}: is not a {what}; allowed: a YAML mapping (key: value)")
    return data


def _check_events(text: str, what: str, aliases: bool) -> None:
    """Refuse what makes a small file large or slow, before anything is built from it."""
    counter = _Counter(what)
    event: Any
    for event in yaml.parse(text, Loader=_Base):
        problem = _unwanted(event, aliases) or counter.count(event)
        if problem:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def _unwanted(event: Any, aliases: bool) -> str:
    if isinstance(event, yaml.AliasEvent) and not aliases:
        return "aliases (*name) are not allowed: write the value out"
    if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None) is not None:
        return "tags (!name) are not allowed: write the plain value"
    return ""


class _Counter:
    """Counts values while events pass; an alias counts as all values that it stands for."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._nodes = 0
        self._sizes: dict[str, int] = {}  # anchor -> values below it
        self._begun: list[tuple[str | None, int]] = []

    def count(self, event: Any) -> str:
        """What is wrong once this event is counted, "" if nothing is."""
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._sizes:
                return f"the alias *{event.anchor} has no value before it"
            self._nodes += self._sizes[event.anchor]
        elif isinstance(event, yaml.NodeEvent):
            self._nodes += 1
        if isinstance(event, yaml.CollectionStartEvent):
            self._begun.append((event.anchor, self._nodes))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = self._begun.pop()
            self._keep(anchor, self._nodes - before + 1)
        elif isinstance(event, yaml.ScalarEvent):
            self._keep(event.anchor, 1)
        if len(self._begun) > MAX_DEPTH:
            return TOO_DEEP
        many = f"has more than {MAX_NODES:,} values, too many for a {self._what}"
        return many if self._nodes > MAX_NODES else ""

    def _keep(self, anchor: str | None, size: int) -> None:
        if anchor is not None:
            self._sizes[anchor] = size
