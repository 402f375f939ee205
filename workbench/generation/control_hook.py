"""One ControlNet call for a mixed batch: a scale for each sample, no call where none matters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, MutableMapping, Sequence
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn


class ControlHook:
    """Changes how a stock pipeline drives its ControlNet, as long as the context lasts.

    Inside `with ControlHook(controlnet, scales, keys, cache):` a pipeline that is called with
    `controlnet_conditioning_scale=1.0` and B control maps

    * applies `scales[i]` to the residuals of sample i, in the conditional and the unconditional
      half alike (a stock pipeline knows one scale for the whole batch);
    * does not run the ControlNet where it cannot matter: outside start and end, or when every scale
      is 0. The denoiser then gets zeros that broadcast;
    * embeds each control map once, alone, and takes it from `cache` afterwards. Maps with the same
      key must have the same pixels. Embedding them one by one makes the result independent of which
      maps share a batch. (ControlNets of transformers have no such embedding; see
      `ControlLatents`.)

    * lets the fuser of a union model see one sample at a time. Its attention is
      `nn.MultiheadAttention` without `batch_first`, which diffusers feeds samples first, so it
      attends over the batch: each picture would depend on its company. For a batch of one it is
      attention of each condition to itself, and so it is here for every sample
      (diffusers.models.controlnets.controlnet_union.ResidualAttentionBlock).

    It works on `ControlNetModel`, on one control type of a `ControlNetUnionModel`, and on
    `SD3ControlNetModel`. Several ControlNets at once (diffusers' `MultiControlNetModel`) take one
    hook each, around each of its `nets`. diffusers adds the residuals of the second in place to
    those of the first, so the first must not be skipped alone: let every net have a scale above 0
    in the batch.

    On exit the ControlNet is as it was. `calls` and `skipped` count its forward passes.
    Guess mode weights every residual by its depth and is refused with ValueError.
    """

    def __init__(
        self,
        controlnet: nn.Module,
        scales: Sequence[float],
        keys: Sequence[str],
        cache: MutableMapping[Any, Tensor],
    ) -> None:
        if len(scales) != len(keys) or not scales:
            raise ValueError("a control hook needs one scale and one key for each sample")
        self.controlnet = controlnet
        self.calls = 0
        self.skipped = 0
        self._scales = tuple(float(scale) for scale in scales)
        self._keys = tuple(keys)
        self._cache = cache
        self._batch_hint: Tensor | None = None
        self._restore: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        if self._restore:
            raise RuntimeError("this control hook is in use already")
        controlnet = self.controlnet
        forward = controlnet.forward
        signature = inspect.signature(type(controlnet).forward)

        def controlled(*args: Any, **keywords: Any) -> Any:
            given = signature.bind(controlnet, *args, **keywords).arguments
            if given.get("guess_mode"):
                raise ValueError("guess mode cannot be combined with a scale for each sample")
            outer = given.get("conditioning_scale", 1.0)
            listed = isinstance(outer, list)
            if listed and len(outer) != 1:
                raise ValueError("several control types of a union model need a hook for each")
            factor = outer[0] if listed else outer
            rows = given["hidden_states" if "hidden_states" in given else "sample"]
            if not any(self._scales) or float(factor) == 0.0:
                self.skipped += 1
                return self._nothing(rows, given.get("return_dict", True))
            self.calls += 1
            scale = self._scale_tensor(rows) * factor
            union = "control_type_idx" in signature.parameters
            given["conditioning_scale"] = [scale] if union else scale
            given.pop("self", None)
            return forward(**given)

        self._restore = [_replace(controlnet, controlled)]
        embedding = getattr(controlnet, "controlnet_cond_embedding", None)
        if embedding is not None:
            embed = embedding.forward

            def embedded(conditioning: Tensor) -> Tensor:
                return self._hint(conditioning, embed)

            self._restore.append(_replace(embedding, embedded))
        for layer in getattr(controlnet, "transformer_layes", ()):  # as diffusers spells it
            self._restore.append(_replace(layer, _one_by_one(layer.forward)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for restore in reversed(self._restore):
            restore()
        self._restore = []
        self._batch_hint = None

    def _scale_tensor(self, sample: Tensor) -> Tensor:
        scales = torch.tensor(self._scales, dtype=sample.dtype, device=sample.device)
        return scales.repeat(self._halves(sample.shape[0])).view(-1, *self._ones)

    def _halves(self, rows: int) -> int:
        """1 without classifier-free guidance, 2 with it."""
        halves, rest = divmod(rows, len(self._keys))
        if rest or halves not in (1, 2):
            raise ValueError(f"the ControlNet got {rows} rows for {len(self._keys)} samples")
        return halves

    @property
    def _ones(self) -> tuple[int, ...]:
        """1 for each axis of a residual but the first: tokens of a transformer, pictures else."""
        return (1, 1) if hasattr(self.controlnet, "controlnet_blocks") else (1, 1, 1)

    def _nothing(self, sample: Tensor, return_dict: bool) -> Any:
        zero = sample.new_zeros((1, *self._ones))
        blocks: Any = getattr(self.controlnet, "controlnet_blocks", None)
        if blocks is not None:
            nothing = [zero] * len(blocks)
            if not return_dict:
                return (nothing,)
            from diffusers.models.controlnets.controlnet_sd3 import SD3ControlNetOutput

            return SD3ControlNetOutput(controlnet_block_samples=tuple(nothing))
        down = [zero] * len(self.controlnet.get_submodule("controlnet_down_blocks"))  # type: ignore[arg-type]
        if not return_dict:
            return down, zero
        from diffusers.models.controlnets.controlnet import ControlNetOutput

        return ControlNetOutput(down_block_res_samples=tuple(down), mid_block_res_sample=zero)

    def _hint(self, conditioning: Tensor, embed: Callable[[Tensor], Tensor]) -> Tensor:
        rows = conditioning.shape[0]
        known = self._batch_hint
        if known is not None and known.shape[0] == rows and known.dtype == conditioning.dtype:
            return known
        halves = self._halves(rows)
        place = (tuple(conditioning.shape[1:]), conditioning.dtype, str(conditioning.device))
        of_key: dict[str, Tensor] = {}
        for row, key in enumerate(self._keys):
            if key in of_key:
                continue
            hint = self._cache.get((key, place))
            if hint is None:
                hint = embed(conditioning[row : row + 1])
                self._cache[(key, place)] = hint
            of_key[key] = hint
        self._batch_hint = torch.cat([of_key[key] for key in self._keys] * halves)
        return self._batch_hint


def _one_by_one(layer: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A layer of a union model's fuser, B×K×C -> B×K×C, in which no row attends to another."""

    def apart(rows: Tensor) -> Tensor:
        return layer(rows.reshape(1, -1, rows.shape[-1])).reshape(rows.shape)

    return apart


def _replace(module: nn.Module, forward: Callable[..., Any]) -> Callable[[], None]:
    """Give one module another `forward` and return what puts the old one back."""
    own = vars(module)
    before = own.get("forward")
    own["forward"] = forward

    def restore() -> None:
        if before is None:
            del own["forward"]
        else:
            own["forward"] = before

    return restore
