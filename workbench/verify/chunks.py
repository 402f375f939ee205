"""The text chunks of stored pictures against those that a run writes into them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from workbench.store import Record
from workbench.store.pngtext import PARAMETERS, STUDY, WORKBENCH, png_text
from workbench.study import Cell, Plan, Study, make_plan
from workbench.study.yamlfile import parse_yaml
from workbench.verify.files import Found

_WHAT = {STUDY: "study", WORKBENCH: "trial", PARAMETERS: "line of settings"}


def edited_texts(found: Found, plan: Plan, earlier: bool) -> dict[str, str]:
    """Trial id -> what is wrong with the text in its picture, where anything is.

    A chunk that is not there is none the worse: a run may be told to write fewer.

    Args:
        plan: of the run's study. Of trials that it no longer has the study is not looked at.
        earlier: whether pictures may carry a cell of another form of the study.
    """
    odd = {}
    for trial_id, text in found.texts.items():
        cells = plan.cells_by_trial.get(trial_id, ())
        names = list(_odd_chunks(text, found.whole[trial_id], cells, plan if earlier else None))
        if names:
            what = " and the ".join(names)
            odd[trial_id] = f"its text was edited: the {what} in it is not its own"
    return odd


def _odd_chunks(
    text: Mapping[str, str], record: Record, cells: tuple[Cell, ...], former: Plan | None
) -> Iterator[str]:
    own = png_text(record.trial, (WORKBENCH, PARAMETERS))
    for name, value in text.items():
        if name != STUDY:
            if own.get(name) != value:
                yield _WHAT.get(name, "text")
        elif cells and not (
            any(_is_study_of(value, record, cell) for cell in cells)
            or (former is not None and _makes_it(value, record, former))
        ):
            yield _WHAT[STUDY]


def _is_study_of(text: str, record: Record, cell: Cell) -> bool:
    try:
        own = png_text(record.trial, (STUDY,), cell=cell, made_by=record.made_by)
    except (ValueError, TypeError, AttributeError, KeyError):  # the record's making is nonsense
        return False
    return own.get(STUDY) == text


def _makes_it(text: str, record: Record, plan: Plan) -> bool:
    """Whether a study, of a cell that the plan no longer has, makes this very trial, as it was."""
    try:
        study = Study.from_dict(parse_yaml(text))
        (label,) = study.sources
        picture = next(iter(plan.sources.values()))
        source = replace(picture, label=label, sha256=study.source_sha256[label])
        made = make_plan(study, resolution=record.trial.size, sources={label: source})
    except (ValueError, KeyError, TypeError):
        return False
    how = (study.dtype, study.batch_size)
    wanted = (record.made_by.get("dtype"), record.made_by.get("batch_size"))
    return how == wanted and [trial.id for trial in made.trials] == [record.trial.id]
