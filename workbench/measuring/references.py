"""Chance and ceiling of every metric; `specs.DEFINITIONS` says what they mean.

Everything is computed when first asked for and cached by content: the weights that read, the
source, the prompt and the names of the reference pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np

from workbench.controls import ControlMap, get_control
from workbench.measuring.adherence import Reference
from workbench.measuring.cache import ReferenceCache
from workbench.measuring.judges import Judges, clip_score, judge_hashes, logit_scale
from workbench.measuring.per_tag import TagQuestion, tag_scores
from workbench.measuring.pictures import CEILING_SEEDS, ReferencePictures
from workbench.metrics.spec import Reading
from workbench.prompts import parse_tags
from workbench.study import SourceImage

MapKey = tuple[str, str, str]
MeanScore = Callable[[np.ndarray, np.ndarray], float]
NO_POOL = "there are no unrelated pictures: the study has one source"
NO_TEXT_ONLY = "the study has no text-only pictures (scale 0) of this prompt"
VERSION = 1


class References:
    """Chance and ceiling for the sources and prompts of one study.

    `source_maps` maps (source hash, control, settings as JSON) to the source's own control map.
    """

    def __init__(
        self,
        sources: Mapping[str, SourceImage],
        source_maps: Mapping[MapKey, ControlMap],
        judges: Judges,
        cache: ReferenceCache | None = None,
    ) -> None:
        self._judges = judges
        self._images = {source.sha256: source.image for source in sources.values()}
        self._source_maps = source_maps
        self.cache = cache if cache is not None else ReferenceCache()
        self.pictures = ReferencePictures(sources, judges)
        self._maps: dict[tuple[str, str, str], ControlMap] = {}
        self._embeddings: dict[str, np.ndarray] = {}
        self._text_only: dict[str, np.ndarray] = {}
        self._known: dict[str, Reference] = {}

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Weights that decide the figures."""
        controls = {control for _, control, _ in self._source_maps}
        needs = sorted({need for name in controls for need in get_control(name).needs})
        return judge_hashes(self._judges, needs)

    def control(self, key: MapKey) -> dict[str, Reference]:
        """Chance and ceiling of each metric of a control, for one source."""
        source, name, settings_json = key
        control = get_control(name)
        settings = control.settings_type.model_validate_json(settings_json)
        pool = self.pictures.pool_ids(source)
        content = self._content("control", [*key], self.pictures.pool_name(source))
        known = self.cache.get(content)
        if known is not None:
            return known
        wanted = self._source_maps[key]
        maps = self._maps_of([source, *pool], name, settings_json)
        ceiling = control.compare(wanted, maps[0], settings)
        chance = [control.compare(wanted, got, settings) for got in maps[1:]]
        found = {
            spec.name: _reference(ceiling[spec.name], [c[spec.name] for c in chance])
            for spec in control.metrics
        }
        self.cache.put(content, found)
        return found

    def clip(self, prompt: str, source: str) -> Reference:
        """Chance and ceiling of the CLIP score against a prompt (not empty)."""
        return self._prompt("clip", [prompt], prompt, source, self._clip_mean)

    def tag(self, question: TagQuestion, source: str) -> dict[str, Reference]:
        """Chance and ceiling of `tag` and `tag_obeyed` for one question."""
        names = {"tag": self._tag_mean, "tag_obeyed": self._obeyed_mean}
        return {
            name: self._prompt(name, list(question.texts), question.prompt, source, mean)
            for name, mean in names.items()
        }

    def similarity(self, source: str) -> Reference:
        """Chance and ceiling of the CLIP similarity to a source."""
        pool = self.pictures.pool_ids(source)
        content = self._content("similarity", [source], self.pictures.pool_name(source))
        known = self.cache.get(content)
        if known is not None:
            return known["clip_source"]
        own = self._judges.clip().embed_images([self._images[source]])
        scores = clip_score(self._embed([source, *pool]), own)[:, 0]
        ceiling = Reading(float(scores[0]))
        found = _reference(ceiling, [Reading(float(s)) for s in scores[1:]])
        self.cache.put(content, {"clip_source": found})
        return found

    def learn_text_only(self, embeddings: Mapping[str, np.ndarray]) -> None:
        """Give the CLIP embeddings (N, D) of the study's own text-only pictures by prompt.

        Only families without a world of their own need them, for the ceiling of prompt metrics.
        """
        self._text_only = dict(embeddings)
        self._known.clear()

    @property
    def needs_text_only(self) -> bool:
        """Whether ceilings of prompt metrics come from the study's own text-only pictures."""
        return not self.pictures.rendered

    def _content(self, kind: str, what: list[str], pool: Iterable[str]) -> dict[str, object]:
        seeds = [CEILING_SEEDS.start, CEILING_SEEDS.stop]
        return {
            "version": VERSION,
            "kind": kind,
            "what": what,
            "pool": list(pool),
            "ceiling_seeds": seeds,
            "weights": self.hashes,
            "size": self._judges.family.resolution,
        }

    def _prompt(
        self, kind: str, texts: list[str], prompt: str, source: str, mean: MeanScore
    ) -> Reference:
        """Reference of a figure that compares pictures with texts; `mean` reads (N, D), (T, D)."""
        pool = self.pictures.pool_ids(source)
        content = self._content(kind, [prompt, *texts], self.pictures.pool_name(source))
        short = "\n".join([kind, prompt, *texts, *pool[:1], str(len(pool))])
        if self.needs_text_only:
            short += source
        elif (cached := self.cache.get(content)) is not None:
            return cached[kind]
        if short in self._known:
            return self._known[short]
        text_embeds = self._judges.clip().embed_texts(texts)
        chance = mean(self._embed(pool), text_embeds) if pool else math.nan
        examples = self._examples(prompt)
        ceiling = mean(examples, text_embeds) if len(examples) else math.nan
        reason = NO_POOL if not pool else "" if len(examples) else NO_TEXT_ONLY
        found = Reference(chance, ceiling, reason)
        self._known[short] = found
        if not self.needs_text_only:
            self.cache.put(content, {kind: found})
        return found

    def _examples(self, prompt: str) -> np.ndarray:
        """Embeddings of pictures that have what the prompt says, (N, D)."""
        if self.needs_text_only:
            return self._text_only.get(prompt, np.zeros((0, 1)))
        key = f"scenes with {prompt}"
        if key not in self._embeddings:
            scenes = self.pictures.scenes_with(parse_tags(prompt))
            self._embeddings[key] = self._judges.clip().embed_images(scenes)
        return self._embeddings[key]

    def _embed(self, names: Sequence[str]) -> np.ndarray:
        """Embeddings of round-tripped pictures by name, (N, D)."""
        new = [name for name in names if name not in self._embeddings]
        if new:
            pictures = [self.pictures.picture(name) for name in new]
            embeds = self._judges.clip().embed_images(pictures)
            self._embeddings.update(zip(new, embeds, strict=True))
        return np.stack([self._embeddings[name] for name in names])

    def _maps_of(self, names: Sequence[str], control: str, settings_json: str) -> list[ControlMap]:
        """Control maps of round-tripped pictures by name."""
        new = [n for n in dict.fromkeys(names) if (n, control, settings_json) not in self._maps]
        if new:
            extractor = get_control(control)
            settings = extractor.settings_type.model_validate_json(settings_json)
            pictures = [self.pictures.picture(name) for name in new]
            maps = extractor.extract(pictures, settings, self._judges.networks())
            keys = [(name, control, settings_json) for name in new]
            self._maps.update(zip(keys, maps, strict=True))
        return [self._maps[name, control, settings_json] for name in names]

    def _clip_mean(self, images: np.ndarray, texts: np.ndarray) -> float:
        return float(clip_score(images, texts)[:, 0].mean())

    def _tag_mean(self, images: np.ndarray, texts: np.ndarray) -> float:
        return float(tag_scores(images, texts, logit_scale(self._judges.clip()))[0].mean())

    def _obeyed_mean(self, images: np.ndarray, texts: np.ndarray) -> float:
        return float(tag_scores(images, texts, logit_scale(self._judges.clip()))[1].mean())


def _reference(ceiling: Reading, chance: Sequence[Reading]) -> Reference:
    """Chance is the mean of the readings that have a value."""
    values = [reading.value for reading in chance if not reading.is_nan]
    if ceiling.is_nan:
        reason = ceiling.reason
    elif not chance:
        reason = NO_POOL
    elif not values:
        reason = f"no unrelated picture could be compared: {chance[0].reason}"
    else:
        reason = ""
    mean = float(np.mean(values)) if values else math.nan
    return Reference(mean, ceiling.value, reason)
