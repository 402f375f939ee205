"""The manifest of a run: everything outside the study that its figures may depend on."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from workbench.families import determinism
from workbench.store.errors import StoreError
from workbench.store.records import plain
from workbench.study import SourceImage, Study

SCHEMA = 1
PACKAGES = (
    "controlnet-workbench",
    "accelerate",
    "controlnet-aux",
    "diffusers",
    "numpy",
    "opencv-python-headless",
    "pandas",
    "pillow",
    "pyarrow",
    "pydantic",
    "safetensors",
    "scipy",
    "statsmodels",
    "tokenizers",
    "torch",
    "torchmetrics",
    "transformers",
)
OPTIONAL = ("onnxruntime", "onnxruntime-gpu")
"""Packages of extras that take part in readings; nothing is amiss without them."""
_MAX_EARLIER = 20
_TIMES = ("created", "earlier")
_TABLES = ("versions", "scheduler_config", "deterministic", "git", "runtime", "models")
_HASHES = ("weight_hashes", "sources")


def build_manifest(
    study: Study,
    sources: Mapping[str, SourceImage],
    *,
    device: str,
    dtype: str,
    models: Mapping[str, str],
    weight_hashes: Mapping[str, str],
    scheduler_config: Mapping[str, Any],
    runtime: Mapping[str, Any] | None = None,
    safety_checker: bool = False,
) -> dict[str, Any]:
    """Collect the manifest as plain JSON.

    `models` maps a part ("unet", "controlnet/depth") to the id and revision it came from,
    `weight_hashes` to the SHA-256 of its weights; `scheduler_config` is the scheduler's own;
    `runtime` says what was asked for and what is in force
    (`workbench.families.runtime.runtime_record`).
    """
    return {
        "schema": SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "study": study.name,
        "study_hash": study.hash,
        "device": device,
        "dtype": dtype,
        "runtime": plain(runtime or {}),
        "safety_checker": safety_checker,
        "models": plain(models),
        "weight_hashes": plain(weight_hashes),
        "scheduler": study.scheduler,
        "scheduler_config": plain(scheduler_config),
        "sources": {label: source.sha256 for label, source in sources.items()},
        "deterministic": determinism.flags(),
        "versions": package_versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "git": git_state(Path(__file__).resolve().parent),
    }


def merge_manifests(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a run that is continued.

    Earlier manifests which differ in more than the time are kept under "earlier", newest first.
    Other weights for the same part, another dtype, tiles of the VAE, or a safety checker turned on
    or off, raise StoreError: the pictures that are there and the new ones could not be compared.
    """
    if old is None:
        return dict(new)
    mine, theirs = new.get("weight_hashes") or {}, old.get("weight_hashes") or {}
    changed = sorted(part for part in mine if part in theirs and mine[part] != theirs[part])
    if changed:
        raise StoreError(
            f"the pictures in this run folder were made with other weights ({', '.join(changed)}): "
            "use another folder"
        )
    if old.get("dtype") != new.get("dtype"):
        raise StoreError(
            f"the pictures in this run folder were made in {old.get('dtype')}, not in "
            f"{new.get('dtype')}: use another folder"
        )
    for name, was, now in (
        ("the safety checker", _safety(old), _safety(new)),
        ("runtime.vae_tiling", _tiling(old), _tiling(new)),
    ):
        if was != now:
            raise StoreError(
                f"the pictures in this run folder were made with {name} {_on(was)}, not "
                f"{_on(now)}: use another folder"
            )
    merged = dict(new)
    merged["weight_hashes"] = {**theirs, **mine}
    merged["models"] = {**(old.get("models") or {}), **(new.get("models") or {})}
    earlier = list(old.get("earlier") or [])
    if _essence(old) != _essence(merged):
        earlier.insert(0, {key: value for key, value in old.items() if key != "earlier"})
    elif "created" in old:
        merged["created"] = old["created"]
    if earlier:
        merged["earlier"] = earlier[:_MAX_EARLIER]
    return merged


def misshapen(manifest: Any, *, earlier: bool = True) -> str:
    """What is wrong with the form of a manifest, in a clause; "" if it can be worked with."""
    if not isinstance(manifest, dict):
        return "it is no list of conditions"
    if not isinstance(manifest.get("study_hash", ""), str):
        return "its hash of the study is none"
    for name in (*_TABLES, *_HASHES):
        if not isinstance(manifest.get(name) or {}, dict):
            return f'"{name}" in it is no list of names and values'
    for name in _HASHES:
        if not all(isinstance(text, str) for text in (manifest.get(name) or {}).values()):
            return f'"{name}" in it holds something else than hashes'
    runtime, flags = manifest.get("runtime") or {}, manifest.get("deterministic") or {}
    if not all(isinstance(runtime.get(part) or {}, dict) for part in ("asked", "in_force")):
        return '"runtime" in it is no list of settings'
    threads = flags.get("threads")
    if threads is not None and (not isinstance(threads, int) or abs(threads) > 2**31):
        return "its number of threads is none"
    older = manifest.get("earlier") or []
    if not earlier or not isinstance(older, list):
        return "" if not older or not earlier else '"earlier" in it is no list of manifests'
    return next((odd for one in older if (odd := misshapen(one, earlier=False))), "")


def start_id(manifest: Mapping[str, Any]) -> str:
    """Names the start that a manifest describes; records carry it in `made_by`."""
    text = json.dumps(plain(_essence(manifest)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _safety(manifest: Mapping[str, Any]) -> bool:
    return bool(manifest.get("safety_checker"))


def _tiling(manifest: Mapping[str, Any]) -> bool:
    asked = (manifest.get("runtime") or {}).get("asked") or {}
    return bool(asked.get("vae_tiling"))


def _on(value: bool) -> str:
    return "on" if value else "off"


def package_versions() -> dict[str, str]:
    """Versions of the installed packages that matter."""
    versions = {}
    for name in (*PACKAGES, *OPTIONAL):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_state(package: Path) -> dict[str, Any] | None:
    """Commit and dirty flag of the checkout the package is part of; None outside a checkout.

    A package that merely lies inside somebody else's checkout (in a `.venv`, say) is not part
    of it: git must track its files.
    """
    if not _git(package, "ls-files", "--", "."):
        return None
    commit = _git(package, "rev-parse", "HEAD")
    status = _git(package, "status", "--porcelain")
    if commit is None or status is None:
        return None
    return {"commit": commit, "dirty": bool(status)}


def _git(folder: Path, *arguments: str) -> str | None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip()


def _essence(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in manifest.items() if key not in _TIMES}
