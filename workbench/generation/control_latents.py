"""Control maps as latents, for architectures whose ControlNets see them through the VAE."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from types import SimpleNamespace, TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from workbench.families.runtime import encode


class ControlLatents:
    """Changes how a stock pipeline encodes its control maps, as long as the context lasts.

    The stock pipelines of Stable Diffusion 3 draw a sample of the map's latents from the global
    random state, so that one trial twice gives two pictures. Here the latents are their mode, as
    in the pipelines that do not draw. Each map is encoded once, alone, and then taken from `cache`,
    so that it does not depend on which maps share a batch.

    `keys` has one list for each ControlNet, in their order, with a key for each sample; maps with
    the same key must have the same pixels. On exit the VAE is as it was.
    """

    def __init__(
        self, vae: Any, keys: Sequence[Sequence[Any]], cache: MutableMapping[Any, Tensor]
    ) -> None:
        self._vae = vae
        self._keys = [tuple(row) for row in keys]
        self._cache = cache
        self._call = 0
        self._restore: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        own = vars(self._vae)
        before = own.pop("encode", None)

        def restore() -> None:
            own.pop("encode", None)
            if before is not None:
                own["encode"] = before

        self._stock = before if before is not None else type(self._vae).encode.__get__(self._vae)
        own["encode"] = self._encode
        self._restore = restore
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._restore is not None:
            self._restore()
        self._restore = None

    def _encode(self, maps: Tensor, *_: Any, **__: Any) -> Any:
        keys = self._keys[self._call % len(self._keys)]
        self._call += 1
        halves, rest = divmod(maps.shape[0], len(keys))
        if rest or halves not in (1, 2):
            raise ValueError(f"the VAE got {maps.shape[0]} control maps for {len(keys)} samples")
        place = (tuple(maps.shape[1:]), maps.dtype, str(maps.device))
        rows: list[Tensor] = []
        for row, key in enumerate(keys):
            latents = self._cache.get((key, place))
            if latents is None:
                latents = self._alone(maps[row : row + 1])
                self._cache[(key, place)] = latents
            rows.append(latents)
        all_rows = torch.cat(rows * halves)
        return SimpleNamespace(latent_dist=SimpleNamespace(sample=lambda *_: all_rows))

    def _alone(self, picture: Tensor) -> Tensor:
        vars(self._vae)["encode"] = self._stock
        try:
            return encode(self._vae, picture).to(picture.dtype)  # which the ControlNet computes in
        finally:
            vars(self._vae)["encode"] = self._encode
