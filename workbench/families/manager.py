"""Loading a family's models once and sharing them between everything that uses them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from cachetools import LRUCache
from torch import nn

from workbench.dtypes import DTYPE_BYTES
from workbench.families.allowed import class_problem
from workbench.families.catalogue import Family, FamilyError, get_family
from workbench.families.check import base_problem, controlnet_problem
from workbench.families.files import components, is_setting
from workbench.families.hub import fetch, fetch_checker
from workbench.families.loaders import WORDS, Network
from workbench.families.locate import LocateError, Place, fingerprints, locate
from workbench.families.quiet import quiet_libraries
from workbench.families.refs import ModelRef, NetworkRef
from workbench.families.runtime import Runtime, apply_runtime, decode, encode, prepare
from workbench.versions import require_docstrings

if TYPE_CHECKING:
    from workbench.families.clip_judge import ClipJudge
    from workbench.families.safety import SafetyChecker
    from workbench.families.words import WordJudge
    from workbench.metrics.clip import TokenCount

PROMPT_BYTES = 256_000_000
HINT_BYTES = 64_000_000
"""Of one ControlNet. Entries are on the device: one takes 0.1 MB in the embedded family, 10 in SDXL
and an embedded prompt 3 in SD3.5."""
_VAE_BATCH = 16
_VAE_PIXELS = 4 * 512 * 512
# Parts nobody asked for: filters, and encoders of reference pictures. A watermark changes pixels.
_LEFT_OUT: dict[str, Any] = {
    "safety_checker": None,
    "requires_safety_checker": False,
    "feature_extractor": None,
    "image_encoder": None,
    "add_watermarker": False,
}


class TensorCache(LRUCache[Any, Any]):
    """Keeps the tensors, or tuples of tensors, that were used last and fit in `maxsize` bytes.

    One that is too large alone is not kept. For one thread.
    """

    def __init__(self, maxsize: int) -> None:
        super().__init__(maxsize, getsizeof=_bytes)

    def __setitem__(self, key: Any, value: Any) -> None:
        if _bytes(value) <= self.maxsize:
            super().__setitem__(key, value)
        else:
            self.pop(key, None)


class _Shared:
    """What managers of one family share although their base models differ."""

    def __init__(self) -> None:
        self.nets: dict[tuple[str, ...], Any] = {}
        self.controlnets: set[str] = set()
        self.hints: dict[str, TensorCache] = {}
        self.clip: ClipJudge | None = None
        self.networks: dict[NetworkRef, Mapping[str, Network]] = {}
        self.managers: dict[str, ModelManager] = {}


class ModelManager:
    """All models of one family and one base model, loaded when first asked for and then kept.

    Pipelines share their networks; managers made by `for_base` also share the weights of
    ControlNets, and judges.
    The judges always compute in float32. Embeddings which depend on nothing but weights and input
    are kept here too (`prompt_cache`, `hint_cache`, `latent_cache`), so that they live as long as
    the weights do. Pipelines are not safe for threads: use a manager from one thread only.
    """

    def __init__(
        self,
        family: Family | str = "paperdoll",
        base: str | None = None,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        models_dir: str | Path | None = None,
        runtime: Runtime | None = None,
        checks_safety: bool = False,
    ) -> None:
        require_docstrings()
        self.family = get_family(family) if isinstance(family, str) else family
        self.base = self.family.default_base if base is None else base
        self.device = device
        self.dtype = dtype
        self.models_dir = models_dir
        self._base_ref = self.family.base_ref(self.base)
        if dtype not in DTYPE_BYTES:
            raise FamilyError(f'there is no dtype "{dtype}"; there is: {", ".join(DTYPE_BYTES)}')
        self.prompt_cache = TensorCache(PROMPT_BYTES)
        self.latent_cache = TensorCache(HINT_BYTES)
        self._shared = _Shared()
        self._shared.managers[self.base] = self
        self._pipelines: dict[tuple[str, ...], Any] = {}
        self._controlnets: dict[str, Any] = {}
        self._lent: set[str] = set()
        self.runtime = runtime or Runtime()
        self.runtime.check(device)
        self.in_force: dict[tuple[str, ...], dict[str, Any]] = {}
        self.checks_safety = checks_safety
        self._safety: SafetyChecker | None = None

    def for_base(self, base: str) -> ModelManager:
        """The manager of another base model, with the same ControlNets and judges."""
        if base not in self._shared.managers:
            other = ModelManager(
                self.family,
                base,
                device=self.device,
                dtype=self.dtype,
                models_dir=self.models_dir,
                runtime=self.runtime,
                checks_safety=self.checks_safety,
            )
            other._shared = self._shared
            self._shared.managers[base] = other
        return self._shared.managers[base]

    def pipeline(self, control: str | None = None, *more: str) -> Any:
        """The stock diffusers pipeline of the family's architecture: without ControlNet for None,
        else with the ControlNet of that name, or with several of them, which are added up.

        Names are those of `Family.controlnets`: control types, or a type and its method
        ("lineart.anime"). Raises FamilyError if the family has no such ControlNet or cannot run
        two together, LocateError if a model is missing or cannot be loaded.
        """
        controls = () if control is None else (control, *more)
        if controls not in self._pipelines:
            made = self._with_controls(controls) if controls else self._load_base()
            made.set_progress_bar_config(disable=True)
            self.in_force[controls] = apply_runtime(made, self.runtime, self.device)
            self._pipelines[controls] = made
        return self._pipelines[controls]

    def controlnet(self, control: str) -> Any:
        """The ControlNet of that name, as this base model's own.

        Equal weights are loaded once, whatever control types they serve and whatever base models
        they steer. What a pipeline writes into its ControlNet stays with this base and this name:
        that of Stable Diffusion 3.5 gives it the positions of its own transformer.
        """
        if control not in self._controlnets:
            ref, parts = self.family.controlnet_ref(control), self.family.parts_of
            kind = parts.controlnet if ref.union_mode is None else parts.union_controlnet
            place = self._fetched(ref)
            key = (place.name, *map(str, place.keywords.items()), kind)
            if key not in self._shared.nets:
                with quiet_libraries():
                    import diffusers

                    net = _from_pretrained(getattr(diffusers, kind), place, self.dtype)
                self._shared.nets[key] = prepare(net, self.runtime, self.device)
            self._controlnets[control] = _own_view(self._shared.nets[key])
            self._shared.controlnets.add(control)
        return self._controlnets[control]

    def lend(self, control: str, net: Any) -> None:
        """Steer by this network, on the manager's device and in its dtype, from now on.

        It takes the place of the ControlNet of that name of this base model, which need not lie
        anywhere; one that is in training can so be tried.
        """
        self._controlnets[control] = net
        self._lent.add(control)
        self.hint_cache(control).clear()
        self._pipelines = {names: p for names, p in self._pipelines.items() if control not in names}

    def hint_cache(self, control: str) -> TensorCache:
        """Embedded control maps of one ControlNet, filled by the sampler."""
        return self._shared.hints.setdefault(control, TensorCache(HINT_BYTES))

    def clip(self) -> ClipJudge:
        """The family's CLIP, in float32."""
        if self._shared.clip is None:
            from workbench.families.clip_judge import load_clip

            place = self._fetched(self.family.clip)
            with quiet_libraries():
                self._shared.clip = load_clip(place, self.device)
        return self._shared.clip

    def words(self, alternatives: Mapping[str, Sequence[str]] | None = None) -> WordJudge:
        """The family's judge of words, else its CLIP with `alternatives` and the family's groups.

        alternatives: word -> words that may be seen in its place.
        """
        if WORDS in self.family.networks:
            return cast("WordJudge", self.network(WORDS))
        from workbench.families.words import ClipWords

        return ClipWords(self.clip(), self.family.alternatives(alternatives or {}))

    def word_facts(
        self,
        alternatives: Mapping[str, Sequence[str]] | None = None,
        asked: Sequence[str] = (),
    ) -> dict[str, str]:
        """Who judges words (`words`), for manifest and report.

        Returns its name ("judge"), on what it was validated ("validated", "" if nobody has), 16
        digits that tell its weights from others ("weights"), and those of the words `asked` that it
        does not know, with commas ("unknown"): CLIP is asked about them inside the prompt.
        """
        import hashlib

        judge = self.words(alternatives)
        title = self.family.networks.get(WORDS, self.family.clip).title
        mine = {
            name: value
            for name, value in sorted(self.weight_hashes().items())
            if (name == title or name.startswith(f"{title}/")) and not is_setting(name)
        }
        weights = hashlib.sha256(repr(mine).encode()).hexdigest()[:16]
        unknown = ", ".join(word for word in asked if not judge.knows(word))
        return {
            "judge": judge.name,
            "validated": judge.validated,
            "weights": weights,
            "unknown": unknown,
        }

    def safety_checker(self) -> SafetyChecker:
        """The base model's own safety checker, fetched where the model was fetched without it.

        FamilyError if the base model came without one.
        """
        if self._safety is None:
            from workbench.families.safety import load_safety_checker

            ref = self._base_ref
            place = fetch_checker(ref, self._locate(ref), self.models_dir)
            self._safety = load_safety_checker(place, ref.title, self.device)
        return self._safety

    def networks(self) -> Mapping[str, Network]:
        """The networks that controls need, by name. A network is loaded when it is looked up.

        Each takes uint8 N×H×W×3; `workbench.controls.Networks` says what comes back.
        """
        return _LazyNetworks(self)

    def vae_roundtrip(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Push pictures (uint8 H×W×3, one size) through the VAE and back, without sampling."""
        vae = self.pipeline(None).vae
        out: list[np.ndarray] = []
        area = images[0].shape[0] * images[0].shape[1] if images else 1
        count = max(1, min(_VAE_BATCH, _VAE_PIXELS // area))
        for start in range(0, len(images), count):
            pixels = np.stack([np.asarray(image) for image in images[start : start + count]])
            signal = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(self.device, vae.dtype)
            with torch.inference_mode():
                decoded = decode(vae, encode(vae, signal / 127.5 - 1))
            scaled = (decoded.float().clamp(-1, 1) + 1) * 127.5
            out += list(scaled.round().byte().permute(0, 2, 3, 1).cpu().numpy())
        return out

    def token_count(self, text: str) -> TokenCount:
        """How many tokens the text encoder sees, start and end included; what is beyond is cut.

        The encoder is the one that reads the most, as T5 in Stable Diffusion 3.5, and its limit
        that of the family (`text_limit`), or its tokenizer's own where that is smaller.
        """
        from workbench.families.clip_judge import count_tokens

        pipeline = self.pipeline(None)
        t5 = getattr(pipeline, "text_encoder_3", None)
        tokenizer = pipeline.tokenizer if t5 is None else pipeline.tokenizer_3
        limit = min(self.family.text_limit, int(tokenizer.model_max_length))
        return count_tokens(tokenizer, text, limit)

    def weight_hashes(self) -> dict[str, str]:
        """What tells the models used so far: SHA-256 of files, or commits (`fingerprints`)."""
        refs: list[ModelRef] = []
        if self._pipelines:
            refs.append(self._base_ref)
            refs += [self.family.vae] if self.family.vae is not None else []
        refs += [self.family.controlnets[name] for name in sorted(self._shared.controlnets)]
        refs += [self.family.clip] if self._shared.clip is not None else []
        refs += [ref for ref in self.family.networks.values() if ref in self._shared.networks]
        found: dict[str, str] = {}
        for ref in refs:
            found |= fingerprints(ref, self._locate(ref))
        return found

    def network(self, name: str) -> Network:
        """One network by name; FamilyError if the family or its judge has none of that name."""
        ref = self.family.networks.get(name)
        if ref is None:
            have = ", ".join(self.family.networks) or "none"
            raise FamilyError(
                f'the family {self.family.name} has no network "{name}"; there is: {have}'
            )
        if ref not in self._shared.networks:
            from workbench.families.annotators import load_networks

            self._shared.networks[ref] = load_networks(
                ref, self._fetched, self.device, self.family.resolution
            )
        loaded = self._shared.networks[ref]
        if name not in loaded:
            raise FamilyError(f'{ref.title} has no "{name}"; it has: {", ".join(loaded)}')
        return loaded[name]

    def __repr__(self) -> str:
        where = f"device={self.device!r}, dtype={self.dtype!r}"
        return f"ModelManager({self.family.name!r}, {self.base!r}, {where})"

    def _locate(self, ref: ModelRef) -> Place:
        return locate(ref, self.models_dir)

    def _fetched(self, ref: ModelRef) -> Place:
        """A folder to load from, after a download where the model is not on this disk."""
        return fetch(ref, self._locate(ref), self.models_dir)

    def _load_base(self) -> Any:
        """The text-only pipeline of the base model, its networks where they are kept."""
        parts, vae = self.family.parts_of, self.family.vae
        place = self._fetched(self._base_ref)
        vae_place = None if vae is None else self._fetched(vae)
        _must_fit(place, base_problem(place, self.family, vae_place))
        with quiet_libraries():
            import diffusers

            kind = getattr(diffusers, parts.text)
            more = _accepted(kind, _LEFT_OUT)
            more |= _saved_without(place, parts.optional)
            if vae_place is not None:
                more["vae"] = _from_pretrained(diffusers.AutoencoderKL, vae_place, self.dtype)
            pipeline = _from_pretrained(kind, place, self.dtype, more)
        if not parts.upcasts_vae:  # or our own calls of the VAE would differ from theirs
            pipeline.vae.register_to_config(force_upcast=False)
        for part in pipeline.components.values():
            if isinstance(part, nn.Module):
                prepare(part, self.runtime, self.device)
        return pipeline

    def _with_controls(self, controls: Sequence[str]) -> Any:
        """The pipeline with ControlNets around the same networks.

        Several are added up, each with its own scale (`MultiControlNetModel`). So are two types of
        one union model, which runs once for each: then a scale means the same alone and in a pair,
        and a pair in which one scale is 0 is the other control alone. The union model's joint mode,
        where scales weigh its inputs and not its outputs, has neither property.
        """
        refs = [self.family.controlnet_ref(name) for name in controls]
        if len(controls) > 1 and (problem := self.family.pair_problem(*controls[:2])):
            raise FamilyError(problem)
        base = self._fetched(self._base_ref)
        for name, ref in zip(controls, refs, strict=True):
            if name in self._lent:
                continue
            place = self._fetched(ref)
            _must_fit(place, controlnet_problem(place, self.family, ref, base))
        nets = [self.controlnet(control) for control in controls]
        pipeline, parts = self.pipeline(None), self.family.parts_of
        with quiet_libraries():
            import diffusers

            union = refs[0].union_mode is not None
            kind = getattr(diffusers, parts.union if union else parts.control)
            more = _accepted(kind, _LEFT_OUT | _own_settings(pipeline))
            given = {**more, **pipeline.components}
            made = kind(**given, controlnet=nets if len(nets) > 1 else nets[0])
        made.controlnet.eval()  # several are wrapped in a module of their own
        return made


class _LazyNetworks(Mapping[str, Network]):
    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager

    def __getitem__(self, name: str) -> Network:
        if name not in self._manager.family.networks:
            raise KeyError(name)
        return self._manager.network(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._manager.family.networks)

    def __len__(self) -> int:
        return len(self._manager.family.networks)


class JudgesAlone(ModelManager):
    """The judges of a family without its VAE, where no base model is at hand.

    What a pass through the VAE would give is the picture itself: a ceiling is then a source held
    against itself, read again.
    """

    def vae_roundtrip(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The pictures as they are."""
        return [np.asarray(image) for image in images]


def _bytes(value: Any) -> int:
    parts = value if isinstance(value, tuple) else (value,)
    return sum(int(part.nbytes) for part in parts)


def _own_view(net: Any) -> Any:
    """A ControlNet that shares all weights with `net`, but can be driven on its own.

    What is changed in the `forward` of one, or put in the place of its parts, does not reach the
    others.
    """
    view = copy.copy(net)
    view._modules = dict(net._modules)
    if "controlnet_cond_embedding" in view._modules:
        view._modules["controlnet_cond_embedding"] = copy.copy(net.controlnet_cond_embedding)
    return view


def dtype_keyword(dtype: str) -> dict[str, torch.dtype]:
    """The `from_pretrained` keyword for a dtype, which diffusers 0.42 renamed."""
    import diffusers

    major, minor = (int(part) for part in diffusers.__version__.split(".")[:2])
    return {"dtype" if (major, minor) >= (0, 42) else "torch_dtype": getattr(torch, dtype)}


def _from_pretrained(
    kind: Any, place: Place, dtype: str, more: Mapping[str, Any] | None = None
) -> Any:
    """A model or pipeline of diffusers. LocateError if the folder holds none, or asks for code."""
    if place.folder is not None and (problem := class_problem(place.folder)):
        raise LocateError(f"{place.name} is not loaded: {problem}, which no family here needs")
    try:
        return kind.from_pretrained(
            place.name,
            use_safetensors=True,
            **dtype_keyword(dtype),
            **place.keywords,
            **(more or {}),
        )
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            raise
        reason = " ".join(str(error).split())[:300]
        raise LocateError(f"{place.name} cannot be loaded as {kind.__name__}: {reason}") from error


def _accepted(kind: Any, keywords: Mapping[str, Any]) -> dict[str, Any]:
    known = inspect.signature(kind.__init__).parameters
    return {key: value for key, value in keywords.items() if key in known}


def _saved_without(place: Place, names: Iterable[str]) -> dict[str, None]:
    """Those of the components that a base model was saved without, as arguments of its pipeline."""
    there = names if place.folder is None else components(place.folder)
    return {name: None for name in names if name not in there}


def _must_fit(place: Place, problem: str) -> None:
    """LocateError with the problem of what lies at a place, if it has one."""
    if problem:
        raise LocateError(f"{place.name} cannot be used: {problem}")


def _own_settings(pipeline: Any) -> dict[str, Any]:
    """Settings of a pipeline which are no component but decide pictures."""
    names = ("force_zeros_for_empty_prompt",)
    return {name: pipeline.config[name] for name in names if name in pipeline.config}
