"""CLIP as a judge: unit vectors for pictures and texts, and how much of a text it can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from cachetools import LRUCache

from workbench.families.locate import Place
from workbench.families.quiet import told_plainly

if TYPE_CHECKING:
    from workbench.metrics.clip import TokenCount

POSITIONS = "text_model.embeddings.position_embedding.weight"


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
        self._texts: LRUCache[str, np.ndarray] = LRUCache(4096)

    @property
    def dimension(self) -> int:
        """Length D of the vectors."""
        return int(self.model.config.projection_dim)

    @property
    def text_limit(self) -> int:
        """The most tokens a text may have, start and end included: 77 for CLIP, 248 for Long-CLIP.

        The positions of the model count: a long-text CLIP comes with the tokenizer of the first.
        """
        return int(self.model.config.text_config.max_position_embeddings)

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

        A text beyond `text_limit` is cut before its end-of-text token, at which CLIP reads. Each
        text is read by itself: in a batch its vector would depend, by a rounding, on what was asked
        with it, and stay so.
        """
        known: dict[str, np.ndarray] = {}
        for text in dict.fromkeys(texts):
            vector = self._texts.get(text)
            if vector is None:
                vector = self._texts[text] = self._read([text])[0]
            known[text] = vector
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
    """Load a folder (or hub model) with a CLIPModel, its tokenizer and its image processor.

    Raises FamilyError if one of them is missing or is something else.
    """
    import transformers
    from transformers import CLIPModel, CLIPTokenizer

    # The Pillow processor gives the same pixels whether or not torchvision is installed.
    processor_type = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)
    plain = place.plain_keywords
    with told_plainly(place.name, "a CLIP with its tokenizer and image processor"):
        model = CLIPModel.from_pretrained(
            place.name,
            config=_config(place),
            dtype=torch.float32,
            **place.weights_keywords,
        )
        tokenizer = CLIPTokenizer.from_pretrained(place.name, **plain)
        processor = processor_type.from_pretrained(place.name, **plain)
    return ClipJudge(model, tokenizer, processor, device)


def _config(place: Place) -> Any:
    """The configuration, with as many text positions as the weights have.

    Published Long-CLIPs have 248 of them, but came with the configuration of the CLIP they grew
    from, which says 77.
    """
    from safetensors import safe_open
    from transformers import CLIPConfig
    from transformers.utils import cached_file

    keywords = place.plain_keywords
    config = CLIPConfig.from_pretrained(place.name, **keywords)
    variant = place.keywords.get("variant")
    name = f"model.{variant}.safetensors" if variant else "model.safetensors"
    path = cached_file(place.name, name, _raise_exceptions_for_missing_entries=False, **keywords)
    if path is not None:  # None: in several files, or not there at all, which loading reports
        with safe_open(path, framework="pt") as weights:
            if POSITIONS in weights.keys():  # noqa: SIM118 - it is no mapping
                rows = weights.get_slice(POSITIONS).get_shape()[0]
                config.text_config.max_position_embeddings = int(rows)
    return config


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
