"""The audit of the embedded family: does it obey prompt and control, on scenes none of it saw?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from workbench.atomic import write_atomic
from workbench.families import Family, FamilyDefaults, LocateError, ModelRef, get_family
from workbench.families.determinism import processor_threads
from workbench.paperdoll import STYLES
from workbench.paths import data_dir
from workbench.training.audit.conflicts import CONFLICTS, conflict_figures
from workbench.training.audit.controls import control_figures
from workbench.training.audit.figures import Figure
from workbench.training.audit.judging import judge_figures
from workbench.training.audit.models import (
    clip_figures,
    style_figures,
    text_figures,
    vae_figures,
    zero_scale_figure,
)
from workbench.training.data import AUDIT_SEEDS, render_arrays, words_of

if TYPE_CHECKING:
    from workbench.families.manager import ModelManager
    from workbench.families.words import WordJudge

__all__ = ["Figure", "run_audit"]

Log = Callable[[str], None]
R = TypeVar("R", bound=ModelRef)

UNFINISHED = "\nThis audit is not complete: it is still running, or it was interrupted.\n"
_JUDGED = 128
"""Scenes on which the judge's maps are held against the renderer's truth."""


def run_audit(
    models_dir: Path, *, pictures: int = 128, threads: int = 2, log: Log = print
) -> list[Figure]:
    """Measure the family in ``models_dir`` and write its ``AUDIT.md``.

    Args:
        models_dir: folder of the embedded family (holds ``base``, ``clip``, ``judge``, …).
        pictures: generated pictures for each figure about samples.
        threads: processor threads.
        log: takes each line as it is known.

    The page is written after each figure, and says that it is not complete until it is.

    Raises:
        ValueError: more pictures than there are scenes. LocateError: the folder lacks a model.
    """
    if pictures > len(AUDIT_SEEDS):
        raise ValueError(
            f"an audit of {pictures} pictures cannot be made: there are {len(AUDIT_SEEDS)} scenes "
            f"that no stage was trained on; take at most {len(AUDIT_SEEDS)}"
        )
    from workbench.families.manager import ModelManager

    audited = fingerprint(models_dir)
    manager = ModelManager(family_in(models_dir), models_dir=models_dir.resolve().parent)
    held = render_arrays(AUDIT_SEEDS)
    words = words_of(held["tags"])
    some = {name: rows[:_JUDGED] for name, rows in held.items()}
    figures: list[Figure] = []

    def page() -> str:
        return _page(figures, pictures, manager.family.defaults, audited)

    parts: tuple[Callable[[], Iterable[Figure]], ...] = (
        lambda: vae_figures(manager, held["rgb"]),
        lambda: style_figures(manager, held),
        lambda: (f for style in STYLES for f in judge_figures(manager.networks(), some, style)),
        lambda: clip_figures(models_dir, held, words),
        lambda: conflict_figures(data_dir() / CONFLICTS, _word_judges(manager)),
        lambda: text_figures(manager, models_dir, held, words, pictures),
        lambda: control_figures(manager, models_dir, held, words, pictures),
        lambda: [zero_scale_figure(manager, words)],
    )
    with processor_threads(threads):
        for figure in chain.from_iterable(part() for part in parts):
            log(figure.row())
            figures.append(figure)
            _write(models_dir, page() + UNFINISHED)
    _write(models_dir, page())
    return figures


def family_in(folder: Path) -> Family:
    """The embedded family with its models in that very folder, whatever it is called.

    LocateError if there is no such folder.
    """
    name = folder.resolve().name
    if not folder.is_dir():
        raise LocateError(f"there is no folder {folder}: name one that holds the family's models")

    def moved(ref: R) -> R:
        return ref.model_copy(update={"path": "/".join([name, *Path(ref.path).parts[1:]])})

    own = get_family("paperdoll")
    parts = {
        part: {key: moved(ref) for key, ref in getattr(own, part).items()}
        for part in ("base", "controlnets", "networks")
    }
    return own.model_copy(update={**parts, "clip": moved(own.clip)})


def fingerprint(folder: Path) -> str:
    """16 digits that tell the model files in a folder from others: names and contents."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".json"))
    digest = hashlib.sha256()
    for path in files:
        if "curves" not in path.parts:  # logs of training
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(folder).as_posix()}\0{found}\n".encode())
    return digest.hexdigest()[:16]


def _word_judges(manager: ModelManager) -> list[tuple[str, WordJudge, bool]]:
    """The family's judge of words, which has targets, and CLIP beside it."""
    from workbench.families.words import ClipWords

    by_clip = ClipWords(manager.clip(), manager.family.alternatives({}))
    return [("judge of words", manager.words(), True), ("CLIP, words alone", by_clip, False)]


def _write(models_dir: Path, page: str) -> None:
    write_atomic(models_dir / "AUDIT.md", page.encode("utf-8"))


def _page(figures: Sequence[Figure], pictures: int, defaults: FamilyDefaults, audited: str) -> str:
    head = (
        "# Audit of the Paperdoll family\n\n"
        f"Printed by `workbench audit paperdoll --pictures {pictures}`. Scenes 800000 and up: no "
        "stage was trained on them.\nTags are judged by the auditor, a classifier trained apart "
        f"from everything else.\nDefault settings: {defaults.steps} steps of {defaults.scheduler}, "
        f"guidance scale {defaults.guidance_scale:g}.\n\n"
        "| figure | value | target | reached |\n|---|---|---|---|\n"
        f"| model files, SHA-256 | {audited} | | |\n"
    )
    return head + "\n".join(figure.row() for figure in figures) + "\n"
