"""A ControlNet in training beside a locked base model: first weights, noise and prediction.

What differs between a UNet and a transformer is here, and nowhere else in the training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workbench.families.manager import ModelManager
from workbench.families.quiet import quiet_libraries
from workbench.generation.encoding import prompt_arguments
from workbench.generation.schedulers import make_scheduler
from workbench.training.export import plain_attention
from workbench.training.loop import StepDraws

_HINT_WIDTHS = (16, 32, 96, 256)
"""Channels of diffusers' condition encoder, which halves the map's side after each but the last."""


class Noising:
    """The forward process of a base model, and what it is trained to predict.

    config: that of its own scheduler. Noise levels of flow matching are uniform, shifted as the
    scheduler shifts them.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        kind = config.get("prediction_type", "epsilon")
        self.flow = "beta_start" not in config or kind == "flow_prediction"
        self.kind = "flow" if self.flow else kind
        self.count = int(config.get("num_train_timesteps", 1000))
        self._shift = float(config.get("shift") or config.get("flow_shift") or 1.0)
        self._scheduler = None if self.flow else make_scheduler("ddpm", config)

    def __call__(self, clean: Tensor, draws: StepDraws) -> tuple[Tensor, Tensor, Tensor]:
        """Clean latents B×C×h×w -> noisy latents, time steps (B), target."""
        noise = torch.randn(clean.shape, generator=draws.torch).to(clean.device)
        scheduler = self._scheduler
        if scheduler is None:
            even = torch.rand(len(clean), generator=draws.torch).to(clean.device)
            level = self._shift * even / (1 + (self._shift - 1) * even)
            part = level.view(-1, 1, 1, 1)
            return (1 - part) * clean + part * noise, level * self.count, noise - clean
        steps = torch.randint(0, self.count, (len(clean),), generator=draws.torch)
        steps = steps.to(clean.device)
        noisy = scheduler.add_noise(clean, noise, steps)
        if self.kind == "v_prediction":
            return noisy, steps, scheduler.get_velocity(clean, noise, steps)
        return noisy, steps, clean if self.kind == "sample" else noise


class ControlLesson(nn.Module):
    """A ControlNet and, for training only, a linear reader of its condition encoder.

    The reader asks the condition encoder for the clean latent, which makes it see the map from
    the first step on; it is thrown away afterwards.
    """

    def __init__(self, controlnet: Any, channels: int = 4) -> None:
        super().__init__()
        self.controlnet = controlnet
        self.reader = nn.Conv2d(controlnet.config["block_out_channels"][0], channels, 1)


class _Beside:
    """The locked denoiser of a base model, and the ControlNet that learns beside it."""

    def __init__(self, manager: ModelManager) -> None:
        self.manager = manager
        self.denoiser = getattr(manager.pipeline(None), manager.family.parts_of.denoiser)

    def new_net(self, seed: int, *, checkpointing: bool) -> nn.Module:
        """The trainable copy with zero convolutions, in float32; the same for the same seed.

        checkpointing: activations are computed anew for the gradient, in both networks.
        """
        with torch.random.fork_rng(devices=[]), quiet_libraries():
            torch.manual_seed(seed)
            net = self._copied()
        net = net.float().requires_grad_(True)
        net = net.to(device=self.manager.device, memory_format=torch.channels_last)
        if checkpointing:
            net.enable_gradient_checkpointing()
            self.denoiser.enable_gradient_checkpointing()
        return net  # type: ignore[no-any-return]

    def prediction(
        self, net: nn.Module, noisy: Tensor, steps: Tensor, texts: Sequence[str], seen: np.ndarray
    ) -> Tensor:
        """What denoiser and ControlNet together predict, in the shape of `noisy` (B×C×h×w).

        steps: B time steps. seen: what `Prepared` keeps of B maps for the ControlNet.
        """
        raise NotImplementedError

    def _copied(self) -> Any:
        raise NotImplementedError

    def text(self, texts: Sequence[str]) -> list[Tensor]:
        """What the text encoders say: a row for each token, and where there is one, for the text.

        As for drawing, which shares the cache: else it would matter who asks first.
        """
        kind = self.manager.device.partition(":")[0]
        with torch.no_grad(), torch.autocast(kind, enabled=False):
            found = prompt_arguments(texts, self.manager)
        # Drawing leaves embeddings in the cache which autograd cannot use.
        return [part.clone() for part in found.values()]


class BesideUNet(_Beside):
    """Stable Diffusion 1.5 and SDXL: the map's pixels are read by a condition encoder."""

    def prediction(
        self, net: nn.Module, noisy: Tensor, steps: Tensor, texts: Sequence[str], seen: np.ndarray
    ) -> Tensor:
        text, *pooled = self.text(texts)
        more = self._sizes(pooled[0]) if pooled else {}
        control = torch.from_numpy(seen).to(noisy.device).permute(0, 3, 1, 2).float() / 255
        noisy = noisy.to(self.denoiser.dtype)
        down, mid = net(noisy, steps, text, control, return_dict=False, **more)
        found = self.denoiser(
            noisy,
            steps,
            text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
            **more,
        )
        return found.sample  # type: ignore[no-any-return]

    def _sizes(self, pooled: Tensor) -> dict[str, Any]:
        """What else SDXL is told: that the pictures have this size, and were not cut."""
        side = self.manager.family.resolution
        sizes = torch.tensor([[side, side, 0, 0, side, side]] * len(pooled), device=pooled.device)
        return {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": sizes.to(pooled.dtype)}}

    def _copied(self) -> Any:
        from diffusers import ControlNetModel

        depth = int(math.log2(self.manager.family.latent_scale))
        net = ControlNetModel.from_unet(
            self.denoiser, conditioning_embedding_out_channels=_HINT_WIDTHS[: depth + 1]
        )
        return plain_attention(net) if self.manager.device == "cpu" else net


class BesideTransformer(_Beside):
    """Stable Diffusion 3: maps are latents, and the copy is of the first half of the blocks.

    What each block of the copy says is added behind two of the transformer's, as diffusers spreads
    them.
    """

    def prediction(
        self, net: nn.Module, noisy: Tensor, steps: Tensor, texts: Sequence[str], seen: np.ndarray
    ) -> Tensor:
        text, pooled = self.text(texts)
        dtype = self.denoiser.dtype
        told = {
            "hidden_states": noisy.to(dtype),
            "timestep": steps,
            "encoder_hidden_states": text,
            "pooled_projections": pooled,
            "return_dict": False,
        }
        control = torch.from_numpy(seen).to(noisy.device, dtype)
        (added,) = net(controlnet_cond=control, **told)
        (found,) = self.denoiser(block_controlnet_hidden_states=added, **told)
        return found  # type: ignore[no-any-return]

    def _copied(self) -> Any:
        from diffusers import SD3ControlNetModel

        base = self.denoiser
        # diffusers' own `from_transformer` writes into the configuration of the base model, and
        # makes a ControlNet that is drawn with without the pooled text it is trained with.
        changed = {
            "num_layers": max(1, base.config.num_layers // 2),
            "extra_conditioning_channels": 0,
            "force_zeros_for_pooled_projection": False,
        }
        net = SD3ControlNetModel.from_config(dict(base.config) | changed)
        for name in ("pos_embed", "time_text_embed", "context_embedder"):
            getattr(net, name).load_state_dict(getattr(base, name).state_dict())
        for mine, known in zip(net.transformer_blocks, base.transformer_blocks, strict=False):
            mine.load_state_dict(known.state_dict())
        return net


BESIDE: Mapping[str, type[_Beside]] = {"unet": BesideUNet, "transformer": BesideTransformer}
"""How a ControlNet learns beside each kind of denoiser, by the name of the pipeline's part."""
