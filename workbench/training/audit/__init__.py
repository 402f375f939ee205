"""The audit of the embedded family: does it obey prompt and control, on scenes none of it saw?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from workbench.paperdoll import STYLES
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

__all__ = ["Figure", "run_audit"]

Log = Callable[[str], None]

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
    """
    import torch

    from workbench.families.loading import ModelShelf

    torch.set_num_threads(threads)
    shelf = ModelShelf("paperdoll", models_dir=models_dir.parent)
    held = render_arrays(AUDIT_SEEDS)
    words = words_of(held["tags"])
    some = {name: rows[:_JUDGED] for name, rows in held.items()}
    figures: list[Figure] = []
    for part in (
        lambda: vae_figures(shelf, held["rgb"]),
        lambda: style_figures(shelf, held),
        lambda: (f for style in STYLES for f in judge_figures(shelf.networks(), some, style)),
        lambda: clip_figures(models_dir, held["rgb"], words),
        lambda: text_figures(shelf, models_dir, held, words, pictures),
        lambda: control_figures(shelf, models_dir, held, words, pictures),
        lambda: [zero_scale_figure(shelf, words)],
    ):
        for figure in part():
            log(figure.row())
            figures.append(figure)
    (models_dir / "AUDIT.md").write_text(_page(figures, pictures), encoding="utf-8")
    return figures


def _page(figures: Sequence[Figure], pictures: int) -> str:
    head = (
        "# Audit of the Paperdoll family\n\n"
        f"Printed by `workbench audit paperdoll --pictures {pictures}`. Scenes 800000 and up: no "
        "stage was trained on them.\nTags are judged by the auditor, a classifier trained apart "
        "from everything else.\nDefault settings: 20 UniPC steps, guidance scale 5.\n\n"
        "| figure | value | target | reached |\n|---|---|---|---|\n"
    )
    return head + "\n".join(figure.row() for figure in figures) + "\n"
