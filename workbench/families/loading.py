"""Loading a family's models once and sharing them between everything that uses them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from workbench.families.hashes import weight_hashes
from workbench.families.locate import Place, locate
from workbench.families.lru import LruCache
from workbench.families.quiet import quiet_loading
from workbench.families.spec import Family, FamilyError, ModelRef, get_family

if TYPE_CHECKING:
    from workbench.families.clip_judge import ClipJudge
    from workbench.metrics.clip import TokenCount

Network = Callable[[np.ndarray], np.ndarray]

DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
PROMPTS_KEPT = 512
HINTS_KEPT = 64
_VAE_BATCH = 16


class _Common:
    """What shelves of one family share although their base models differ."""

    def __init__(self) -> None:
        self.controlnets: dict[str, Any] = {}
        self.hints: dict[str, LruCache[Any, torch.Tensor]] = {}
        self.clip: ClipJudge | None = None
        self.networks: dict[str, Mapping[str, Network]] = {}
        self.shelves: dict[str, ModelShelf] = {}


class ModelShelf:
    """All models of one family and one base model, loaded when first asked for and then kept.

    Pipelines share their UNet, VAE and text encoder; shelves made by `for_base` also share
    ControlNets and judges. The judges always compute in float32. Embeddings which depend on nothing
    but weights and input are kept here too (`prompt_cache`, `hint_cache`), so that they live as
    long as the weights do. Pipelines are not safe for threads: use a shelf from one thread only.
    """

    def __init__(
        self,
        family: Family | str = "paperdoll",
        base: str | None = None,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        models_dir: str | Path | None = None,
        _common: _Common | None = None,
    ) -> None:
        self.family = get_family(family) if isinstance(family, str) else family
        self.base = self.family.default_base if base is None else base
        self.device = device
        self.dtype = dtype
        self.models_dir = models_dir
        self._base_ref = self.family.base_ref(self.base)
        if dtype not in DTYPES:
            raise FamilyError(f'there is no dtype "{dtype}"; there is: {", ".join(DTYPES)}')
        self.prompt_cache: LruCache[str, torch.Tensor] = LruCache(PROMPTS_KEPT)
        self._common = _common if _common is not None else _Common()
        self._common.shelves[self.base] = self
        self._pipelines: dict[tuple[str, ...], Any] = {}

    def for_base(self, base: str) -> ModelShelf:
        """The shelf for another base model of the family, with the same ControlNets and judges."""
        if base not in self._common.shelves:
            ModelShelf(
                self.family,
                base,
                device=self.device,
                dtype=self.dtype,
                models_dir=self.models_dir,
                _common=self._common,
            )
        return self._common.shelves[base]

    def pipeline(self, control: str | None = None, *more: str) -> Any:
        """The stock diffusers pipeline: `StableDiffusionPipeline` for None, else
        `StableDiffusionControlNetPipeline` with that control's ControlNet, or with those of several
        controls in a `MultiControlNetModel`.

        Raises FamilyError if the family has no such ControlNet, LocateError if a folder is missing.
        """
        controls = () if control is None else (control, *more)
        if controls not in self._pipelines:
            made = self._add_controls(controls) if controls else self._load_base()
            made.set_progress_bar_config(disable=True)
            self._pipelines[controls] = made
        return self._pipelines[controls]

    def controlnet(self, control: str) -> Any:
        """The `ControlNetModel` of one control type."""
        if control not in self._common.controlnets:
            place = self._locate(self.family.controlnet_ref(control))
            with quiet_loading():
                from diffusers import ControlNetModel

                model = ControlNetModel.from_pretrained(
                    place.name,
                    use_safetensors=True,
                    **dtype_keyword(self.dtype),
                    **place.keywords,
                )
            self._common.controlnets[control] = _ready(model, self.device)
        return self._common.controlnets[control]

    def hint_cache(self, control: str) -> LruCache[Any, torch.Tensor]:
        """Embedded control maps of one ControlNet, filled by the sampler."""
        return self._common.hints.setdefault(control, LruCache(HINTS_KEPT))

    def clip(self) -> ClipJudge:
        """The family's CLIP, in float32."""
        if self._common.clip is None:
            from workbench.families.clip_judge import load_clip

            place = self._locate(self.family.clip)
            with quiet_loading():
                self._common.clip = load_clip(place, self.device)
        return self._common.clip

    def networks(self) -> Mapping[str, Network]:
        """The networks that controls need, by name. A network is loaded when it is looked up.

        Each takes uint8 N×H×W×3 and returns float32 N×H×W.
        """
        return _LazyNetworks(self)

    def vae_roundtrip(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Push pictures (uint8 H×W×3, one size) through the VAE and back, without sampling."""
        vae = self.pipeline(None).vae
        out: list[np.ndarray] = []
        for start in range(0, len(images), _VAE_BATCH):
            pixels = np.stack([np.asarray(image) for image in images[start : start + _VAE_BATCH]])
            signal = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(self.device, vae.dtype)
            with torch.inference_mode():
                latents = vae.encode(signal / 127.5 - 1).latent_dist.mode()
                decoded = vae.decode(latents, return_dict=False)[0]
            scaled = (decoded.float().clamp(-1, 1) + 1) * 127.5
            out += list(scaled.round().byte().permute(0, 2, 3, 1).cpu().numpy())
        return out

    def token_count(self, text: str) -> TokenCount:
        """How many tokens the text encoder sees, start and end included; what is beyond is cut."""
        from workbench.families.clip_judge import count_tokens

        tokenizer = self.pipeline(None).tokenizer
        return count_tokens(tokenizer, text, int(tokenizer.model_max_length))

    def weight_hashes(self) -> dict[str, str]:
        """SHA-256 of every weight file used so far, as "model/file" -> hash.

        A model on a hub is told by its pinned revision instead.
        """
        refs: list[ModelRef] = []
        if self._pipelines:
            refs.append(self._base_ref)
        refs += [self.family.controlnets[name] for name in sorted(self._common.controlnets)]
        refs += [self.family.clip] if self._common.clip is not None else []
        refs += [ref for ref in self.family.networks.values() if ref.title in self._common.networks]
        found: dict[str, str] = {}
        for ref in refs:
            place = self._locate(ref)
            if place.folder is None:
                found[ref.title] = f"revision {ref.revision}"
            else:
                found.update(weight_hashes(place.folder, ref.title))
        return found

    def network(self, name: str) -> Network:
        """One network by name; FamilyError if the family or its judge has none of that name."""
        ref = self.family.networks.get(name)
        if ref is None:
            have = ", ".join(self.family.networks) or "none"
            raise FamilyError(
                f'the family {self.family.name} has no network "{name}"; there is: {have}'
            )
        if ref.title not in self._common.networks:
            self._common.networks[ref.title] = _load_networks(self._locate(ref), self.device)
        loaded = self._common.networks[ref.title]
        if name not in loaded:
            raise FamilyError(f'{ref.title} has no "{name}"; it has: {", ".join(loaded)}')
        return loaded[name]

    def __repr__(self) -> str:
        where = f"device={self.device!r}, dtype={self.dtype!r}"
        return f"ModelShelf({self.family.name!r}, {self.base!r}, {where})"

    def _locate(self, ref: ModelRef) -> Place:
        return locate(ref, self.models_dir)

    def _load_base(self) -> Any:
        place = self._locate(self._base_ref)
        with quiet_loading():
            from diffusers import StableDiffusionPipeline

            pipeline = StableDiffusionPipeline.from_pretrained(
                place.name,
                use_safetensors=True,
                **dtype_keyword(self.dtype),
                safety_checker=None,
                requires_safety_checker=False,
                **place.keywords,
            )
        for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
            _ready(part, self.device)
        return pipeline

    def _add_controls(self, controls: Sequence[str]) -> Any:
        from diffusers import StableDiffusionControlNetPipeline

        nets = [self.controlnet(control) for control in controls]
        pipeline = StableDiffusionControlNetPipeline(
            **self.pipeline(None).components,
            controlnet=nets if len(nets) > 1 else nets[0],
            requires_safety_checker=False,
        )
        pipeline.controlnet.eval()  # several are wrapped in a module of their own
        return pipeline


def load_pipeline(
    family: Family | str,
    base: str | None = None,
    control: str | None = None,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    models_dir: str | Path | None = None,
) -> Any:
    """Load one pipeline on its own; use a `ModelShelf` to load several that share their parts."""
    shelf = ModelShelf(family, base, device=device, dtype=dtype, models_dir=models_dir)
    return shelf.pipeline(control)


class _LazyNetworks(Mapping[str, Network]):
    def __init__(self, shelf: ModelShelf) -> None:
        self._shelf = shelf

    def __getitem__(self, name: str) -> Network:
        if name not in self._shelf.family.networks:
            raise KeyError(name)
        return self._shelf.network(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shelf.family.networks)

    def __len__(self) -> int:
        return len(self._shelf.family.networks)


def _load_networks(place: Place, device: str) -> Mapping[str, Network]:
    from workbench.families.judge import load_judge

    if place.folder is None:
        raise FamilyError(f"{place.name}: a judge is loaded from a local folder only")
    return load_judge(place.folder).to(device).networks()


def dtype_keyword(dtype: str) -> dict[str, torch.dtype]:
    """The `from_pretrained` keyword for a dtype, which diffusers 0.42 renamed."""
    import diffusers

    major, minor = (int(part) for part in diffusers.__version__.split(".")[:2])
    return {"dtype" if (major, minor) >= (0, 42) else "torch_dtype": DTYPES[dtype]}


def _ready(model: Any, device: str) -> Any:
    """Frozen, in evaluation mode, on the device, convolutions in channels-last order."""
    model.eval().requires_grad_(False)
    return model.to(device=device, memory_format=torch.channels_last)
