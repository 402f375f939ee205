"""Weight files on this disk against those that the manifest names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.controls import network_needs
from workbench.families import Family, ModelRef
from workbench.families.locate import LocateError, fingerprints, locate
from workbench.generation.steering import plan_controlnets
from workbench.paths import models_dir
from workbench.study import Plan
from workbench.verify.result import DIFFERENT, IDENTICAL, UNCHECKED, Group, Item

UNNAMED = "the run needs it, and its manifest does not say which it was made with"


def check_weights(
    family: Family,
    plan: Plan | None,
    manifest: Mapping[str, Any],
    models: str | Path | None = None,
) -> Group:
    """Weight files on this disk, or the commits they come from, against the manifest.

    What the trials of the plan need must be named there; None where there is no plan.
    """
    if not manifest:
        detail = "the run has no manifest that names them"
        return Group("weights", "weight files", (Item("weights", UNCHECKED, detail=detail),))
    root = models_dir(models)
    hashed = manifest.get("weight_hashes") or {}
    refs = {ref.title: ref for ref in _all_refs(family)}
    needed = set() if plan is None else {ref.title for ref in _needed_refs(family, plan)}
    items = []
    current: dict[str, str] = {}
    for title, ref in refs.items():
        named = {name for name in hashed if _is_of(name, title)}
        if not named and title not in needed:
            continue
        try:
            here = fingerprints(ref, locate(ref, models))
        except LocateError:
            here = {}
        current |= here
        for name in _unnamed(title, named, here) if title in needed else ():
            items.append(Item(name, UNCHECKED, detail=UNNAMED))
    for name, wanted in hashed.items():
        found = current.get(name, "")
        missing = f"there is no such file in {root}, and the hub's cache has no such model"
        if found == wanted:
            items.append(Item(name, IDENTICAL))
        elif not found:
            items.append(Item(name, UNCHECKED, detail=missing))
        else:
            detail = f"other weights than the run was made with ({found[:20]}…)"
            items.append(Item(name, DIFFERENT, detail=detail))
    return Group("weights", "weight files", tuple(items))


def _is_of(name: str, title: str) -> bool:
    return name == title or name.startswith(f"{title}/")


def _unnamed(title: str, named: set[str], here: Mapping[str, str]) -> list[str]:
    """Files of a model that the manifest leaves out.

    A model that it names as a whole, or that is here as a whole, by its commit, is not taken apart.
    """
    if not named:
        return list(here) or [title]
    return [] if title in named or title in here else [name for name in here if name not in named]


def _all_refs(family: Family) -> Iterator[ModelRef]:
    yield from family.base.values()
    yield from family.controlnets.values()
    yield from family.networks.values()
    yield family.clip
    if family.vae is not None:
        yield family.vae


def _needed_refs(family: Family, plan: Plan) -> Iterator[ModelRef]:
    """What a plan's pictures are made and read with."""
    yield from (family.base_ref(name) for name in {trial.base for trial in plan.trials})
    yield from (family.controlnet_ref(name) for name in plan_controlnets(plan, family))
    needs = network_needs((cell.control, cell.control_settings) for cell in plan.cells)
    yield from (family.networks[name] for name in needs if name in family.networks)
    yield family.clip
    if family.vae is not None:
        yield family.vae
