"""A judge of words that answers yes or no: BLIP for visual question answering.

Li, Li, Xiong and Hoi 2022, "BLIP: Bootstrapping Language-Image Pre-training for Unified
Vision-Language Understanding and Generation", fine-tuned on VQA v2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.families.annotators.weights import Weights
from workbench.families.catalogue import FamilyError
from workbench.families.loaders import WORDS
from workbench.families.quiet import quiet_libraries, told_plainly
from workbench.families.words import WordReading, refuse_unknown

QUESTION = "Is there {word} in the picture?"
"""What is asked about each word."""
_ANSWERS = ("yes", "no")
_BATCH = 8


@dataclass(frozen=True)
class BlipWords:
    """Asks `QUESTION` about every word and compares "yes" with "no" as the first word said.

    The probability is the softmax of the decoder's logits of these two alone, whatever else it
    would rather say; the verdict is whether "yes" is at least as probable. A question is read with
    pictures only, never with other questions, so nothing is padded and answers do not depend on
    what else is asked.
    """

    model: Any
    tokenizer: Any
    processor: Any
    device: str
    name: str
    validated: str = ""

    def knows(self, word: str) -> bool:
        """Any word can be asked about."""
        return bool(word.strip())

    def read(self, images: Sequence[np.ndarray], words: Sequence[str]) -> WordReading:
        """As `WordJudge.read`."""
        refuse_unknown(self, words)
        parts = [np.zeros((0, len(words)), np.float32)]
        for start in range(0, len(images), _BATCH):
            chunk = [np.asarray(image) for image in images[start : start + _BATCH]]
            pixels = self.processor(images=chunk, return_tensors="pt")["pixel_values"]
            with torch.inference_mode():
                seen = self.model.vision_model(pixel_values=pixels.to(self.device))[0]
                answers = [self._yes(seen, QUESTION.format(word=word)) for word in words]
                columns = torch.stack(answers, 1) if answers else seen.new_zeros(len(chunk), 0)
            parts.append(columns.cpu().numpy())
        probability = np.concatenate(parts)
        return WordReading(probability, probability >= 0.5)

    def _yes(self, pictures: Tensor, question: str) -> Tensor:
        """Probability of "yes" against "no", (n,), for encoded pictures (n, patches, width)."""
        count = len(pictures)
        text = self.tokenizer(question, return_tensors="pt").to(self.device)
        asked = self.model.text_encoder(
            input_ids=text["input_ids"].expand(count, -1),
            attention_mask=text["attention_mask"].expand(count, -1),
            encoder_hidden_states=pictures,
            encoder_attention_mask=pictures.new_ones(pictures.shape[:2], dtype=torch.long),
        )[0]
        start = text["input_ids"].new_full((count, 1), self.model.decoder_start_token_id)
        logits = self.model.text_decoder(
            input_ids=start,
            encoder_hidden_states=asked,
            encoder_attention_mask=text["attention_mask"].expand(count, -1),
        ).logits[:, -1]
        both = self.tokenizer.convert_tokens_to_ids(list(_ANSWERS))
        return logits[:, both].float().softmax(dim=1)[:, 0]


def load(weights: Weights, device: str) -> Mapping[str, BlipWords]:
    """The judge of words in a folder with a `BlipForQuestionAnswering` and its processor.

    Raises FamilyError if the folder holds no such model, no safetensors weights, or a tokenizer
    that does not know the answers.
    """
    import transformers

    place = weights.place
    plain = {"trust_remote_code": False, **place.plain_keywords}
    # The Pillow processor gives the same pixels whether or not torchvision is installed.
    pictures = getattr(transformers, "BlipImageProcessorPil", transformers.BlipImageProcessor)
    with quiet_libraries(), told_plainly(place.name, f"a model for {weights.ref.loader}"):
        processor = pictures.from_pretrained(place.name, **plain)
        tokenizer = transformers.AutoTokenizer.from_pretrained(place.name, **plain)
        model = transformers.BlipForQuestionAnswering.from_pretrained(
            place.name, dtype=torch.float32, **place.weights_keywords
        )
    if tokenizer.unk_token_id in tokenizer.convert_tokens_to_ids(list(_ANSWERS)):
        raise FamilyError(f"{place.name}: its tokenizer does not know the answers yes and no")
    model = model.eval().requires_grad_(False).to(device)
    name = f'{weights.ref.title}, asked "{QUESTION.format(word="…")}"'
    return {WORDS: BlipWords(model, tokenizer, processor, device, name)}
