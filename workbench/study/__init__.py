"""The study: its typed spec, its sources, and its expansion into cells and trials."""

from workbench.study.checks import Choices, FamilyChoice, installed_choices
from workbench.study.errors import StudyError
from workbench.study.spec import ControlChoice, Shortening, Study
from workbench.study.trials import Cell, ControlCount, Plan, PlanSummary, SourceImage, Trial

__all__ = [
    "Cell",
    "Choices",
    "ControlChoice",
    "ControlCount",
    "FamilyChoice",
    "Plan",
    "PlanSummary",
    "Shortening",
    "SourceImage",
    "Study",
    "StudyError",
    "Trial",
    "installed_choices",
]
