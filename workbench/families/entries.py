"""Reading a catalogue file: YAML with lines for its mistakes, and families that extend others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from workbench.yamltext import YamlError, read_yaml

EXTENDS = "extends"


class EntryError(ValueError):
    """A catalogue file cannot be read; the message names the line and the way out."""


class Entries:
    """The entries of a catalogue file, as plain values, with the lines they stand on.

    EntryError if the text is no YAML that is read here, or has no `families`.
    """

    def __init__(self, text: str, where: str) -> None:
        self._text, self._where = text, where
        try:
            document = read_yaml(text, name=where, what="catalogue of families", aliases=True)
        except YamlError as error:
            raise EntryError(f"{error}: mend it, or move the file away") from error
        found = document.get("families")
        if not isinstance(found, dict):
            raise EntryError(
                f"{where}: needs a mapping called families, with one entry for each family"
            )
        self.families: dict[str, Any] = {str(name): entry for name, entry in found.items()}

    def place(self, *path: object) -> str:
        """ "file, line 12" of what stands at a path below `families`, or of the nearest above."""
        import yaml

        node, line = yaml.compose(self._text, Loader=yaml.SafeLoader), None
        for part in ("families", *path):
            for key, value in getattr(node, "value", ()) if _is_mapping(node) else ():
                if getattr(key, "value", None) == str(part):
                    node, line = value, key.start_mark.line + 1
                    break
            else:
                break
        return self._where + (f", line {line}" if line else "")


def _is_mapping(node: object) -> bool:
    return getattr(node, "id", "") == "mapping"


def extended(
    name: str, entry: Mapping[str, Any], known: Mapping[str, Any], chain: tuple[str, ...] = ()
) -> dict[str, Any]:
    """An entry with what it takes over from the family that it `extends`, if it says so.

    What the entry says comes first, so that its first base model is the default one. Mappings of
    names are merged key by key; a model (a mapping with `path` or `repo`), a list or a plain value
    takes the place of the inherited one as a whole, and null takes it away. `label` and `licence`
    are not taken over as they are: they say what is extended.

    Raises ValueError if there is no such family, or if families extend each other in a circle.
    """
    if EXTENDS not in entry:
        return dict(entry)
    parent = str(entry[EXTENDS])
    if parent in (name, *chain):
        raise ValueError(f"{' extends '.join((*chain, name, parent))}: break the circle")
    if not isinstance(known.get(parent), Mapping):
        have = ", ".join(other for other in known if other != name)
        raise ValueError(f'there is no family called "{parent}" to extend; there is: {have}')
    above = extended(parent, known[parent], known, (*chain, name))
    own = {key: value for key, value in entry.items() if key != EXTENDS}
    own.setdefault("label", f"{name}, like {above.get('label', parent)}")
    own.setdefault("licence", f"that of each of its models; {parent}: {above.get('licence', '')}")
    return _merged(own, above)


def _merged(own: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in dict.fromkeys([*own, *above]):
        if key not in own:
            found[key] = above[key]
        elif own[key] is None:
            continue
        elif _is_open(own[key]) and _is_open(above.get(key)):
            found[key] = _merged(own[key], above[key])
        else:
            found[key] = own[key]
    return found


def _is_open(value: Any) -> bool:
    """Whether a value is a mapping of names, and no model."""
    return isinstance(value, Mapping) and not {"path", "repo"} & set(value)


def reasons(errors: list[Any]) -> Iterator[tuple[tuple[Any, ...], str]]:
    """The path and the sentence of each of pydantic's errors."""
    for item in errors:
        told = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            told = "there is no such field: take it out, or mend its name"
        elif item["type"] == "missing":
            told = "is missing"
        yield tuple(part for part in item["loc"]), told
