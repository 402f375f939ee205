"""The study: its typed spec, its sources, and its expansion into cells and trials."""

from workbench.study.checks import check_syntax
from workbench.study.choices import Choices, FamilyChoice, choices_among, installed_choices
from workbench.study.errors import StudyError
from workbench.study.fields import ControlChoice, PairChoice, Shortening
from workbench.study.notes import cut_note, plan_notes, window_note
from workbench.study.plan import active_steps, make_plan, prompt_variants
from workbench.study.single import pin_sources, single_study
from workbench.study.sources import load_source, load_sources
from workbench.study.spec import Study
from workbench.study.trials import (
    Cell,
    ControlCount,
    ControlUse,
    Plan,
    PlanSummary,
    SourceImage,
    Trial,
)
from workbench.study.yamlfile import first_comment, shipped_studies

__all__ = [
    "Cell",
    "Choices",
    "ControlChoice",
    "ControlCount",
    "ControlUse",
    "FamilyChoice",
    "PairChoice",
    "Plan",
    "PlanSummary",
    "Shortening",
    "SourceImage",
    "Study",
    "StudyError",
    "Trial",
    "active_steps",
    "check_syntax",
    "choices_among",
    "cut_note",
    "first_comment",
    "installed_choices",
    "load_source",
    "load_sources",
    "make_plan",
    "pin_sources",
    "plan_notes",
    "prompt_variants",
    "shipped_studies",
    "single_study",
    "window_note",
]
