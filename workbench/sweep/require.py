"""Checking the models of a plan before any of them is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.study import Plan, Study

if TYPE_CHECKING:
    from workbench.families import Family, ModelRef


def require_plan(study: Study, plan: Plan, family: Family) -> tuple[ModelRef, ...]:
    """Check every model that a plan needs before any is loaded; those to download are returned.

    Raises LocateError with all problems at once.
    """
    from workbench.controls import network_needs
    from workbench.families.check import require_models

    nets = controlnets_of(plan, family)
    needs = network_needs((cell.control, cell.control_settings) for cell in plan.cells)
    return require_models(family, study.base, nets, needs, safety_checker=study.safety_checker)


def controlnets_of(plan: Plan, family: Family) -> list[str]:
    """Names of the ControlNets that a plan runs."""
    from workbench.generation.steering import controlnet_names

    return sorted({name for trial in plan.trials for name in controlnet_names(trial, family)})
