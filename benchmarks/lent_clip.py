"""A CLIP model in memory, lent to torchmetrics' own CLIPScore."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workbench.metrics.clip import truncate_ids


def torchmetrics_clip(
    model: Any, tokenizer: Any, image_processor: Any
) -> Callable[[], tuple[nn.Module, Callable[..., dict[str, Tensor]]]]:
    """Lend a transformers CLIP model to torchmetrics, as its argument `model_name_or_path`.

    model: a CLIPModel. tokenizer, image_processor: its CLIPTokenizer and CLIPImageProcessor.
    Works around two faults of torchmetrics 1.9: it takes the output object which transformers 5
    returns for an embedding, and it cuts long captions without keeping their end-of-text token.
    Pictures are given to torchmetrics as uint8 tensors 3×H×W.
    """
    limit = int(model.config.text_config.max_position_embeddings)
    return lambda: (_PooledClip(model), _Processor(tokenizer, image_processor, limit))


class _PooledClip(nn.Module):
    """A CLIP model whose two embedding methods return tensors under any version of transformers."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.config = model.config

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        return _pooled(self.model.get_image_features(pixel_values=pixel_values))

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return _pooled(
            self.model.get_text_features(input_ids=input_ids, attention_mask=attention_mask)
        )


class _Processor:
    """What torchmetrics calls to prepare pictures and texts."""

    def __init__(self, tokenizer: Any, image_processor: Any, limit: int) -> None:
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.limit = limit

    def __call__(
        self,
        text: Sequence[str] | None = None,
        images: Sequence[Tensor] | None = None,
        **_: Any,
    ) -> dict[str, Tensor]:
        if images is not None:
            arrays = [image.permute(1, 2, 0).numpy() for image in images]
            pixels = self.image_processor(
                images=arrays, return_tensors="pt", input_data_format="channels_last"
            )
            return {"pixel_values": pixels["pixel_values"]}
        rows = [
            truncate_ids(self.tokenizer(single)["input_ids"], self.limit)[0]
            for single in text or ()
        ]
        width = max(len(row) for row in rows)
        pad = self.tokenizer.pad_token_id
        return {
            "input_ids": torch.tensor([row + [pad] * (width - len(row)) for row in rows]),
            "attention_mask": torch.tensor(
                [[1] * len(row) + [0] * (width - len(row)) for row in rows]
            ),
        }


def _pooled(output: Any) -> Tensor:
    pooled: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return pooled
