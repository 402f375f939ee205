"""Checking every model that a study needs before the first one is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from workbench.families.fetch import UnreachableError, check_access, hub_has_checker
from workbench.families.layout import (
    base_problem,
    controlnet_problem,
    lacks_checker,
    weights_problem,
)
from workbench.families.locate import LocateError, Place, is_offline, locate
from workbench.families.readers import clip_problem, network_problem, package_problem
from workbench.families.spec import ControlNetRef, Family, ModelRef


def require_models(
    family: Family,
    bases: Iterable[str],
    controlnets: Iterable[str] = (),
    networks: Iterable[str] = (),
    models: str | Path | None = None,
    *,
    safety_checker: bool = False,
) -> tuple[ModelRef, ...]:
    """Find all models and look into their folders; nothing is loaded or downloaded.

    Of networks that read pictures, the packages which their loaders import are looked for too.

    Args:
        bases, controlnets, networks: names in the family.
        models: the models folder, if not the usual one.
        safety_checker: whether the base models' own safety checkers are needed.

    Returns:
        Models that must be downloaded first. The hub was asked whether that is allowed.

    Raises:
        LocateError: with every problem, one to a line.
    """
    problems: list[str] = []
    absent: dict[str, ModelRef] = {}
    folders: list[Path] = []
    failed: set[str] = set()
    unreachable: list[str] = []

    def find(role: str, ref: ModelRef) -> Place | None:
        try:
            place = locate(ref, models)
            if place.folder is None and ref.repo not in absent:
                absent[ref.repo] = ref
                if not unreachable:
                    check_access(ref)
        except UnreachableError as error:
            unreachable.append(error.reason)
            return None
        except LocateError as error:
            if ref.title not in failed:  # a union model serves several types
                problems.append(f"{role}: {error}")
            failed.add(ref.title)
            return None
        return place

    def judge(role: str, place: Place | None, problem: str) -> None:
        if place is not None and problem:
            problems.append(f"{role}: {place.name} cannot be used: {problem}")

    for name in dict.fromkeys(bases):
        role, place = f"base model {name}", find(f"base model {name}", family.base_ref(name))
        if place is not None and place.folder is not None:
            problem = base_problem(place.folder, family.parts_of)
            judge(role, place, problem)
            folders += [] if problem else [place.folder]
        if safety_checker and place is not None and not unreachable:
            try:
                problems += _checker_problems(role, family, family.base_ref(name), place)
            except UnreachableError as error:
                unreachable.append(error.reason)
                absent[f"the safety checker of {role}"] = family.base_ref(name)
            except LocateError as error:
                problems.append(f"safety checker of {role}: {error}")
    for name in dict.fromkeys(controlnets):
        ref = family.controlnet_ref(name)
        role = f"ControlNet for {name}"
        place = find(role, ref)
        if place is not None and place.folder is not None:
            judge(role, place, _controlnet_problem(place.folder, family, ref, folders))
    others = {"VAE": (family.vae, weights_problem), "CLIP": (family.clip, clip_problem)}
    for role, (other, check) in others.items():
        place = find(role, other) if other is not None else None
        if place is not None and place.folder is not None:
            judge(role, place, check(place.folder))
    for name in dict.fromkeys(networks):
        role = f"network {name}"
        if name not in family.networks:
            have = ", ".join(family.networks) or "none"
            problems.append(
                f"{role}: a control of the study needs it, and the family {family.name} has no "
                f"such network; it has: {have}"
            )
            continue
        reader = family.networks[name]
        if problem := package_problem(reader.loader):
            problems.append(f"{role}: {problem}")
        place = find(role, reader)
        if place is not None and place.folder is not None:
            judge(role, place, network_problem(reader, place.folder))
    if unreachable:
        problems.append(
            f"these models are not on this disk: {', '.join(absent)}; and the hub cannot be "
            f"reached ({unreachable[0]}): mend the network, or copy each to PATH/owner/name and "
            "give --models PATH"
        )
    if problems:
        raise LocateError("\n".join(dict.fromkeys(problems)))
    return tuple(absent.values())


def _checker_problems(role: str, family: Family, ref: ModelRef, place: Place) -> list[str]:
    """Why a base model's safety checker cannot be loaded, as one sentence, or nothing."""
    way = "leave safety_checker out of the study, or take a base model that brings one"
    if not family.parts_of.checks_safety:
        kind = family.architecture
        return [f"safety_checker: models of the architecture {kind} have none: {way}"]
    if place.folder is not None and not lacks_checker(place.folder):
        return []
    if ref.repo and (place.folder is None or place.revision):
        if is_offline():
            return [
                f"safety_checker: that of {role}, {ref.title}, is not on this disk, and the "
                "network is switched off: run once without --offline, or leave it out of the study"
            ]
        if hub_has_checker(ref, place.revision):
            return []
    return [f"safety_checker: {role}, {ref.title}, comes without one: {way}"]


def _controlnet_problem(folder: Path, family: Family, ref: ControlNetRef, bases: list[Path]) -> str:
    union = ref.union_mode is not None
    choices: list[Path | None] = [*bases] or [None]
    for base in choices:
        problem = controlnet_problem(folder, family.parts_of, base, union=union)
        if problem:
            return problem
    return ""
