"""The manifest of a run, from the models that its plan needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.store import Manifest, ModelsInUse, build_manifest
from workbench.study import Plan, Study
from workbench.sweep.require import controlnets_of

if TYPE_CHECKING:
    from workbench.families.manager import ModelManager


def manifest_of(study: Study, plan: Plan, manager: ModelManager) -> Manifest:
    """Load what the plan needs and write down what it is."""
    from workbench.families.runtime import runtime_record
    from workbench.generation.schedulers import make_scheduler
    from workbench.measuring.bases import networks_read
    from workbench.measuring.judges import judge_hashes

    family = manager.family
    controls = controlnets_of(plan, family)
    needs = networks_read(plan, manager)
    hashes: dict[str, str] = {}
    models = {f"base/{name}": family.base_ref(name).title for name in study.base}
    models |= {f"controlnet/{name}": family.controlnet_ref(name).title for name in controls}
    parts = {"clip": family.clip, "vae": family.vae}
    models |= {name: ref.title for name, ref in parts.items() if ref is not None}
    models |= {
        f"network/{name}": family.networks[name].title for name in needs if name in family.networks
    }
    judge_hashes(manager, needs)
    for name in study.base:
        base = manager.for_base(name)
        for control in (None, *controls):
            base.pipeline(control)
        if base.checks_safety:
            base.safety_checker()
        hashes |= base.weight_hashes()
    scheduler = make_scheduler(study.scheduler, manager.pipeline(None).scheduler.config)
    used = ModelsInUse(
        device=manager.device,
        dtype=manager.dtype,
        names=models,
        weight_hashes=hashes,
        scheduler_config=dict(scheduler.config),
        runtime=runtime_record(manager.runtime, manager.in_force),
        safety_checker=manager.checks_safety,
    )
    return build_manifest(study, plan.sources, used)
