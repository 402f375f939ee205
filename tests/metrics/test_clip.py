"""Protects the CLIP score: cosine by hand, torchmetrics through the adapter, honest truncation.

All on a tiny CLIP model with random weights and a tokenizer made on the spot: no network.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.multimodal import clip_score
from torchmetrics.multimodal import CLIPScore

from benchmarks.lent_clip import torchmetrics_clip
from workbench.metrics.clip import (
    ClipDiversity,
    ClipSimilarity,
    TagObeyed,
    TagProbability,
    TokenCount,
    clip_diversity,
    clip_similarity,
    tag_obeyed,
    tag_probability,
    truncate_ids,
)

LIMIT = 20
SHORT = "a girl, long hair"
LONG = ", ".join(["a girl", "long hair", "snow"] * 6)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Any]:
    """A tiny random CLIPModel with tokenizer and image processor."""
    from transformers import (
        CLIPConfig,
        CLIPImageProcessor,
        CLIPModel,
        CLIPTextConfig,
        CLIPTokenizer,
        CLIPVisionConfig,
    )

    letters = [chr(code) for code in range(33, 127)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    folder = tmp_path_factory.mktemp("tokenizer")
    vocabulary = {word: index for index, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    shape = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    text = CLIPTextConfig(
        **shape,
        vocab_size=len(words),
        max_position_embeddings=LIMIT,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    vision = CLIPVisionConfig(**shape, image_size=32, patch_size=8)
    torch.manual_seed(0)
    model = CLIPModel(
        CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16)
    ).eval()
    with torch.no_grad():  # the usual small start makes all pictures look nearly alike
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)
    size = {"height": 32, "width": 32}
    return model, tokenizer, CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size)


def pictures(count: int) -> torch.Tensor:
    return torch.randint(
        0, 256, (count, 3, 40, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def embeddings(
    clip: tuple[Any, Any, Any], images: torch.Tensor, texts: list[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings straight from the towers of the model."""
    model, tokenizer, processor = clip
    with torch.no_grad():
        arrays = [image.permute(1, 2, 0).numpy() for image in images]
        pixels = processor(images=arrays, return_tensors="pt")["pixel_values"]
        image = model.visual_projection(model.vision_model(pixels).pooler_output)
        rows = []
        for text in texts:
            ids = tokenizer(text, truncation=True, max_length=LIMIT, return_tensors="pt")
            rows.append(model.text_projection(model.text_model(**ids).pooler_output))
    return image, torch.cat(rows)


def by_hand(a: torch.Tensor, b: torch.Tensor) -> list[float]:
    out = []
    for u, v in zip(a.tolist(), b.tolist(), strict=True):
        dot = sum(x * y for x, y in zip(u, v, strict=True))
        lengths = math.sqrt(sum(x * x for x in u)) * math.sqrt(sum(y * y for y in v))
        out.append(max(100 * dot / lengths, 0))
    return out


def test_similarity_is_the_cosine_by_hand(clip: tuple[Any, Any, Any]) -> None:
    texts = [SHORT, "snow", LONG, "", "a boy", "winter"]
    image, text = embeddings(clip, pictures(6), texts)
    ours = clip_similarity(image, text)
    assert ours.tolist() == pytest.approx(by_hand(image, text), abs=1e-4)
    assert len({round(value, 3) for value in ours.tolist()}) > 2
    assert clip_similarity(image.numpy(), text.numpy()).tolist() == pytest.approx(ours.tolist())


def test_similarity_is_that_of_the_model_itself(clip: tuple[Any, Any, Any]) -> None:
    model, tokenizer, processor = clip
    image, text = embeddings(clip, pictures(1), [SHORT])
    pixels = processor(images=[pictures(1)[0].permute(1, 2, 0).numpy()], return_tensors="pt")
    with torch.no_grad():
        out = model(**tokenizer(SHORT, return_tensors="pt"), pixel_values=pixels["pixel_values"])
    cosine = float(out.logits_per_image / model.logit_scale.detach().exp())
    assert float(clip_similarity(image, text)) == pytest.approx(max(100 * cosine, 0), abs=1e-3)


@pytest.mark.parametrize("text", [SHORT, "", "snow", LONG])
def test_torchmetrics_through_the_adapter(clip: tuple[Any, Any, Any], text: str) -> None:
    lent = torchmetrics_clip(*clip)
    for picture in pictures(3):
        theirs = clip_score(picture, text, model_name_or_path=lent).detach()
        image, words = embeddings(clip, picture[None], [text])
        assert float(clip_similarity(image, words)) == pytest.approx(float(theirs), abs=1e-3)


def test_torchmetrics_class_through_the_adapter(clip: tuple[Any, Any, Any]) -> None:
    metric = CLIPScore(model_name_or_path=torchmetrics_clip(*clip))
    images, texts = pictures(3), [SHORT, "snow", LONG]  # of unequal lengths, so padding counts
    metric.update(images, texts)
    a, b = embeddings(clip, images, texts)
    cosines = torch.nn.functional.cosine_similarity(a, b)
    assert float(metric.compute()) == pytest.approx(max(100 * float(cosines.mean()), 0), abs=1e-3)


@pytest.mark.filterwarnings("ignore:Encountered caption longer")
def test_torchmetrics_alone_still_has_the_faults_the_adapter_is_for(
    clip: tuple[Any, Any, Any],
) -> None:
    """When this fails, the workaround may go."""
    model, tokenizer, processor = clip

    def plain(text: Any = None, images: Any = None, **_: Any) -> Any:
        if images is not None:
            arrays = [image.permute(1, 2, 0).numpy() for image in images]
            return processor(images=arrays, return_tensors="pt")
        return tokenizer(text, padding=True, return_tensors="pt")

    with pytest.raises(AttributeError):
        clip_score(pictures(1)[0], SHORT, model_name_or_path=lambda: (model, plain))
    adapted, _ = torchmetrics_clip(*clip)()
    texts: list[str] = [SHORT, LONG]
    ours = torchmetrics_clip(*clip)()[1]
    fair = clip_score(texts, ["snow"] * 2, model_name_or_path=lambda: (adapted, ours))
    cut = clip_score(texts, ["snow"] * 2, model_name_or_path=lambda: (adapted, plain))
    assert abs(float(fair) - float(cut)) > 0.01


def test_a_long_text_keeps_its_end(clip: tuple[Any, Any, Any]) -> None:
    _, tokenizer, _ = clip
    ids = tokenizer(LONG)["input_ids"]
    kept, count = truncate_ids(ids, LIMIT)
    assert count == TokenCount(tokens=len(ids), truncated=True)
    assert kept == tokenizer(LONG, truncation=True, max_length=LIMIT)["input_ids"]
    assert (kept[0], kept[-1], len(kept)) == (0, 1, LIMIT)


@settings(deadline=None)
@given(st.lists(st.integers(2, 99), max_size=30), st.integers(2, 20))
def test_truncation_in_general(words: list[int], limit: int) -> None:
    ids = [0, *words, 1]
    kept, count = truncate_ids(ids, limit)
    assert len(kept) == min(len(ids), limit)
    assert (kept[0], kept[-1]) == (0, 1)
    assert kept[:-1] == ids[: len(kept) - 1]
    assert count == TokenCount(len(ids), len(ids) > limit)


def test_truncation_needs_room_for_both_ends() -> None:
    with pytest.raises(ValueError, match="room"):
        truncate_ids([0, 5, 1], 1)


def test_range_symmetry_and_identity() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((50, 8)), rng.standard_normal((50, 8))
    there = clip_similarity(a, b)
    assert torch.equal(there, clip_similarity(b, a))
    assert float(there.min()) == 0
    assert clip_similarity(a, 3 * a).tolist() == pytest.approx([100] * 50)
    assert float(clip_similarity(a, -a).max()) == 0
    far = [float(clip_similarity(a, a + noise * b).mean()) for noise in (0, 0.3, 1, 3)]
    assert far == sorted(far, reverse=True)


def test_tag_probability_is_a_softmax_by_hand() -> None:
    image = np.array([[1.0, 0.0], [0.0, 2.0]])
    tags = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    first = [math.exp(5 * c) for c in (1, math.sqrt(0.5), 0)]
    got = tag_probability(image, tags, 0, logit_scale=5)
    assert got.tolist() == pytest.approx([first[0] / sum(first), first[2] / sum(first)])
    total = sum(tag_probability(image, tags, k) for k in range(3))
    assert torch.as_tensor(total).tolist() == pytest.approx([1, 1])
    even = tag_probability(image, np.ones((4, 2)), 2)
    assert even.tolist() == pytest.approx([0.25, 0.25])
    with pytest.raises(ValueError, match="alternative"):
        tag_probability(image, tags[:1], 0)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones((2, 3)), np.ones((3, 3)), "one shape"),
        (np.ones(3), np.ones(3), "N×D"),
        (np.zeros((1, 3)), np.ones((1, 3)), "zero or not finite"),
        (np.ones((1, 3)), np.full((1, 3), np.nan), "zero or not finite"),
    ],
)
def test_wrong_input_is_refused(a: np.ndarray, b: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clip_similarity(a, b)


def test_the_metric_is_the_mean_of_its_twin() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((9, 8)), rng.standard_normal((9, 8))
    metric = ClipSimilarity()
    metric.update(a[:4], b[:4])
    metric.update(torch.from_numpy(a[4:]), torch.from_numpy(b[4:]))
    assert float(metric.compute()) == pytest.approx(float(clip_similarity(a, b).mean()))
    assert metric.higher_is_better is True


def unit(seed: int, count: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, 8))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_tags_are_averaged_over_pictures() -> None:
    images, tags = unit(1, 20), unit(2, 4)
    probable, obeyed = TagProbability(logit_scale=3), TagObeyed()
    for part in (images[:7], images[7:]):
        probable.update(part, tags)
        obeyed.update(torch.from_numpy(part), torch.from_numpy(tags))
    first = tag_probability(images, tags, 0, 3)
    best = (images @ tags.T).argmax(axis=1) == 0
    assert tag_obeyed(images, tags).tolist() == best.tolist()
    assert 0 < best.mean() < 1
    assert float(probable.compute()) == pytest.approx(float(first.mean()))
    assert float(obeyed.compute()) == pytest.approx(best.mean())
    assert tag_obeyed(images, tags[[0, 0]]).all(), "a tie counts for the tag"


def test_diversity_is_the_mean_over_pairs() -> None:
    group = unit(3, 5)
    pairs = [1 - float(a @ b) for i, a in enumerate(group) for b in group[:i]]
    assert float(clip_diversity(group).mean()) == pytest.approx(np.mean(pairs))
    assert clip_diversity(np.repeat(group[:1], 3, axis=0)).tolist() == pytest.approx([0] * 3)
    metric = ClipDiversity()
    metric.update(group)
    metric.update(group[:1])  # one picture alone has no diversity
    assert float(metric.compute()) == pytest.approx(np.mean(pairs))
