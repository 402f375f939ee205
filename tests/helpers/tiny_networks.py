"""Networks that read pictures, one of every kind of loader, in the layout of a models folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from annotator_files import FOLDER, write_annotator

from workbench.families.judge import Judge, save_judge
from workbench.families.quiet import quiet_libraries

CLASSES = 7
NETWORKS: dict[str, dict[str, Any]] = {
    "edges": {"loader": "hed", "path": FOLDER, "side": 64},
    "depth": {"loader": "depth-transformers", "path": "some/dpt"},
    "normal": {"loader": "judge", "path": "some/judge"},
    "pose": {"loader": "judge", "path": "some/judge"},
    "segmentation": {"loader": "segmentation-transformers", "path": "some/segformer"},
    "lines": {"loader": "mlsd", "path": FOLDER, "side": 64},
    "lineart": {"loader": "lineart", "path": FOLDER, "side": 64},
}
"""Entries of a catalogue for what the functions below write."""


def write_annotators(models: Path) -> None:
    """Write the weight files of `NETWORKS`, which are as large as the published ones."""
    for loader in ("hed", "mlsd", "lineart"):
        write_annotator(loader, models)


def write_networks(models: Path) -> None:
    """Write the model folders of `NETWORKS`, which are tiny, with random weights."""
    torch.manual_seed(50)
    save(dpt(), models / "some" / "dpt")
    save(segformer(150), models / "some" / "segformer")
    save_judge(Judge((8, 8, 8, 8)), models / "some" / "judge")
    blip(models / "some" / "blip")


def dpt() -> tuple[Any, Any]:
    """A depth model and its processor."""
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

    config = DPTConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=37,
        image_size=32,
        patch_size=8,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[16, 16, 32, 32],
        fusion_hidden_size=16,
    )
    return DPTForDepthEstimation(config), DPTImageProcessor(size={"height": 32, "width": 32})


def segformer(labels: int = CLASSES) -> tuple[Any, Any]:
    """A segmentation model and its processor."""
    from transformers import (
        SegformerConfig,
        SegformerForSemanticSegmentation,
        SegformerImageProcessor,
    )

    config = SegformerConfig(
        hidden_sizes=[8, 16, 16, 32],
        depths=[1, 1, 1, 1],
        decoder_hidden_size=16,
        num_attention_heads=[1, 1, 2, 2],
        num_labels=labels,
    )
    processor = SegformerImageProcessor(size={"height": 64, "width": 64})
    return SegformerForSemanticSegmentation(config), processor


def depth_anything(kind: str = "relative") -> tuple[Any, Any]:
    """A Depth Anything and its processor; kind: "relative" or "metric"."""
    from transformers import (
        DepthAnythingConfig,
        DepthAnythingForDepthEstimation,
        Dinov2Config,
        DPTImageProcessor,
    )

    backbone = Dinov2Config(
        image_size=32,
        patch_size=8,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=8,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=10 if kind == "metric" else 1,
    )
    processor = DPTImageProcessor(size={"height": 32, "width": 32}, ensure_multiple_of=8)
    return DepthAnythingForDepthEstimation(config), processor


def upernet(labels: int = CLASSES) -> tuple[Any, Any]:
    """An UperNet on ConvNeXt and its processor."""
    from transformers import (
        ConvNextConfig,
        SegformerImageProcessor,
        UperNetConfig,
        UperNetForSemanticSegmentation,
    )

    backbone = ConvNextConfig(
        hidden_sizes=[8, 16, 16, 32],
        depths=[1, 1, 1, 1],
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = UperNetConfig(
        backbone_config=backbone,
        hidden_size=16,
        auxiliary_in_channels=16,
        auxiliary_channels=16,
        num_labels=labels,
    )
    processor = SegformerImageProcessor(size={"height": 64, "width": 64})
    return UperNetForSemanticSegmentation(config), processor


def mask2former(labels: int = CLASSES) -> tuple[Any, Any]:
    """A Mask2Former on Swin and its processor."""
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
        SwinConfig,
    )

    swin = SwinConfig(
        image_size=64,
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=swin,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        encoder_layers=1,
        decoder_layers=2,
        dim_feedforward=32,
        num_attention_heads=2,
        num_queries=6,
        num_labels=labels,
    )
    processor = Mask2FormerImageProcessor(
        size={"height": 64, "width": 64}, num_labels=labels, ignore_index=255
    )
    return Mask2FormerForUniversalSegmentation(config), processor


def save(made: tuple[Any, Any], folder: Path) -> Any:
    """A folder as `save_pretrained` leaves it; gives the model back."""
    model, processor = made
    with quiet_libraries():
        model.eval().save_pretrained(folder, safe_serialization=True)
        processor.save_pretrained(folder)
    return model


def blip(folder: Path, words: tuple[str, ...] = ("yes", "no")) -> None:
    """Write a tiny BLIP for questions; its tokenizer knows these words and single letters."""
    from transformers import (
        BertTokenizerFast,
        BlipConfig,
        BlipForQuestionAnswering,
        BlipImageProcessor,
    )

    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "?"]
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocabulary = [*marks, *words, *letters, *(f"##{letter}" for letter in letters)]
    text = {
        "vocab_size": len(vocabulary),
        "hidden_size": 32,
        "encoder_hidden_size": 32,
        "intermediate_size": 37,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 128,
        "bos_token_id": marks.index("[DEC]"),
        "sep_token_id": marks.index("[SEP]"),
        "pad_token_id": 0,
        "initializer_range": 0.3,
    }
    vision = {
        "image_size": 32,
        "patch_size": 8,
        "hidden_size": 32,
        "intermediate_size": 37,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "initializer_range": 0.3,
    }
    model = BlipForQuestionAnswering(BlipConfig(text_config=text, vision_config=vision))
    save((model, BlipImageProcessor(size={"height": 32, "width": 32})), folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary), "utf-8")
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
