"""Chance and ceiling of every metric; `specs.DEFINITIONS` says what they mean.

Everything is computed when first asked for and cached by content: the weights that read, the
packages, the source, the prompt and the names of the reference pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from workbench.controls import ControlMap, MapKey, network_needs, resolve
from workbench.families.words import WordJudge
from workbench.measuring.across import LOOKS, map_distance
from workbench.measuring.adherence import Reference, unknown
from workbench.measuring.bases import BASES_POSE, pose_map
from workbench.measuring.cache import ReferenceCache
from workbench.measuring.judges import (
    Judges,
    clip_score,
    judge_hashes,
    logit_scale,
    word_judge,
)
from workbench.measuring.per_tag import TagQuestion, tag_scores
from workbench.measuring.pictures import AGAIN, CEILING_SEEDS, ReferencePictures
from workbench.measuring.threads import at_once
from workbench.metrics.spec import Reading
from workbench.prompts import parse_tags
from workbench.study import Cell, SourceImage
from workbench.versions import READINGS, package_versions

Figures = Callable[[], dict[str, Reference]]
PROMPT_KINDS = {"clip": ("clip",), "tag": ("tag", "tag_obeyed"), "word": ("tag", "tag_obeyed")}
NO_POOL = "there are no unrelated pictures: the study has one source"
NO_PICTURE = "the source is a drawn map: there is no picture behind it"
NO_TEXT_ONLY = "the study has no text-only pictures (scale 0) of this prompt"
VERSION = 3


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
        self._images = {s.sha256: s.image for s in sources.values() if not s.is_map}
        self._drawn = {source.sha256 for source in sources.values() if source.is_map}
        self._source_maps = source_maps
        self.cache = cache if cache is not None else ReferenceCache()
        self.pictures = ReferencePictures(sources, judges)
        self._maps: dict[MapKey, ControlMap] = {}
        self._embeddings: dict[str, np.ndarray] = {}
        self._text_only: dict[str, np.ndarray] = {}
        self._text_only_words: dict[tuple[str, str], float] = {}
        self._known: dict[tuple[str, ...], dict[str, Reference]] = {}

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Weights that decide the figures."""
        needs = network_needs((control, text) for _, control, text in self._source_maps)
        return judge_hashes(self._judges, needs)

    @cached_property
    def _packages(self) -> dict[str, str]:
        """Versions of the packages that compute the figures."""
        return package_versions(READINGS)

    def control(self, key: MapKey) -> dict[str, Reference]:
        """Chance and ceiling of each metric of a control, for one source."""
        return self._remembered("control", list(key), key.picture, lambda: self.of_control(key))

    def clip(self, prompt: str, source: str) -> Reference:
        """Chance and ceiling of the CLIP score against a prompt (not empty)."""
        return self._prompt("clip", [prompt], prompt, source)["clip"]

    def tag(self, question: TagQuestion, source: str) -> dict[str, Reference]:
        """Chance and ceiling of `tag` and `tag_obeyed` for one question."""
        judge = word_judge(self._judges)
        if judge is not None and judge.knows(question.tag):
            return self._word(judge, question, source)
        return self._prompt("tag", question.texts, question.prompt, source)

    def clip_source(self, source: str) -> Reference:
        """Chance and ceiling of the CLIP similarity to a source."""
        if source in self._drawn:
            return unknown(NO_PICTURE)
        found = self._remembered("similarity", [source], source, lambda: self._clip_source(source))
        return found["clip_source"]

    def pairwise(self, cell: Cell, metric: str) -> Reference:
        """Chance and ceiling of a difference between pictures: across seeds, or between bases.

        Two pictures that have nothing to do with each other differ by so much (chance), a picture
        and itself pushed once more through the VAE by so little (ceiling). Both sides went through
        it, as samples do. `metric` is one of `across` or `bases` ("diversity_looks", …).
        """
        source, key = cell.source_sha256, cell.map_key
        if metric == BASES_POSE:
            key = MapKey(source, *pose_map())
        by_clip = metric == LOOKS
        if source in self._drawn and (by_clip or key not in self._source_maps):
            return unknown(NO_PICTURE)
        kind, what = ("looks", [source]) if by_clip else ("apart", list(key))
        found = self._remembered(
            kind,
            what,
            source,
            lambda: self._clip_pairwise(source) if by_clip else self._map_pairwise(key),
        )
        return found["apart"]

    def learn_text_only(
        self,
        embeddings: Mapping[str, np.ndarray],
        words: Mapping[tuple[str, str], float] | None = None,
    ) -> None:
        """Give what the study's own text-only pictures show, by prompt.

        Only families without a world of their own need it, for the ceiling of prompt metrics.

        Args:
            embeddings: prompt -> CLIP embeddings (N, D).
            words: (prompt, "tag:long hair") -> mean reading, for families with a judge of words.
        """
        self._text_only = dict(embeddings)
        self._text_only_words = dict(words or {})
        for key in [key for key in self._known if key[0] in PROMPT_KINDS]:
            del self._known[key]

    @property
    def needs_text_only(self) -> bool:
        """Whether ceilings of prompt metrics come from the study's own text-only pictures."""
        return not self.pictures.rendered

    def _remembered(
        self, kind: str, what: Sequence[str], source: str, compute: Figures
    ) -> dict[str, Reference]:
        """Figures from memory or from the cache, else computed and kept in both."""
        pool = () if self.pictures.rendered and kind in PROMPT_KINDS else (source,)
        key = (kind, *what, *pool)
        if key not in self._known:
            keep = kind not in PROMPT_KINDS or not self.needs_text_only
            content = self._content(kind, what, self.pictures.pool_name(source))
            found = self.cache.get(content) if keep else None
            if found is None:
                found = compute()
                if keep:
                    self.cache.put(content, found)
            self._known[key] = found
        return self._known[key]

    def _content(self, kind: str, what: Sequence[str], pool: Sequence[str]) -> dict[str, object]:
        return {
            "version": VERSION,
            "packages": self._packages,
            "kind": kind,
            "what": list(what),
            "pool": list(pool),
            "ceiling_seeds": [CEILING_SEEDS.start, CEILING_SEEDS.stop],
            "weights": self.hashes,
            "size": self._judges.family.resolution,
        }

    def of_control(self, key: MapKey) -> dict[str, Reference]:
        """The same as `control`, computed anew: the cache asks which weights all judges have, and
        loads them to know."""
        source, name, settings_json = key
        control, settings = resolve(name, settings_json)
        wanted = self._source_maps[key]
        ceiling, *chance = at_once(
            lambda got: control.compare(got, wanted, settings),
            self._maps_of([source, *self._pool(key)], name, settings_json),
            pixels=wanted.picture[..., 0].size,
        )
        found = {
            spec.name: _reference(ceiling[spec.name], [c[spec.name] for c in chance])
            for spec in control.metrics
        }
        noise = control.noise(wanted, settings)
        if noise is not None and noise.value > found[control.primary].chance:  # never with NaN
            found[control.primary] = replace(found[control.primary], chance=noise.value)
        return found

    def _map_pairwise(self, key: MapKey) -> dict[str, Reference]:
        source, name, settings_json = key
        again = source if source in self._drawn else AGAIN + source
        names = [source, again, *self._pool(key)]
        own, *others = self._maps_of(names, name, settings_json)
        ceiling, *chance = (map_distance(own, other, name, settings_json) for other in others)
        return {"apart": _reference(ceiling, chance)}

    def _pool(self, key: MapKey) -> list[str]:
        """Names of what is unrelated to a source and has a map of this kind."""
        names = self.pictures.pool_ids(key[0], maps=True)
        return [
            n for n in names if n not in self._drawn or key._replace(picture=n) in self._source_maps
        ]

    def _clip_pairwise(self, source: str) -> dict[str, Reference]:
        names = [source, AGAIN + source, *self.pictures.pool_ids(source)]
        own, *others = self._embed(names).astype(float)
        ceiling, *chance = (Reading(max(0.0, 1.0 - float(own @ other))) for other in others)
        return {"apart": _reference(ceiling, chance)}

    def _clip_source(self, source: str) -> dict[str, Reference]:
        own = self._judges.clip().embed_images([self._images[source]])
        names = [source, *self.pictures.pool_ids(source)]
        ceiling, *chance = (Reading(float(s)) for s in clip_score(self._embed(names), own)[:, 0])
        return {"clip_source": _reference(ceiling, chance)}

    def _prompt(
        self, kind: str, texts: Sequence[str], prompt: str, source: str
    ) -> dict[str, Reference]:
        """Figures that compare pictures with texts, the first text being the one looked for."""

        def compute() -> dict[str, Reference]:
            pool = self.pictures.pool_ids(source)
            examples = self._examples(prompt)
            chance = self._means(kind, self._embed(pool), texts) if pool else {}
            ceiling = self._means(kind, examples, texts) if len(examples) else {}
            return _prompt_references(kind, chance, ceiling)

        return self._remembered(kind, [prompt, *texts], source, compute)

    def _word(self, judge: WordJudge, question: TagQuestion, source: str) -> dict[str, Reference]:
        """Figures of what the family's judge of words reads."""
        word, prompt = question.tag, question.prompt

        def means(pictures: Sequence[np.ndarray]) -> dict[str, float]:
            found = judge.read(pictures, [word])
            both = (found.probability, found.seen)
            names = PROMPT_KINDS["word"]
            return {n: float(part.mean()) for n, part in zip(names, both, strict=True)}

        def compute() -> dict[str, Reference]:
            group = next((g for g in self._judges.family.tag_groups().values() if word in g), ())
            pool = self.pictures.pool_ids(source)
            if self.pictures.rendered and group:  # known without a draw of pictures, so exactly
                chance = dict.fromkeys(PROMPT_KINDS["word"], 1 / len(group))
            else:
                chance = means([self.pictures.picture(name) for name in pool]) if pool else {}
            if self.needs_text_only:
                known = self._text_only_words
                keys = {name: (prompt, f"{name}:{word}") for name in PROMPT_KINDS["word"]}
                ceiling = {name: known[key] for name, key in keys.items() if key in known}
            else:
                ceiling = means(self.pictures.scenes_with(parse_tags(prompt)))
            return _prompt_references("word", chance, ceiling)

        return self._remembered("word", [prompt, word], source, compute)

    def _means(self, kind: str, images: np.ndarray, texts: Sequence[str]) -> dict[str, float]:
        clip = self._judges.clip()
        text_embeds = clip.embed_texts(list(texts))
        if kind == "clip":
            return {"clip": float(clip_score(images, text_embeds)[:, 0].mean())}
        scores, obeyed = tag_scores(images, text_embeds, logit_scale(clip))
        return {"tag": float(scores.mean()), "tag_obeyed": float(obeyed.mean())}

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
        for new in _batches(name for name in names if name not in self._embeddings):
            pictures = [self.pictures.picture(name) for name in new]
            embeds = self._judges.clip().embed_images(pictures)
            self._embeddings.update(zip(new, embeds, strict=True))
        return np.stack([self._embeddings[name] for name in names])

    def _maps_of(self, names: Sequence[str], control: str, settings_json: str) -> list[ControlMap]:
        """Control maps of round-tripped pictures by name; drawn maps as they are."""
        extractor, settings = resolve(control, settings_json)
        keys = {name: MapKey(name, control, settings_json) for name in names}
        self._maps |= {k: self._source_maps[k] for name, k in keys.items() if name in self._drawn}
        for new in _batches(name for name, key in keys.items() if key not in self._maps):
            pictures = [self.pictures.picture(name) for name in new]
            maps = extractor.extract(pictures, settings, self._judges.networks())
            self._maps.update(zip((keys[name] for name in new), maps, strict=True))
        return [self._maps[keys[name]] for name in names]


def _prompt_references(
    kind: str, chance: Mapping[str, float], ceiling: Mapping[str, float]
) -> dict[str, Reference]:
    """Chance and ceiling of each metric of a kind; empty ones are unknown, for one reason."""
    reason = NO_POOL if not chance else "" if ceiling else NO_TEXT_ONLY
    return {
        name: Reference(chance.get(name, math.nan), ceiling.get(name, math.nan), reason)
        for name in PROMPT_KINDS[kind]
    }


def _batches(names: Iterable[str]) -> list[list[str]]:
    """Rendered scenes together, every other picture by itself.

    A network's figures depend on the size of a batch, by a rounding: so they are the same whatever
    was asked for before.
    """
    names = list(names)
    scenes = [name for name in names if name.startswith("paperdoll:")]
    return [*([scenes] if scenes else []), *([name] for name in names if name not in scenes)]


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
