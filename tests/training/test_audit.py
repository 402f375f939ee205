"""The audit as a whole.

Protects: every figure comes, both bases are measured by the same references, and an interrupted
audit leaves what it found.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run_command
from tiny_manager import models
from tiny_run import TinyManager, make_manager

from workbench.families.locate import LocateError, locate
from workbench.paperdoll import TAG_GROUPS
from workbench.training import audit
from workbench.training.audit import controls as audit_controls
from workbench.training.audit import models as audit_models
from workbench.training.audit.figures import Figure
from workbench.training.data import AUDIT_SEEDS, render_arrays, words_of

__all__ = ["models"]

COUNT = 3


@pytest.fixture(scope="module", name="manager")
def _manager(models: Path) -> TinyManager:
    return make_manager(models)


@pytest.fixture(scope="module", name="held")
def _held(manager: TinyManager) -> dict[str, np.ndarray]:
    """As many scenes as pictures, at the size of the tiny family."""
    held = render_arrays(AUDIT_SEEDS[:COUNT])
    step = held["rgb"].shape[1] // manager.family.resolution
    return held | {"rgb": np.ascontiguousarray(held["rgb"][:, ::step, ::step])}


@pytest.fixture(autouse=True)
def no_auditor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A classifier of tags that is always right."""
    for module in (audit_controls, audit_models):
        monkeypatch.setattr(module, "audited", lambda *_: dict.fromkeys(TAG_GROUPS, 1.0))


def control_figures(
    manager: TinyManager, held: dict[str, np.ndarray], tmp_path: Path
) -> dict[str, Figure]:
    words = words_of(held["tags"])
    found = list(audit_controls.control_figures(manager, tmp_path, held, words, COUNT))
    by_name = {figure.name: figure for figure in found}
    assert len(by_name) == len(found)
    return by_name


def test_every_control_has_its_figures_on_every_base(
    manager: TinyManager, held: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """There are as many scenes as pictures: the last one's neighbour is the first."""
    found = control_figures(manager, held, tmp_path)
    for control in manager.family.controls:
        for base in ("render", "ink"):
            mine = [name for name in found if name.startswith(f"{control}, {base}, scale 1")]
            assert sum("adherence" in name for name in mine) == 3
            assert sum("silhouette" in name for name in mine) == 4
            bounds = [found[name].least for name in mine if found[name].least is not None]
            assert len(bounds) == (2 if base == "render" else 0)
    assert len(found) == len(manager.family.controls) * 2 * 7


def test_both_bases_are_held_against_the_same_chance_and_ceiling(
    manager: TinyManager,
    held: dict[str, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same pictures count the same, whichever base made them."""
    drawn_by: set[str] = set()
    wobble = np.random.default_rng(0).integers(-40, 40, held["rgb"].shape)
    pictures = np.clip(held["rgb"].astype(int) + wobble, 0, 255).astype(np.uint8)

    def same(trials: Any, maps: Any, drawn: Any) -> np.ndarray:
        drawn_by.add(drawn.base)
        return pictures

    monkeypatch.setattr(audit_controls, "make_images", same)
    found = control_figures(manager, held, tmp_path)
    assert drawn_by == {"render", "ink"}
    for name, figure in found.items():
        if "adherence" in name and ", render," in name:
            assert np.isfinite(figure.value)
            assert found[name.replace(", render,", ", ink,")].value == figure.value


def test_clip_and_the_auditor_are_tested_on_every_style(
    manager: TinyManager,
    held: dict[str, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, np.ndarray] = {}
    whole = render_arrays(AUDIT_SEEDS[:COUNT])

    def accuracy(model: Any, tokenizer: Any, rgb: np.ndarray, words: Any) -> dict[str, float]:
        seen[f"clip {len(seen)}"] = rgb
        return dict.fromkeys(TAG_GROUPS, 0.9)

    class Clip:
        def eval(self) -> Clip:
            return self

    def read(_: Path, rgb: np.ndarray, tags: np.ndarray) -> dict[str, float]:
        seen[f"auditor {len(seen)}"] = rgb
        return dict.fromkeys(TAG_GROUPS, 1.0)

    monkeypatch.setattr(audit_models, "tag_accuracy", accuracy)
    monkeypatch.setattr(audit_models, "load_clip", lambda _: (Clip(), None))
    monkeypatch.setattr(audit_models, "audited", read)
    words = words_of(whole["tags"])
    found = audit_models.clip_figures(tmp_path, whole, words)
    bounds = {f.name: (f.least, f.reached) for f in found if "mean over" in f.name}
    assert bounds == {
        "CLIP tells the right tag, rendered pictures: mean over groups": (0.95, False),
        "CLIP tells the right tag, pictures drawn in ink: mean over groups": (None, True),
    }
    read_by_clip = list(seen.values())
    assert np.array_equal(read_by_clip[0], whole["rgb"])
    assert not np.array_equal(read_by_clip[0], read_by_clip[1])
    seen.clear()
    monkeypatch.setattr(audit_models, "make_images", lambda *_: whole["rgb"])
    names = [f.name for f in audit_models.text_figures(manager, tmp_path, whole, words, COUNT)]
    assert sum(name.startswith("auditor, rendered pictures") for name in names) == 2
    assert sum(name.startswith("auditor, pictures drawn in ink") for name in names) == 2
    for own, clips in zip(list(seen.values())[:2], read_by_clip, strict=True):
        assert np.array_equal(own, clips)


@pytest.fixture(name="quick")
def _quick(monkeypatch: pytest.MonkeyPatch, manager: TinyManager) -> None:
    """An audit of one figure for each part."""
    monkeypatch.setattr("workbench.families.manager.ModelManager", lambda *_, **__: manager)
    monkeypatch.setattr(audit, "render_arrays", lambda _: render_arrays(AUDIT_SEEDS[:2]))
    monkeypatch.setattr(audit, "_word_judges", lambda _: [])
    parts = ("vae", "style", "judge", "clip", "conflict", "text")
    for part in parts:
        one = [Figure(f"of {part}", 1.0)]
        monkeypatch.setattr(audit, f"{part}_figures", lambda *_, one=one: one)
    monkeypatch.setattr(audit, "control_figures", lambda *_: iter([Figure("of control", 1.0)]))
    monkeypatch.setattr(audit, "zero_scale_figure", lambda *_: Figure("of zero", 0.0))


def test_a_whole_audit_is_a_page_of_all_figures(quick: None, tmp_path: Path) -> None:
    lines: list[str] = []
    figures = audit.run_audit(tmp_path, pictures=2, threads=1, log=lines.append)
    page = (tmp_path / "AUDIT.md").read_text("utf-8")
    assert [f.row() for f in figures] == lines and len(lines) == 9
    assert all(line in page for line in lines)
    assert f"| model files, SHA-256 | {audit.fingerprint(tmp_path)} |" in page
    assert "not complete" not in page


def test_an_interrupted_audit_leaves_what_it_found_and_says_so(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> Iterator[Figure]:
        yield Figure("first control", 1.0)
        raise KeyboardInterrupt

    monkeypatch.setattr(audit, "control_figures", interrupted)
    with pytest.raises(KeyboardInterrupt):
        audit.run_audit(tmp_path, pictures=2, threads=1, log=lambda _: None)
    page = (tmp_path / "AUDIT.md").read_text("utf-8")
    assert "| first control |" in page and "| of vae |" in page
    assert "not complete" in page and "of zero" not in page


def test_what_is_audited_is_what_is_named(models: Path, tmp_path: Path) -> None:
    """Never the shipped weights, whatever the folder is called."""
    (tmp_path / "mine").mkdir()
    for empty in (tmp_path / "mine", tmp_path / "nowhere"):
        done = run_command("audit", "paperdoll", "--models-dir", empty, "--pictures", 8)
        assert done.code == 2 and str(empty.name) in done.err and "Traceback" not in done.err
        assert not (empty / "AUDIT.md").exists()
    shutil.copytree(models / "tiny" / "base", tmp_path / "mine" / "base")
    family = audit.family_in(tmp_path / "mine")
    place = locate(family.base_ref(family.default_base), tmp_path)
    assert place.folder == tmp_path / "mine" / "base"
    with pytest.raises(LocateError, match="mine/judge"):
        locate(family.networks["depth"], tmp_path)


def test_the_fingerprint_is_that_of_every_model_file(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(models / "tiny" / "base", folder)
    first = audit.fingerprint(folder)
    (folder / "AUDIT.md").write_text("page")
    assert audit.fingerprint(folder) == first
    for path in (folder / "tokenizer" / "tokenizer.json", next(folder.rglob("*.safetensors"))):
        before = path.read_bytes()
        path.write_bytes(before[:-1] + b"!")
        assert audit.fingerprint(folder) != first
        path.write_bytes(before)


def test_more_pictures_than_there_are_scenes_are_refused(tmp_path: Path) -> None:
    most = len(AUDIT_SEEDS)
    done = run_command("audit", "paperdoll", "--models-dir", tmp_path, "--pictures", most + 1)
    assert done.code == 2 and f"at most {most}" in done.err and "Traceback" not in done.err
    with pytest.raises(ValueError, match=f"at most {most}"):
        audit.run_audit(tmp_path, pictures=most + 1)
    assert not list(tmp_path.iterdir())
