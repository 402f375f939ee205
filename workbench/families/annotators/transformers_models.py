"""Depth and segmentation by models of transformers, from a folder or a hub, in float32.

Depth is read by any model of `AutoModelForDepthEstimation`: DPT, Depth Anything (V2), ZoeDepth, …
Segmentation by UperNet, SegFormer, DPT, BEiT, Mask2Former and MaskFormer. Its classes are those of
the model's training: ADE20K's 150, in the order of the benchmark, for the models of the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from workbench.families.annotators.pictures import BATCH
from workbench.families.annotators.weights import Weights
from workbench.families.catalogue import FamilyError
from workbench.families.loaders import Network
from workbench.families.quiet import quiet_libraries, told_plainly

_METRIC = frozenset({"zoedepth", "glpn", "depth_pro", "prompt_depth_anything"})
_NEAREST = 1e-3
_MASKS = frozenset({"mask2former", "maskformer"})
_MOST_CLASSES = 256
_ANY_SIZE = frozenset({"mask2former", "maskformer", "segformer", "upernet"})
_STRIDE = 32


def depth(weights: Weights, device: str) -> Mapping[str, Network]:
    """The network "depth": inverse depth, larger is nearer, at the size the model gives.

    DPT and Depth Anything give inverse depth up to scale and shift. Models that give metres
    (`depth_estimation_type: metric`, ZoeDepth, Depth Pro, GLPN) are turned into 1 / metres.
    """
    from transformers import AutoModelForDepthEstimation

    model, processor = _load(weights, AutoModelForDepthEstimation, device)
    metric = gives_metres(model.config)

    def network(rgb: np.ndarray) -> np.ndarray:
        parts = [np.zeros((0, *rgb.shape[1:3]), np.float32)] if not len(rgb) else []
        for answer in _answers(model, processor, rgb, device):
            found = answer.predicted_depth.float()
            parts.append((1 / found.clamp_min(_NEAREST) if metric else found).cpu().numpy())
        return np.concatenate(parts)

    return {"depth": network}


def gives_metres(config: Any) -> bool:
    """Whether a model's answers grow with the distance."""
    kind = getattr(config, "depth_estimation_type", "relative")
    return kind == "metric" or config.model_type in _METRIC


def segmentation(weights: Weights, device: str) -> Mapping[str, Network]:
    """The network "segmentation": uint8 N×H×W, class numbers.

    Panoptic models are read as semantic ones: every pixel gets the class with the largest sum of
    its masks. Where the family's pictures are larger than those it was trained on, a model that
    reads any size reads them at their own. FamilyError for a model with more than 256 classes or of
    another kind.
    """
    import transformers
    from transformers.models.auto import modeling_auto as known

    place = weights.place
    with told_plainly(place.name, f"a model for {weights.ref.loader}"):
        config = transformers.AutoConfig.from_pretrained(
            place.name, trust_remote_code=False, **place.plain_keywords
        )
    kind = config.model_type
    if kind not in _MASKS and kind not in known.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES:
        raise FamilyError(f"{place.name}: a model of the kind {kind} is not read here")
    if config.num_labels > _MOST_CLASSES:
        raise FamilyError(
            f"{place.name}: has {config.num_labels} classes, more than {_MOST_CLASSES}"
        )
    if kind in _MASKS:
        automatic = transformers.AutoModelForUniversalSegmentation
    else:
        automatic = transformers.AutoModelForSemanticSegmentation
    model, processor = _load(weights, automatic, device)
    choose = _by_masks(processor) if kind in _MASKS else _by_scores

    def network(rgb: np.ndarray) -> np.ndarray:
        size = (int(rgb.shape[1]), int(rgb.shape[2]))
        parts = [np.zeros((0, *size), np.uint8)]
        larger = _larger(size, processor, weights.resolution) if kind in _ANY_SIZE else {}
        for answer in _answers(model, processor, rgb, device, **larger):
            parts.append(choose(answer, size).to(torch.uint8).cpu().numpy())
        return np.concatenate(parts)

    return {"segmentation": network}


def _answers(
    model: Any, processor: Any, rgb: np.ndarray, device: str, **size: Any
) -> Iterator[Any]:
    """What a model answers to pictures uint8 N×H×W×3, a batch at a time."""
    for start in range(0, len(rgb), BATCH):
        fed = processor(images=list(rgb[start : start + BATCH]), return_tensors="pt", **size)
        with torch.inference_mode():
            answer = model(**{key: value.to(device) for key, value in fed.items()})
        yield answer


def _larger(size: tuple[int, int], processor: Any, resolution: int) -> dict[str, Any]:
    """Keywords of the processor for pictures H×W of a family whose pictures are larger than those
    that the model was trained on; none where they are not."""
    own = dict(processor.size)
    side = own.get("shortest_edge") or min(own.get("height", resolution), own.get("width", 0))
    if not 0 < side < resolution:
        return {}
    scale = resolution / min(size)
    height, width = (max(_STRIDE, round(length * scale / _STRIDE) * _STRIDE) for length in size)
    return {"size": {"height": height, "width": width}}


def _by_scores(answer: Any, size: tuple[int, int]) -> Tensor:
    return interpolate(answer.logits.float(), size=size, mode="bilinear").argmax(dim=1)


def _by_masks(processor: Any) -> Callable[[Any, tuple[int, int]], Tensor]:
    def choose(answer: Any, size: tuple[int, int]) -> Tensor:
        count = len(answer.class_queries_logits)
        found = processor.post_process_semantic_segmentation(answer, target_sizes=[size] * count)
        return torch.stack(list(found))

    return choose


def _load(weights: Weights, automatic: Any, device: str) -> tuple[Any, Any]:
    """A model of one of transformers' `AutoModelFor…` classes and its picture processor.

    The processor is the one on Pillow, which gives the same pixels everywhere. Raises FamilyError
    if the folder holds no such model, or no safetensors weights.
    """
    from transformers import AutoImageProcessor

    place = weights.place
    with quiet_libraries(), told_plainly(place.name, f"a model for {weights.ref.loader}"):
        processor = AutoImageProcessor.from_pretrained(
            place.name, use_fast=False, trust_remote_code=False, **place.plain_keywords
        )
        model = automatic.from_pretrained(
            place.name, trust_remote_code=False, dtype=torch.float32, **place.weights_keywords
        )
    return model.eval().requires_grad_(False).to(device), processor
