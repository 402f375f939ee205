"""Segmentation by models of transformers: UperNet, SegFormer, DPT, BEiT, Mask2Former, MaskFormer.

The classes are those of the model's training: ADE20K's 150, in the order of the benchmark, for
the models that the catalogue names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from workbench.families.annotators import Network
from workbench.families.annotators._models import config_of, load_model
from workbench.families.annotators.pictures import BATCH
from workbench.families.annotators.weights import Weights
from workbench.families.spec import FamilyError

_MASKS = frozenset({"mask2former", "maskformer"})
_MOST_CLASSES = 256


def load(weights: Weights, device: str) -> Mapping[str, Network]:
    """The network "segmentation": uint8 N×H×W, class numbers.

    Panoptic models are read as semantic ones: every pixel gets the class with the largest sum of
    its masks. FamilyError for a model with more than 256 classes or of another kind.
    """
    import transformers
    from transformers.models.auto import modeling_auto as known

    config = config_of(weights)
    kind, name = config.model_type, weights.place.name
    if kind not in _MASKS and kind not in known.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES:
        raise FamilyError(f"{name}: a model of the kind {kind} is not read here")
    if config.num_labels > _MOST_CLASSES:
        raise FamilyError(f"{name}: has {config.num_labels} classes, more than {_MOST_CLASSES}")
    if kind in _MASKS:
        automatic = transformers.AutoModelForUniversalSegmentation
    else:
        automatic = transformers.AutoModelForSemanticSegmentation
    model, processor = load_model(weights, automatic, device)
    choose = _by_masks(processor) if kind in _MASKS else _by_scores

    def segmentation(rgb: np.ndarray) -> np.ndarray:
        size = (int(rgb.shape[1]), int(rgb.shape[2]))
        parts = [np.zeros((0, *size), np.uint8)]
        for start in range(0, len(rgb), BATCH):
            fed = processor(images=list(rgb[start : start + BATCH]), return_tensors="pt")
            with torch.inference_mode():
                answer = model(**{key: value.to(device) for key, value in fed.items()})
                parts.append(choose(answer, size).to(torch.uint8).cpu().numpy())
        return np.concatenate(parts)

    return {"segmentation": segmentation}


def _by_scores(answer: Any, size: tuple[int, int]) -> Tensor:
    return interpolate(answer.logits.float(), size=size, mode="bilinear").argmax(dim=1)


def _by_masks(processor: Any) -> Callable[[Any, tuple[int, int]], Tensor]:
    def choose(answer: Any, size: tuple[int, int]) -> Tensor:
        count = len(answer.class_queries_logits)
        found = processor.post_process_semantic_segmentation(answer, target_sizes=[size] * count)
        return torch.stack(list(found))

    return choose
