"""Commands about models: which families there are, and auditing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from workbench.cli.common import Refusal, say
from workbench.cli.places import ModelsOption, OfflineOption, use_models
from workbench.formats import fixed

if TYPE_CHECKING:
    from workbench.dtypes import DtypeName
    from workbench.families.check import ModelState
    from workbench.judging import JudgeAudit

FamilyArgument = Annotated[str, typer.Argument(help="Name of a model family.")]


def families(
    context: typer.Context,
    models: ModelsOption = None,
    offline: OfflineOption = False,
) -> None:
    """List the model families, their models and licences, and which of them are on this disk."""
    use_models(models, offline)
    if context.invoked_subcommand is not None:
        return
    from workbench.families import load_catalogue
    from workbench.families.check import family_states

    for family in load_catalogue().values():
        states = family_states(family)
        say(f"{family.name}: {family.label}")
        lines = (
            ("controls", ", ".join(family.controls) or "none"),
            ("resolution", f"{family.resolution} px"),
            ("schedulers", ", ".join(family.schedulers)),
            ("memory", _memory(family.memory)),
            ("licence", family.licence),
        )
        _table([*lines, *((state.role, _line(state)) for state in states if not state.is_choice)])
        choices = [(state.role, _line(state)) for state in states if state.is_choice]
        if choices:
            say("  a study may choose instead (judges: {depth: dpt-large}):")
            _table(choices, indent=4)


def _table(lines: Sequence[tuple[str, str]], indent: int = 2) -> None:
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        say(f"{'':{indent}}{name:<{width}}  {value}")


def _line(state: ModelState) -> str:
    return f"{state.ref.title}: {state.text}; licence: {state.licence_text}"


def _memory(need: Mapping[DtypeName, float]) -> str:
    return ", ".join(f"about {size:g} GB in {dtype}" for dtype, size in need.items()) or "little"


def pin(
    family: Annotated[
        str | None, typer.Argument(help="Name of a model family; all if absent.")
    ] = None,
    models: ModelsOption = None,
    offline: OfflineOption = False,
) -> None:
    """Write down the revisions of downloaded models, so that the same ones are used from now on."""
    use_models(models, offline)
    from workbench.families import get_family, load_catalogue
    from workbench.families.check import pin_family
    from workbench.families.locate import pins_path

    chosen = [get_family(family)] if family else list(load_catalogue().values())
    for one in chosen:
        pins, unknown = pin_family(one)
        for repo, commit in pins.items():
            say(f"{one.name}: {repo} is pinned at {commit}")
        for repo in unknown:
            say(f"{one.name}: {repo} has no known revision on this disk", err=True)
    say(f"Pins: {pins_path()}")


class FamilyOrCommand(TyperGroup):
    """`workbench audit judge ...`, and `workbench audit paperdoll` for `audit family paperdoll`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Take a first word that is no command for the name of a family."""
        known = not args or args[0].startswith("-") or args[0] in self.commands
        return super().resolve_command(ctx, args if known else ["family", *args])


def audit_judge(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Pictures, and labels.csv beside them.")
    ],
    family: Annotated[
        str | None, typer.Option(help="Model family whose judge is asked; paperdoll if absent.")
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option(help="Study whose family, judges and alternatives are taken."),
    ] = None,
) -> None:
    """Hold a family's judge of words against your own labelled pictures.

    labels.csv has the columns picture (a file in FOLDER), word, and label (yes or no); fifty rows
    are enough. The result is kept and shown with every run of that family and judge.
    """
    from workbench.families import get_family
    from workbench.families.manager import ModelManager
    from workbench.judging import audit_judge as hold
    from workbench.judging import keep_audit, read_labels
    from workbench.study import Study

    read_labels(folder)  # before any model is loaded
    asked = Study.from_yaml(study) if study is not None else None
    if asked is not None and family not in (None, asked.family):
        raise Refusal(f"--family {family}: the study {study} is of the family {asked.family}")
    chosen = get_family(asked.family if asked is not None else family or "paperdoll")
    manager = ModelManager(chosen.with_judges(asked.judges if asked is not None else {}))
    judge = manager.words(asked.alternatives if asked is not None else {})
    found = hold(folder, judge, chosen.name, manager.word_facts()["weights"])
    say(f"{chosen.name}: {found.judge}")
    for line in _audit_lines(found):
        say(line)
    say(
        f"With so few labels a judge whose probabilities are true would show a calibration error "
        f"of about {fixed(found.total.by_chance)}."
    )
    say(found.sentence)
    try:
        say(f"Kept in {keep_audit(found)}; every run of this family and judge shows it.")
    except OSError as error:
        raise Refusal(f"The result was not kept ({error.strerror or error}).") from None


def _audit_lines(found: JudgeAudit) -> list[str]:
    """The table of an audit: one line a word, then one of all; intervals are of 95 %."""
    heads = ("word", "labels", "sensitivity", "specificity", "balanced accuracy")
    rows: list[tuple[str, ...]] = [(*heads, "calibration error")]
    for one in (*found.words, found.total):
        shares = (one.sensitivity, one.specificity, one.balanced, one.calibration_error)
        texts = (f"{fixed(s.value)} [{fixed(s.low)}, {fixed(s.high)}]" for s in shares)
        rows.append((one.word or "all", str(one.n), *texts))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ([text.ljust(w) for text, w in zip(row, widths, strict=True)] for row in rows)
    return ["  ".join(row).rstrip() for row in padded]


def audit(
    family: FamilyArgument,
    models_dir: Annotated[
        Path | None, typer.Option(help="Folder of the family's weights, if not the embedded one.")
    ] = None,
    pictures: Annotated[
        int, typer.Option(min=8, help="Generated pictures for each figure about samples.")
    ] = 128,
) -> None:
    """Measure how well an embedded family obeys prompt and control, and write its AUDIT.md.

    Exit code 1 if a figure falls short of its target.
    """
    from workbench.families import get_family
    from workbench.paths import models_dir as family_models
    from workbench.training.audit import run_audit
    from workbench.training.data import AUDIT_SEEDS

    if pictures > len(AUDIT_SEEDS):
        raise Refusal(
            f"--pictures {pictures}: there are {len(AUDIT_SEEDS)} scenes that no stage was trained "
            f"on; take at most {len(AUDIT_SEEDS)}"
        )
    if not get_family(family).world:
        raise Refusal(f"{family} cannot be audited: it has no world of its own to check against")
    folder = models_dir or family_models() / family
    figures = run_audit(folder, pictures=pictures, log=say)
    missed = sum(not figure.reached for figure in figures)
    if missed:
        say(f"{missed} of {len(figures)} figures fall short of what is asked.", err=True)
        raise typer.Exit(1)
