"""Under which conditions a run was made and is verified, what has changed, and what that explains.

The weights on this disk are among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.controls import network_needs
from workbench.families import Family, ModelRef
from workbench.families.files import is_setting
from workbench.families.locate import LocateError, fingerprints, locate
from workbench.paths import models_dir
from workbench.store import Manifest, Record
from workbench.study import Plan, Study
from workbench.verify.result import DIFFERENT, IDENTICAL, UNCHECKED, Group, Item
from workbench.versions import FIGURES

_ABSENT = {"hardware": "none", "deterministic": "no longer known", "versions": "not installed"}
EARLIER = " at an earlier start"
UNNAMED = "the run needs it, and its manifest does not say which it was made with"
Changes = dict[str, tuple[str, str]]
_SWITCHES = {
    *("device", "dtype", "threads", "deterministic_algorithms", "cudnn_deterministic"),
    *("cudnn_benchmark", "cudnn_tf32", "matmul_tf32", "float32_matmul_precision", "cpu_float32"),
    *("fp16_reduced_sums", "bf16_reduced_sums", "cublas_workspace", "attention kernels"),
    *("card", "compute", "driver", "cuda", "rocm", "cudnn"),
}
_STRONG = {*FIGURES, *_SWITCHES} - {"controlnet-workbench"}
"""What decides pixels and readings; what this program itself did is told by its commit."""
_WEAK = ("processor", "instructions", "memory", "platform", "cpu_count", "python", "source code")


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> Changes:
    """Name of a condition -> (then, now) for all that differ. What was not recorded is left out."""
    found: Changes = {}
    for name in ("device", "dtype", "python", "platform", "cpu_count"):
        _compare(found, name, then.get(name), now.get(name))
    for part in ("hardware", "deterministic", "versions"):
        old, new = then.get(part) or {}, now.get(part) or {}
        for name in old:
            _compare(found, name, old[name], new.get(name, _ABSENT[part]))
    old, new = then.get("git"), now.get("git")
    if old and new:
        _compare(found, "source code", _commit(old), _commit(new))
    return found


def explanation(
    found: Mapping[str, tuple[str, str]], weights: tuple[str, ...] = (), otherwise: str = ""
) -> str:
    """Why figures may differ, in a clause.

    Args:
        found: from `changes`.
        weights: names of the model files that are not those of the run.
        otherwise: what it must be where nothing that decides pixels has changed. Things that
            hardly do (Python, the commit of this program) are then named beside it.
    """
    parts = []
    if weights:
        shown = ", ".join(weights[:2]) + (" …" if len(weights) > 2 else "")
        what = "settings or tokenizers of models" if all(map(is_setting, weights)) else "weights"
        parts.append(f"the {what} have changed ({shown})")
    parts += [_was(found, name) for name in found if name in _STRONG]
    if parts:
        return "; ".join(parts[:4])
    weak = [_was(found, name) for name in _WEAK if name in found]
    return "; or ".join([otherwise, *weak] if otherwise else weak)


def _kernels(made_by: Mapping[str, Any]) -> str:
    """The kernels of attention that made a picture, each once; "" where nothing is known."""
    try:
        found = set(dict(made_by["runtime"]["attention_kernels"]).values())
    except (KeyError, TypeError, ValueError):
        return ""
    return ", ".join(sorted(map(str, found)))


def _was(found: Mapping[str, tuple[str, str]], name: str) -> str:
    return f"{name} was {found[name][0]} and is {found[name][1]}"


def _compare(found: Changes, name: str, old: Any, new: Any) -> None:
    if old is not None and old != new:
        found[name] = (str(old), str(new))


def _commit(state: Mapping[str, Any]) -> str:
    dirty = " with changes" if state.get("dirty") else ""
    return f"{str(state.get('commit', ''))[:10]}{dirty}"


class History:
    """What has changed since each start of a run.

    Args:
        manifest: of the run, with its earlier ones.
        now: as from `conditions_here`.
    """

    def __init__(self, manifest: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        starts = [manifest, *(manifest.get("earlier") or [])]
        self._ids = [Manifest.model_validate(start).start_id for start in starts]
        self._changed = [changes(start, now) for start in starts]

    @property
    def all(self) -> Changes:
        """Name -> (then, now) for all that differs from any start; the newest tells what was."""
        return self._until(len(self._ids))

    def when_made(self, record: Record) -> Changes:
        """What has changed since the start that made a picture; since any, where none is named."""
        place = self._place(record)
        return self.all if place is None else self._changed[place]

    def since_made(self, record: Record) -> Changes:
        """What has changed since that start or a later one, which may have read the picture."""
        place = self._place(record)
        return self.all if place is None else self._until(place + 1)

    def _place(self, record: Record) -> int | None:
        start = record.made_by.get("start")
        return self._ids.index(start) if start in self._ids else None

    def _until(self, end: int) -> Changes:
        found = dict(self._changed[0])
        for older in self._changed[1:end]:
            for name, (old, new) in older.items():
                found.setdefault(name, (f"{old}{EARLIER}", new))
        return found


@dataclass(frozen=True)
class Causes:
    """Why a figure of a run may differ, as a clause.

    weights: names of the model files that are not those of the run. now: device, dtype and threads
    of the verification. Each method takes `otherwise`: what it must be where nothing is known to
    have changed.
    """

    history: History
    weights: tuple[str, ...]
    now: Mapping[str, Any]

    def of_picture(self, record: Record, otherwise: str, again: Mapping[str, Any]) -> str:
        """Why a picture that is made again may differ; `again` is what made it now (`made_by`)."""
        changed = dict(self.history.when_made(record))
        was, is_ = (_kernels(made) for made in (record.made_by, again))
        if was and was != is_:
            changed["attention kernels"] = was, is_
        return self._told(record, changed, otherwise)

    def of_readings(self, record: Record, otherwise: str) -> str:
        """Why readings may differ, which may be younger than their picture."""
        return self._told(record, self.history.since_made(record), otherwise)

    def of_maps(self, otherwise: str) -> str:
        """Why a control map may differ."""
        return explanation(self.history.all, self.weights, otherwise)

    def _told(self, record: Record, changed: Changes, otherwise: str) -> str:
        own = {
            name: (str(record.made_by[name]), str(value))
            for name, value in self.now.items()
            if name in record.made_by and record.made_by[name] != value
        }
        return explanation({**changed, **own}, self.weights, otherwise)


def check_weights(
    family: Family,
    plan: Plan | None,
    study: Study,
    manifest: Mapping[str, Any],
    models: str | Path | None = None,
) -> Group:
    """Weight files on this disk, or the commits they come from, against the manifest.

    What the trials of the plan need must be named there; None where there is no plan.
    """
    if not manifest:
        detail = "the run has no manifest that names them"
        return Group("weights", "model files", (Item("weights", UNCHECKED, detail=detail),))
    root = models_dir(models)
    hashed = manifest.get("weight_hashes") or {}
    refs = {ref.title: ref for ref in _all_refs(family)}
    needed = set() if plan is None else {ref.title for ref in _needed_refs(family, plan, study)}
    settings = any(map(is_setting, hashed))  # manifests of earlier versions name weights alone
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
            if settings or not is_setting(name):
                items.append(Item(name, UNCHECKED, detail=UNNAMED))
    for name, wanted in hashed.items():
        found = current.get(name, "")
        missing = f"there is no such file in {root}, and the hub's cache has no such model"
        if found == wanted:
            items.append(Item(name, IDENTICAL))
        elif not found:
            items.append(Item(name, UNCHECKED, detail=missing))
        else:
            what = "another file" if is_setting(name) else "other weights"
            detail = f"{what} than the run was made with ({found[:20]}…)"
            items.append(Item(name, DIFFERENT, detail=detail))
    return Group("weights", "model files", tuple(items))


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


def _needed_refs(family: Family, plan: Plan, study: Study) -> Iterator[ModelRef]:
    """What a plan's pictures are made and read with."""
    from workbench.generation.steering import plan_controlnets

    elsewhere = study.made_elsewhere
    if elsewhere is None:
        yield from (family.base_ref(name) for name in {trial.base for trial in plan.trials})
        yield from (family.controlnet_ref(name) for name in plan_controlnets(plan, family))
    elif elsewhere.vae:
        yield family.base_ref(family.default_base)
    needs = network_needs((cell.control, cell.control_settings) for cell in plan.cells)
    needs = [*needs, *family.word_network]
    yield from (family.networks[name] for name in needs if name in family.networks)
    yield family.clip
    if family.vae is not None and (elsewhere is None or elsewhere.vae):
        yield family.vae
