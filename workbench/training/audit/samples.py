"""Trials of the audit and their samples, by the workbench's own sampler."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workbench.controls import ControlMap, MapKey
from workbench.paperdoll import TAG_GROUPS
from workbench.training.auditor import load_auditor

if TYPE_CHECKING:
    from workbench.families.manager import ModelManager
    from workbench.study import SourceImage, Trial


def audited(models_dir: Path, images: np.ndarray, tags: np.ndarray) -> dict[str, float]:
    seen = load_auditor(models_dir / "auditor").read(images)
    right = (seen == tags).mean(0)
    return dict(zip(TAG_GROUPS, (float(x) for x in right), strict=True))


def make_sources(rgb: np.ndarray) -> list[SourceImage]:
    from workbench.images import sha256_image
    from workbench.study import SourceImage

    return [SourceImage(f"audit:{i}", sha256_image(image), image) for i, image in enumerate(rgb)]


def make_trial(
    manager: ModelManager,
    prompt: str,
    seed: int,
    control: str | None = None,
    key: MapKey | None = None,
) -> Trial:
    from workbench.study import Trial

    defaults = manager.family.defaults
    return Trial(
        family=manager.family.name,
        base=manager.base,
        control=control,
        control_settings=key[2] if key else "",
        source_sha256=key[0] if key else None,
        prompt=prompt,
        negative_prompt=defaults.negative_prompt,
        seed=seed,
        steps=defaults.steps,
        guidance_scale=defaults.guidance_scale,
        scheduler=defaults.scheduler,
        scale=1.0 if control else 0.0,
        control_start=0.0,
        control_end=1.0,
        size=manager.family.resolution,
    )


def make_images(
    trials: Sequence[Trial], maps: dict[MapKey, ControlMap], manager: ModelManager
) -> np.ndarray:
    """The samples of trials in their order, uint8 (N, H, W, 3)."""
    from workbench.generation import generate

    batches = generate(trials, maps, manager, batch_size=32)
    made = {result.trial.id: result.image for batch in batches for result in batch}
    missing = [t.id for t in trials if made.get(t.id) is None]
    if missing:
        raise RuntimeError(f"{len(missing)} samples of the audit failed, first {missing[0]}")
    return np.stack([np.asarray(made[t.id]) for t in trials])
