"""Which models a study needs: those of its base models, control types and judges, and no others."""

from __future__ import annotations

from collections.abc import Iterable

from workbench.controls import network_needs
from workbench.families import Family, ModelRef
from workbench.generation.steering import plan_controlnets
from workbench.study import Plan, Study


def networks_needed(plan: Plan, family: Family) -> tuple[str, ...]:
    """Names of the networks that read pictures for a plan."""
    needs = network_needs((cell.control, cell.control_settings) for cell in plan.cells)
    return (*needs, *family.word_network)


def models_needed(study: Study, plan: Plan, family: Family) -> list[ModelRef]:
    """The models of a study, each once; `family` has its judges.

    FamilyError for a base model or ControlNet that the family lacks.
    """
    networks = (family.networks.get(name) for name in networks_needed(plan, family))
    refs: Iterable[ModelRef | None] = (
        *(family.base_ref(name) for name in study.base),
        *(family.controlnet_ref(name) for name in plan_controlnets(plan, family)),
        family.vae,
        family.clip,
        *networks,
    )
    return list({ref.title: ref for ref in refs if ref is not None}.values())
