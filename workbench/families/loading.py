"""Loading a family's models once and sharing them between everything that uses them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from workbench.families.applying import apply_runtime, prepare
from workbench.families.fetch import fetch, fetch_checker
from workbench.families.hashes import fingerprints
from workbench.families.locate import Place, locate
from workbench.families.lru import LruCache
from workbench.families.pipelines import (
    add_controls,
    check_dtype,
    dtype_keyword,
    load_base,
    load_controlnet,
    own_view,
)
from workbench.families.quiet import quiet_loading
from workbench.families.runtime import Runtime
from workbench.families.spec import Family, FamilyError, ModelRef, NetworkRef, get_family
from workbench.families.vae import decode, encode

if TYPE_CHECKING:
    from workbench.families.clip_judge import ClipJudge
    from workbench.families.safety import SafetyChecker
    from workbench.metrics.clip import TokenCount

__all__ = ["ModelManager", "dtype_keyword", "load_pipeline"]

Network = Callable[[np.ndarray], np.ndarray]

PROMPTS_KEPT, PROMPT_BYTES = 512, 256_000_000
HINTS_KEPT, HINT_BYTES = 64, 64_000_000
"""Of one ControlNet. Entries are on the device: one takes 0.1 MB in the embedded family, 10 in SDXL
and an embedded prompt 3 in SD3.5, so that a count alone does not bound them."""
_VAE_BATCH = 16
_VAE_PIXELS = 4 * 512 * 512


class _Common:
    """What managers of one family share although their base models differ."""

    def __init__(self) -> None:
        self.controlnets: dict[str, Any] = {}
        self.unions: dict[str, Any] = {}
        self.hints: dict[str, LruCache[Any, torch.Tensor]] = {}
        self.clip: ClipJudge | None = None
        self.networks: dict[NetworkRef, Mapping[str, Network]] = {}
        self.managers: dict[str, ModelManager] = {}


class ModelManager:
    """All models of one family and one base model, loaded when first asked for and then kept.

    Pipelines share their networks; managers made by `for_base` also share ControlNets and judges.
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
        _common: _Common | None = None,
    ) -> None:
        self.family = get_family(family) if isinstance(family, str) else family
        self.base = self.family.default_base if base is None else base
        self.device = device
        self.dtype = dtype
        self.models_dir = models_dir
        self._base_ref = self.family.base_ref(self.base)
        check_dtype(dtype)
        self.prompt_cache: LruCache[Any, tuple[torch.Tensor, ...]] = LruCache(
            PROMPTS_KEPT, PROMPT_BYTES
        )
        self.latent_cache: LruCache[Any, torch.Tensor] = LruCache(HINTS_KEPT, HINT_BYTES)
        self._common = _common if _common is not None else _Common()
        self._common.managers[self.base] = self
        self._pipelines: dict[tuple[str, ...], Any] = {}
        self.runtime = runtime or Runtime()
        self.runtime.check(device)
        self.in_force: dict[tuple[str, ...], dict[str, Any]] = {}
        self.checks_safety = checks_safety
        self._safety: SafetyChecker | None = None

    def for_base(self, base: str) -> ModelManager:
        """The manager of another base model, with the same ControlNets and judges."""
        if base not in self._common.managers:
            ModelManager(
                self.family,
                base,
                device=self.device,
                dtype=self.dtype,
                models_dir=self.models_dir,
                runtime=self.runtime,
                checks_safety=self.checks_safety,
                _common=self._common,
            )
        return self._common.managers[base]

    def pipeline(self, control: str | None = None, *more: str) -> Any:
        """The stock diffusers pipeline of the family's architecture: without ControlNet for None,
        else with the ControlNet of that name, or with several of them, which are added up.

        Names are those of `Family.controlnets`: control types, or a type and its method
        ("lineart.anime"). Raises FamilyError if the family has no such ControlNet or cannot run
        two together, LocateError if a model is missing or cannot be loaded.
        """
        controls = () if control is None else (control, *more)
        if controls not in self._pipelines:
            made = self._add_controls(controls) if controls else self._load_base()
            made.set_progress_bar_config(disable=True)
            self.in_force[controls] = apply_runtime(made, self.runtime, self.device)
            self._pipelines[controls] = made
        return self._pipelines[controls]

    def controlnet(self, control: str) -> Any:
        """The ControlNet of that name; those of one union model share their weights."""
        kept, unions = self._common.controlnets, self._common.unions
        if control not in kept:
            ref = self.family.controlnet_ref(control)
            union = ref.union_mode is not None
            if ref.title in unions:
                kept[control] = own_view(unions[ref.title])
            else:
                place = self._fetched(ref)
                net = load_controlnet(self.family, place, self.dtype, self._prepare, union=union)
                if union:
                    unions[ref.title] = net
                kept[control] = own_view(net) if union else net
        return kept[control]

    def hint_cache(self, control: str) -> LruCache[Any, torch.Tensor]:
        """Embedded control maps of one ControlNet, filled by the sampler."""
        return self._common.hints.setdefault(control, LruCache(HINTS_KEPT, HINT_BYTES))

    def clip(self) -> ClipJudge:
        """The family's CLIP, in float32."""
        if self._common.clip is None:
            from workbench.families.clip_judge import load_clip

            place = self._fetched(self.family.clip)
            with quiet_loading():
                self._common.clip = load_clip(place, self.device)
        return self._common.clip

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
        """How many tokens the text encoder sees, start and end included; what is beyond is cut."""
        from workbench.families.clip_judge import count_tokens

        tokenizer = self.pipeline(None).tokenizer
        return count_tokens(tokenizer, text, int(tokenizer.model_max_length))

    def weight_hashes(self) -> dict[str, str]:
        """What tells the weights used so far: SHA-256 of files, or commits (`fingerprints`)."""
        refs: list[ModelRef] = []
        if self._pipelines:
            refs.append(self._base_ref)
            refs += [self.family.vae] if self.family.vae is not None else []
        refs += [self.family.controlnets[name] for name in sorted(self._common.controlnets)]
        refs += [self.family.clip] if self._common.clip is not None else []
        refs += [ref for ref in self.family.networks.values() if ref in self._common.networks]
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
        if ref not in self._common.networks:
            from workbench.families.annotators import load_networks

            self._common.networks[ref] = load_networks(ref, self._fetched, self.device)
        loaded = self._common.networks[ref]
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
        vae = self.family.vae
        return load_base(
            self.family,
            self._fetched(self._base_ref),
            None if vae is None else self._fetched(vae),
            self.dtype,
            self._prepare,
        )

    def _prepare(self, model: Any) -> Any:
        return prepare(model, self.runtime, self.device)

    def _add_controls(self, controls: Sequence[str]) -> Any:
        refs = [self.family.controlnet_ref(name) for name in controls]
        if len(controls) > 1 and (problem := self.family.pair_problem(*controls[:2])):
            raise FamilyError(problem)
        nets = [self.controlnet(control) for control in controls]
        union = refs[0].union_mode is not None
        return add_controls(self.family, self.pipeline(None), nets, union=union)


def load_pipeline(
    family: Family | str,
    base: str | None = None,
    control: str | None = None,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    models_dir: str | Path | None = None,
) -> Any:
    """Load one pipeline on its own; use a `ModelManager` to load several that share their parts."""
    manager = ModelManager(family, base, device=device, dtype=dtype, models_dir=models_dir)
    return manager.pipeline(control)


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
