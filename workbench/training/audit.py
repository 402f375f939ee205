"""The audit of the embedded family: does it obey prompt and control, on scenes none of it saw?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workbench.controls import ControlMap, get_control
from workbench.paperdoll import SILHOUETTE_GROUPS, TAG_GROUPS, draw_in
from workbench.training.captions import caption
from workbench.training.data import AUDIT_SEEDS, render_arrays, words_of

if TYPE_CHECKING:
    from workbench.families.loading import ModelShelf
    from workbench.study import SourceImage, Trial

Log = Callable[[str], None]

TARGETS = {"depth": 0.80, "canny": 0.70}
"""Least adherence at scale 1 under the source's own prompt; 0.75 for every other control."""


@dataclass(frozen=True)
class Figure:
    """One line of the audit: what was measured, and the least it should be (None: no target)."""

    name: str
    value: float
    least: float | None = None
    most: float | None = None
    unit: str = ""

    @property
    def reached(self) -> bool:
        """Whether the figure is as good as asked; a figure without a target always is."""
        low = self.least is None or self.value >= self.least
        return low and (self.most is None or self.value <= self.most)

    def row(self) -> str:
        """The figure as a row of a Markdown table."""
        bound = f"≥ {self.least:g}" if self.least is not None else ""
        bound = f"≤ {self.most:g}" if self.most is not None else bound
        verdict = "" if not bound else ("yes" if self.reached else "**no**")
        bound += self.unit if bound else ""
        return f"| {self.name} | {self.value:.3f}{self.unit} | {bound} | {verdict} |"


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
    figures: list[Figure] = []
    for part in (
        lambda: _vae_figures(shelf, held["rgb"]),
        lambda: _style_figures(shelf, held),
        lambda: _clip_figures(models_dir, held["rgb"], words),
        lambda: _text_figures(shelf, models_dir, held, words, pictures),
        lambda: _control_figures(shelf, models_dir, held, words, pictures),
        lambda: [_zero_scale_figure(shelf, words)],
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


def _vae_figures(shelf: ModelShelf, rgb: np.ndarray) -> list[Figure]:
    from workbench.training.vae import psnr

    back = np.stack(shelf.vae_roundtrip(list(rgb)))
    name = f"VAE reconstruction PSNR, {len(rgb)} scenes"
    return [Figure(name, psnr(rgb, back), least=27.0, unit=" dB")]


def _style_figures(shelf: ModelShelf, held: dict[str, np.ndarray]) -> list[Figure]:
    """What the autoencoders of the other styles give back of pictures in their style."""
    from workbench.training.vae import psnr

    figures = []
    for style in list(shelf.family.base)[1:]:
        truth = (held[name] for name in ("rgb", "depth", "normal", "segmentation"))
        drawn = draw_in(style, *truth)
        back = np.stack(shelf.for_base(style).vae_roundtrip(list(drawn)))
        name = f"VAE reconstruction PSNR of the {style} checkpoint, {len(drawn)} scenes"
        figures.append(Figure(name, psnr(drawn, back), unit=" dB"))
    return figures


def _clip_figures(models_dir: Path, rgb: np.ndarray, words: list[tuple[str, ...]]) -> list[Figure]:
    from workbench.training.clip import tag_accuracy
    from workbench.training.export import load_clip

    model, tokenizer = load_clip(models_dir)
    found = tag_accuracy(model.eval(), tokenizer, rgb, words)
    return _by_group("CLIP tells the right tag, rendered pictures", found, 0.95, 0.80)


def _by_group(
    name: str, shares: dict[str, float], mean: float | None, worst: float | None
) -> list[Figure]:
    rows = [Figure(f"{name}: {group}", share) for group, share in shares.items()]
    values = list(shares.values())
    rows.append(Figure(f"{name}: mean over groups", float(np.mean(values)), least=mean))
    rows.append(Figure(f"{name}: worst group", min(values), least=worst))
    return rows


def _audited(models_dir: Path, images: np.ndarray, tags: np.ndarray) -> dict[str, float]:
    from workbench.training.auditor import load_auditor

    seen = load_auditor(models_dir / "auditor").read(images)
    right = (seen == tags).mean(0)
    return dict(zip(TAG_GROUPS, (float(x) for x in right), strict=True))


def _text_figures(
    shelf: ModelShelf,
    models_dir: Path,
    held: dict[str, np.ndarray],
    words: list[tuple[str, ...]],
    pictures: int,
) -> list[Figure]:
    known = _audited(models_dir, held["rgb"], held["tags"])
    rows = _by_group("auditor, rendered pictures", known, None, None)[-2:]
    for base in shelf.family.base:
        drawn = shelf.for_base(base)
        trials = [_trial(drawn, caption(words[i]), i) for i in range(pictures)]
        images = _images(trials, {}, drawn)
        found = _audited(models_dir, images, held["tags"][:pictures])
        rows += _by_group(f"text only, {base}, tags judged right", found, 0.88, 0.70)
    return rows


def _control_figures(
    shelf: ModelShelf,
    models_dir: Path,
    held: dict[str, np.ndarray],
    words: list[tuple[str, ...]],
    pictures: int,
) -> Iterator[Figure]:
    """Each control type on each base checkpoint, its figures as soon as they are known."""
    sources = _sources(held["rgb"][:pictures])
    own, other = held["tags"][:pictures], held["tags"][1:][:pictures]
    for control in shelf.family.controlnets:
        kind = get_control(control)
        settings = kind.settings_type()
        maps = kind.extract([s.image for s in sources], settings, shelf.networks())
        keys = [(s.sha256, control, settings.map_canonical()) for s in sources]
        lookup = dict(zip(keys, maps, strict=True))
        least = TARGETS.get(control, 0.75)
        for base in shelf.family.base:
            drawn = shelf.for_base(base)
            for label, prompts, tags, bound in (
                ("the source's own prompt", words, own, least),
                ("another scene's prompt", words[1 : pictures + 1], other, None),
                ("empty prompt", [()] * pictures, None, None),
            ):
                trials = [
                    _trial(drawn, caption(prompts[i]), i, control, keys[i]) for i in range(pictures)
                ]
                images = _images(trials, lookup, drawn)
                found = _adherence(drawn, sources, lookup, keys, images)
                where = f"{control}, {base}, scale 1, {label}"
                spec = kind.metric(kind.primary)
                yield Figure(f"{where}: adherence of {spec.label}", found, least=bound)
                if tags is not None:
                    yield from _tag_figures(where, _audited(models_dir, images, tags), bound)


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
    shelf: ModelShelf,
    sources: Sequence[SourceImage],
    lookup: dict[tuple[str, str, str], ControlMap],
    keys: Sequence[tuple[str, str, str]],
    images: np.ndarray,
) -> float:
    """Mean over sources of (value - chance) / (ceiling - chance) of the primary metric."""
    from workbench.measuring.references import References

    kind = get_control(keys[0][1])
    settings = kind.settings_type.model_validate_json(keys[0][2])
    references = References({s.label: s for s in sources}, lookup, shelf)
    got = kind.extract(list(images), settings, shelf.networks())
    shares = []
    for key, found in zip(keys, got, strict=True):
        value = kind.compare(lookup[key], found, settings)[kind.primary].value
        reference = references.control(key)[kind.primary]
        shares.append((value - reference.chance) / (reference.ceiling - reference.chance))
    return float(np.nanmean(shares))


def _zero_scale_figure(shelf: ModelShelf, words: list[tuple[str, ...]]) -> Figure:
    """Stock pipelines with and without a ControlNet, at scale 0, same prompts and seeds."""
    import torch
    from PIL import Image

    control = next(iter(shelf.family.controlnets))
    prompts = [caption(w) for w in words[:4]]
    common = {"num_inference_steps": 20, "guidance_scale": 5.0, "output_type": "np"}

    def seeds() -> list[torch.Generator]:
        return [torch.Generator("cpu").manual_seed(i) for i in range(len(prompts))]

    with torch.inference_mode():
        plain = shelf.pipeline(None)(prompts, generator=seeds(), **common).images
        blank = Image.new("RGB", (shelf.family.resolution,) * 2, "white")
        steered = shelf.pipeline(control)(
            prompts,
            image=[blank] * len(prompts),
            controlnet_conditioning_scale=0.0,
            generator=seeds(),
            **common,
        ).images
    difference = float(np.abs(plain - steered).max())
    return Figure("scale 0 against no ControlNet: largest pixel difference", difference, most=0.0)


def _sources(rgb: np.ndarray) -> list[SourceImage]:
    from workbench.images import sha256_image
    from workbench.study import SourceImage

    return [SourceImage(f"audit:{i}", sha256_image(image), image) for i, image in enumerate(rgb)]


def _trial(
    shelf: ModelShelf,
    prompt: str,
    seed: int,
    control: str | None = None,
    key: tuple[str, str, str] | None = None,
) -> Trial:
    from workbench.study import Trial

    defaults = shelf.family.defaults
    return Trial(
        family=shelf.family.name,
        base=shelf.base,
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
        size=shelf.family.resolution,
    )


def _images(
    trials: Sequence[Trial], maps: dict[tuple[str, str, str], ControlMap], shelf: ModelShelf
) -> np.ndarray:
    """The samples of trials in their order, uint8 (N, H, W, 3)."""
    from workbench.generation import generate

    made = {r.trial.id: r.image for r in generate(trials, maps, shelf, batch_size=32)}
    missing = [t.id for t in trials if made.get(t.id) is None]
    if missing:
        raise RuntimeError(f"{len(missing)} samples of the audit failed, first {missing[0]}")
    return np.stack([np.asarray(made[t.id]) for t in trials])
