"""`workbench doctor`: has this machine what studies need, and does the embedded model draw?"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.cli.common import say
from workbench.cli.machine import black_in_half, disk_facts, machine_facts, machine_warnings
from workbench.formats import gigabytes

SMOKE_STEPS = 2


def doctor(
    runs: Annotated[Path, typer.Option(help="Folder of the runs, whose disk is looked at.")] = Path(
        "runs"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check this machine: devices, memory, disk, packages, model families, and a small picture.

    Exit code 1 if something is missing that every study needs.
    """
    found = examine(runs)
    say(json.dumps(found, indent=2) if as_json else as_text(found))
    if found["problems"]:
        raise typer.Exit(1)


def examine(runs: Path) -> dict[str, Any]:
    """Everything the doctor looks at, as plain JSON values."""
    from workbench.versions import NOTED, OPTIONAL, package_versions

    facts = machine_facts() | {"disk": disk_facts(runs), "packages": package_versions()}
    facts["families"] = families_here(facts)
    facts["smoke"] = smoke()
    sound = not facts["smoke"]["reason"]
    facts["smokes"] = [smoke(*place) for place in places(facts)] if sound else []
    problems = [
        f"The package {name} is not installed: pip install {name}"
        for name in sorted(NOTED)
        if name not in {*facts["packages"], *OPTIONAL, "controlnet-workbench"}
    ]
    if not facts["disk"]["writable"]:
        why = "is a file" if runs.is_file() else "cannot be written to"
        problems.append(f"The folder of the runs {why}: {runs}")
    if facts["smoke"]["reason"]:
        problems.append(f"The embedded model made no picture: {facts['smoke']['reason']}")
    problems += [
        f"The embedded model made no picture on {one['device']} in {one['dtype']} "
        f"({one['reason']}): take another device or dtype"
        for one in facts["smokes"]
        if one["reason"]
    ]
    unfit = [
        f"The {role} of the family {family['name']} cannot be used: {problem}"
        for family in facts["families"]
        for role, problem in family["unfit"].items()
    ]
    return facts | {"warnings": [*machine_warnings(facts), *unfit], "problems": problems}


def families_here(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Each family of the catalogue: what of it is here, and in which dtypes it fits where."""
    from workbench.dtypes import DTYPE_BYTES
    from workbench.families import load_catalogue
    from workbench.families.check import family_states
    from workbench.families.memory import memory_need, weights_need

    places = {"cpu": facts["memory"]["available"]}
    places |= {device["device"]: device["free"] for device in facts["devices"]}
    found = []
    for family in load_catalogue().values():
        needs = {
            dtype: memory_need(family, dtype, weights_need(family, dtype)) for dtype in DTYPE_BYTES
        }
        fits = {
            place: [dtype for dtype, need in needs.items() if need is not None and need <= room]
            for place, room in places.items()
        }
        states = [state for state in family_states(family) if not state.is_choice]
        here = {state.role: state.present and not state.problem for state in states}
        unfit = {state.role: state.problem for state in states if state.problem}
        found.append(
            {"name": family.name, "present": here, "unfit": unfit, "needs": needs, "fits": fits}
        )
    return found


def places(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Devices beside the CPU, each with the dtype that real models usually have on it."""
    return [
        (device["device"], "float32" if black_in_half(device) else "float16")
        for device in facts["devices"]
    ]


def smoke(device: str = "cpu", dtype: str = "float32") -> dict[str, Any]:
    """Two steps of the embedded model, through the code that makes every picture.

    One picture from the text alone and one steered by a Canny map. `reason` is "" if both are
    sound, else what went wrong; `seconds` is for the pictures, `loading_seconds` for the models.
    """
    from workbench.families.manager import ModelManager
    from workbench.generation import check_sample, generate
    from workbench.measuring import Measurer
    from workbench.study import Study, make_plan

    study = Study.model_validate(
        {
            "name": "smoke",
            "sources": ["paperdoll:900001"],
            "controls": ["canny"],
            "prompt": "a girl, snow",
            "scales": [0, 1],
            "steps": SMOKE_STEPS,
        }
    )
    began = time.perf_counter()
    try:
        manager = ModelManager("paperdoll", device=device, dtype=dtype)
        manager.pipeline("canny")
        loaded = time.perf_counter()
        plan = make_plan(study, resolution=manager.family.resolution)
        reasons = [
            one.failed_reason if one.image is None else check_sample(one.image)
            for batch in generate(plan.trials, Measurer(plan, manager).source_maps, manager)
            for one in batch
        ]
        reason = next(filter(None, reasons), "")
    except Exception as error:  # whatever it is, the doctor tells it
        loaded = time.perf_counter()
        reason = f"{type(error).__name__}: {error}"
    ended = time.perf_counter()
    return {
        "device": device,
        "dtype": dtype,
        "reason": reason,
        "seconds": round(ended - loaded, 2),
        "loading_seconds": round(loaded - began, 2),
    }


def as_text(found: dict[str, Any]) -> str:
    """The findings for people."""
    cpu, memory, disk = found["cpu"], found["memory"], found["disk"]
    lines = [
        ("Python", f"{found['python']} on {found['platform']}"),
        (
            "processor",
            f"{cpu['cores']} cores, {cpu['threads']} threads ({cpu['waiting'] or 'spinning'}), "
            f"{cpu['capability']}",
        ),
        ("memory", f"{gigabytes(memory['available'])} of {gigabytes(memory['total'])} free"),
        ("disk", f"{gigabytes(disk['free'])} free for {disk['folder']}"),
    ]
    lines += [
        (
            device["device"],
            f"{device['name']}, {gigabytes(device['free'])} of {gigabytes(device['total'])} free",
        )
        for device in found["devices"]
    ]
    shown = ("torch", "diffusers", "transformers", "accelerate", "controlnet-aux", "torchmetrics")
    versions = (f"{name} {found['packages'].get(name, 'missing')}" for name in shown)
    lines.append(("packages", ", ".join(versions)))
    lines += [(tool, "yes" if there else "no") for tool, there in found["tools"].items()]
    lines += [(f"family {family['name']}", _family_line(family)) for family in found["families"]]
    drawn = "sound pictures in {seconds} s (loading {loading_seconds} s)"
    smoke_run = found["smoke"]
    lines.append(("embedded model", smoke_run["reason"] or drawn.format(**smoke_run)))
    lines += [
        (f"on {one['device']}, {one['dtype']}", one["reason"] or drawn.format(**one))
        for one in found["smokes"]
    ]
    width = max(len(name) for name, _ in lines)
    text = [f"{name:<{width}}  {value}" for name, value in lines]
    text += [f"Warning: {warning}" for warning in found["warnings"]]
    text += [f"Problem: {problem}" for problem in found["problems"]]
    text.append("All is well." if not found["problems"] else "Studies cannot run yet.")
    return "\n".join(text)


def _family_line(family: dict[str, Any]) -> str:
    here = family["present"]
    missing = [name for name, there in here.items() if not there]
    there = "complete" if not missing else f"without {', '.join(missing[:4])}"
    there += " …" if len(missing) > 4 else ""
    if len(missing) == len(here):
        there = "not on this machine"
    needs = {dtype: need for dtype, need in family["needs"].items() if need is not None}
    if not needs:
        return there
    fits = "; ".join(
        f"{place} {', '.join(dtypes) or 'too small'}" for place, dtypes in family["fits"].items()
    )
    need = ", ".join(f"{dtype} {gigabytes(bytes_)}" for dtype, bytes_ in needs.items())
    return f"{there}; needs {need}; fits: {fits}"
