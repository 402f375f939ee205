"""What several commands share: printing, reading `--set` options, telling errors apart."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from workbench.formats import printable
from workbench.live import silence

if TYPE_CHECKING:
    from workbench.controls import Control, ControlSettings, Networks


def say(text: object, *, err: bool = False) -> None:
    """Print for a person: names and reasons that came from files cannot steer the terminal.

    Where nobody reads any more (`workbench run study.yaml | head -1`) the work goes on unheard.
    """
    try:
        typer.echo(printable(str(text)), err=err)
    except BrokenPipeError:
        silence(sys.stderr if err else sys.stdout)


def check_output(path: Path | None, *suffixes: str, option: str = "--output") -> None:
    """Refuse a file whose name promises another format than the one that is written."""
    if path is None or path.suffix.lower() in suffixes:
        return
    better = path.with_name(path.name + suffixes[0])
    kind = suffixes[0].removeprefix(".").upper()
    raise Refusal(f"{option} {path}: what is written is {kind}: name it {better}")


class PrintableFormatter(logging.Formatter):
    """Warnings of this program and of its libraries, which may quote files."""

    def format(self, record: logging.LogRecord) -> str:
        """The message as it may be printed."""
        return printable(super().format(record))


class Refusal(Exception):
    """A command cannot do what was asked. The message is for the user and complete."""


def friendly_message(error: BaseException) -> str | None:
    """The message to print if the user can mend what went wrong, else None.

    The package's own exceptions are written for users, and so are the system's about a file. Of
    others only memory that ran out has a sentence.
    """
    if type(error).__module__.partition(".")[0] == "workbench":
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or error}"
    if isinstance(error, MemoryError | RuntimeError):
        from workbench.generation.recovery import full_message, is_full

        return full_message("this command worked", error) if is_full(error) else None
    return None


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Read `name=value` pairs; a value is a YAML scalar ("0.5" a number, "true" a truth value)."""
    import yaml

    values: dict[str, Any] = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign or not name.strip():
            raise Refusal(f'--set {pair}: write name=value, for example "--set low=50"')
        try:
            values[name.strip()] = yaml.safe_load(text)
        except yaml.YAMLError:
            values[name.strip()] = text
    return values


def checked_settings(
    control: Control[Any], pairs: Sequence[str], family: str, *, reads: bool = True
) -> Any:
    """The control's settings from `name=value` pairs; Refusal names every wrong one.

    What they do not say is the family's, and what its network decides cannot be chosen.
    reads: whether pictures are to be read by that network at all.
    """
    from pydantic import ValidationError

    from workbench.families import get_family

    lender, said = get_family(family), parse_settings(pairs)
    for key, known in (lender.fixed_settings(control.name) if reads else {}).items():
        if known and said.get(key, known) != known:
            raise Refusal(
                f"--set {key}={said[key]}: the {control.name} network of the family {family} has "
                f"{known}; leave it out, or name another --family"
            )
        if not known and key not in said:
            raise Refusal(
                f"the {control.name} network of the family {family} does not say its {key}; add "
                f"--set {key}=..., or {key} to its entry in the catalogue"
            )
    try:
        return control.settings({**lender.settings_for(control.name), **said})
    except ValidationError as error:
        known = ", ".join(control.settings_type.model_fields) or "none"
        lines = [
            f"  - {'.'.join(map(str, item['loc'])) or 'settings'}: {item['msg']}"
            for item in error.errors(include_url=False)
        ]
        head = f"{control.label} does not accept these settings (it has: {known}):"
        raise Refusal("\n".join([head, *lines])) from None


def networks_for(control: Control[Any], settings: ControlSettings, family: str) -> Networks:
    """The networks which the control needs, lent by a family; nothing loads if it needs none."""
    if not control.needs_for(settings):
        return {}
    from workbench.families.manager import ModelManager

    return ModelManager(family).networks()
