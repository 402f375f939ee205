"""Protects the manifest: what a run's figures depend on is written down and cannot be mixed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from workbench.store import Executor, Manifest, ModelsInUse, RunFolder, StoreError, build_manifest
from workbench.store.manifest import merge_manifests
from workbench.study import Plan, Study
from workbench.versions import git_state

Fill = Callable[..., None]


@pytest.fixture
def manifest(study: Callable[..., Study], plan: Plan) -> Callable[..., Manifest]:
    def make(**changes: Any) -> Manifest:
        options: dict[str, Any] = {
            "device": "cpu",
            "dtype": "float32",
            "names": {"unet": "paperdoll/base"},
            "weight_hashes": {"unet": "aa"},
            "scheduler_config": {"prediction_type": "v_prediction", "betas": (0.1, 0.2)},
        }
        return build_manifest(study(), plan.sources, ModelsInUse(**(options | changes)))

    return make


def test_the_manifest_holds_what_the_design_asks_for(
    manifest: Callable[..., Manifest], study: Callable[..., Study], plan: Plan
) -> None:
    made = manifest()
    assert made.study_hash == study().hash
    assert made.versions and made.deterministic
    assert made.versions["torch"] == metadata.version("torch")
    assert made.versions["onnxruntime"] == metadata.version("onnxruntime")
    assert made.sources == {"paperdoll:1": plan.sources["paperdoll:1"].sha256}
    assert made.scheduler_config == {"prediction_type": "v_prediction", "betas": [0.1, 0.2]}
    assert made.weight_hashes == {"unet": "aa"}
    assert (made.device, made.dtype, made.scheduler) == ("cpu", "float32", "unipc")
    assert made.as_json()["deterministic"]["deterministic_algorithms"] is False


def test_it_comes_back_from_the_run_folder(
    run: RunFolder, manifest: Callable[..., Manifest]
) -> None:
    who = Executor(kind="in-process", workers=[{"name": "in-process", "device": "cpu"}])
    made = manifest().model_copy(update={"executor": who})
    run.write_manifest(made)
    assert run.read_manifest() == made
    assert run.read_json("manifest.json") == made.as_json()
    again = run.read_manifest()
    assert again is not None and again.start_id == made.start_id


def test_continuing_elsewhere_keeps_the_earlier_manifest(
    run: RunFolder, manifest: Callable[..., Manifest], fill: Fill
) -> None:
    first = run.write_manifest(manifest())
    fill(run)
    same = run.write_manifest(manifest().model_copy(update={"created": "later"}))
    assert same == first
    second = run.write_manifest(manifest(device="cuda", weight_hashes={"controlnet/depth": "bb"}))
    assert second.device == "cuda" and second.earlier == [first]
    assert second.weight_hashes == {"unet": "aa", "controlnet/depth": "bb"}
    third = run.write_manifest(manifest())
    assert [entry.device for entry in third.earlier or ()] == ["cuda", "cpu"]
    assert all(entry.earlier is None for entry in third.earlier or ())


@pytest.mark.parametrize(
    ("change", "word"), [({"weight_hashes": {"unet": "zz"}}, "unet"), ({"dtype": "float16"}, "16")]
)
def test_other_weights_or_dtype_are_refused_once_there_are_pictures(
    run: RunFolder, manifest: Callable[..., Manifest], fill: Fill, change: dict[str, Any],
    word: str,
) -> None:  # fmt: skip
    run.write_manifest(manifest())
    run.write_manifest(manifest(**change))  # nothing was made yet
    run.write_manifest(manifest())
    fill(run)
    with pytest.raises(StoreError, match=word):
        run.write_manifest(manifest(**change))
    assert run.read_json("manifest.json")["dtype"] == "float32"


def test_a_first_manifest_stands_as_it_is(manifest: Callable[..., Manifest]) -> None:
    made = manifest()
    assert merge_manifests(None, made) == made


def _git(folder: Path, *arguments: str) -> str:
    names = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    done = subprocess.run(
        ["git", "-C", str(folder), *names, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_git_state_of_a_checkout(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    assert git_state(package) is None
    _git(tmp_path, "init", "-q")
    (package / "a.py").write_text("1\n")
    assert git_state(package) is None
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-qm", "first")
    assert git_state(package) == {"commit": _git(tmp_path, "rev-parse", "HEAD"), "dirty": False}
    installed = tmp_path / ".venv" / "package"  # inside the checkout, but not part of it
    installed.mkdir(parents=True)
    (installed / "a.py").write_text("1\n")
    assert git_state(installed) is None
    (package / "a.py").write_text("2\n")
    state = git_state(package)
    assert state is not None and state["dirty"] is True
