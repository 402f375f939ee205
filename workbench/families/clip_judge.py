"""CLIP as a judge: unit vectors for pictures and texts, and how much of a text it can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from workbench.families.locate import Place
from workbench.families.lru import LruCache

if TYPE_CHECKING:
    from workbench.metrics.clip import TokenCount


class ClipJudge:
    """Reads pictures and texts with one CLIP model, always in float32.

    Works with any `CLIPModel`; the vectors have the model's projection size D. For one thread.
    """

    def __init__(
        self, model: Any, tokenizer: Any, processor: Any, device: str = "cpu", batch_size: int = 32
    ) -> None:
        self.model = model.to(device=device, dtype=torch.float32).eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.processor = processor
        self.device = device
        self.batch_size = batch_size
        self._texts: LruCache[str, np.ndarray] = LruCache(4096)

    @property
    def dimension(self) -> int:
        """Length D of the vectors."""
        return int(self.model.config.projection_dim)

    @property
    def text_limit(self) -> int:
        """The most tokens a text may have, start and end included."""
        return min(
            int(self.tokenizer.model_max_length),
            int(self.model.config.text_config.max_position_embeddings),
        )

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Pictures (uint8 H×W×3, of any sizes) -> float32 N×D, each row of length 1."""
        parts = [np.zeros((0, self.dimension), np.float32)]
        for start in range(0, len(images), self.batch_size):
            chunk = [np.asarray(image) for image in images[start : start + self.batch_size]]
            pixels = self.processor(images=chunk, return_tensors="pt")["pixel_values"]
            with torch.inference_mode():
                found = self.model.get_image_features(pixel_values=pixels.to(self.device))
            parts.append(_unit(found))
        return np.concatenate(parts)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> float32 N×D, each row of length 1.

        A text beyond `text_limit` is cut before its end-of-text token, at which CLIP reads.
        """
        known: dict[str, np.ndarray] = {}
        fresh: list[str] = []
        for text in dict.fromkeys(texts):
            vector = self._texts.get(text)
            if vector is None:
                fresh.append(text)
            else:
                known[text] = vector
        for start in range(0, len(fresh), self.batch_size):
            chunk = fresh[start : start + self.batch_size]
            for text, vector in zip(chunk, self._read(chunk), strict=True):
                known[text] = vector
                self._texts.put(text, vector)
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        return np.stack([known[text] for text in texts])

    def token_count(self, text: str) -> TokenCount:
        """How many tokens the text has, and whether CLIP reads them all."""
        return count_tokens(self.tokenizer, text, self.text_limit)

    def _read(self, texts: list[str]) -> np.ndarray:
        tokens = self.tokenizer(
            texts,
            padding="max_length",
            truncation=True,
            max_length=self.text_limit,
            return_tensors="pt",
        )
        with torch.inference_mode():
            found = self.model.get_text_features(
                input_ids=tokens["input_ids"].to(self.device),
                attention_mask=tokens["attention_mask"].to(self.device),
            )
        return _unit(found)


def load_clip(place: Place, device: str = "cpu") -> ClipJudge:
    """Load a folder (or hub model) with a CLIPModel, its tokenizer and its image processor."""
    import transformers
    from transformers import CLIPModel, CLIPTokenizer

    # The Pillow processor gives the same pixels whether or not torchvision is installed.
    processor_type = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)
    model = CLIPModel.from_pretrained(
        place.name, use_safetensors=True, dtype=torch.float32, **place.keywords
    )
    keywords = {key: value for key, value in place.keywords.items() if key != "variant"}
    tokenizer = CLIPTokenizer.from_pretrained(place.name, **keywords)
    processor = processor_type.from_pretrained(place.name, **keywords)
    return ClipJudge(model, tokenizer, processor, device)


def count_tokens(tokenizer: Any, text: str, limit: int) -> TokenCount:
    """Tokens of a text, start and end included, and whether `limit` cuts some of them off."""
    from workbench.metrics.clip import TokenCount

    tokens = len(tokenizer(text, truncation=False, verbose=False)["input_ids"])
    return TokenCount(tokens=tokens, truncated=tokens > limit)


def _unit(found: Any) -> np.ndarray:
    # transformers 5 returns an output object, earlier versions the pooled tensor itself.
    pooled = found if isinstance(found, torch.Tensor) else found.pooler_output
    vectors = pooled.float()
    unit = vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return np.asarray(unit.cpu().numpy(), dtype=np.float32)
