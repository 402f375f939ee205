"""The audit of the ControlNets: each control type on each base checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workbench.controls import ControlMap, MapKey, get_control, resolve
from workbench.paperdoll import SILHOUETTE_GROUPS
from workbench.training.audit.figures import Figure
from workbench.training.audit.samples import audited, make_images, make_sources, make_trial
from workbench.training.captions import caption

if TYPE_CHECKING:
    from workbench.families.manager import ModelManager
    from workbench.measuring.references import References

TARGETS = {"depth": 0.80}
"""Least adherence at scale 1 under the source's own prompt; 0.75 for every other control.

They hold for the base model that the ControlNets were trained with. On the others they are measured
only: where these draw lines around everything, edges cannot lie as in a picture without lines."""


def control_figures(
    manager: ModelManager,
    models_dir: Path,
    held: dict[str, np.ndarray],
    words: list[tuple[str, ...]],
    pictures: int,
) -> Iterator[Figure]:
    """Each control type on each base checkpoint, its figures as soon as they are known.

    Chance and ceiling are those of the default base checkpoint, as they are in a study.
    """
    from workbench.measuring.references import References

    sources = make_sources(held["rgb"][:pictures])
    lookup: dict[MapKey, ControlMap] = {}
    references = References({s.label: s for s in sources}, lookup, manager)
    neighbours = [(i + 1) % len(words) for i in range(pictures)]
    own, other = held["tags"][:pictures], held["tags"][neighbours]
    for control in manager.family.controls:
        kind = get_control(control)
        settings = kind.settings(manager.family.settings_for(control))
        maps = kind.extract([s.image for s in sources], settings, manager.networks())
        keys = [MapKey(s.sha256, control, settings.map_canonical()) for s in sources]
        lookup.update(zip(keys, maps, strict=True))
        least = TARGETS.get(control, 0.75)
        for base in manager.family.base:
            drawn = manager.for_base(base)
            own_base = base == manager.family.default_base
            for label, prompts, tags, bound in (
                ("the source's own prompt", words, own, least if own_base else None),
                ("another scene's prompt", [words[i] for i in neighbours], other, None),
                ("empty prompt", [()] * pictures, None, None),
            ):
                trials = [
                    make_trial(drawn, caption(prompts[i]), i, control, keys[i])
                    for i in range(pictures)
                ]
                images = make_images(trials, lookup, drawn)
                found = _adherence(references, lookup, keys, images, manager)
                where = f"{control}, {base}, scale 1, {label}"
                spec = kind.metric(kind.primary)
                yield Figure(f"{where}: adherence of {spec.label}", found, least=bound)
                if tags is not None:
                    yield from _tag_figures(where, audited(models_dir, images, tags), bound)


def _tag_figures(where: str, shares: dict[str, float], bound: float | None) -> list[Figure]:
    """Tags judged right in controlled pictures, those apart that no outline decides."""
    free = [share for group, share in shares.items() if group not in SILHOUETTE_GROUPS]
    bent = [share for group, share in shares.items() if group in SILHOUETTE_GROUPS]
    return [
        Figure(
            f"{where}: tags that do not touch the silhouette",
            float(np.mean(free)),
            least=None if bound is None else 0.80,
        ),
        Figure(f"{where}: tags that touch the silhouette", float(np.mean(bent))),
    ]


def _adherence(
    references: References,
    lookup: dict[MapKey, ControlMap],
    keys: Sequence[MapKey],
    images: np.ndarray,
    manager: ModelManager,
) -> float:
    """Mean over sources of (value - chance) / (ceiling - chance) of the primary metric."""
    kind, settings = resolve(keys[0].control, keys[0].settings)
    got = kind.extract(list(images), settings, manager.networks())
    shares = []
    for key, found in zip(keys, got, strict=True):
        value = kind.compare(found, lookup[key], settings)[kind.primary].value
        reference = references.control(key)[kind.primary]
        shares.append((value - reference.chance) / (reference.ceiling - reference.chance))
    return float(np.nanmean(shares))
