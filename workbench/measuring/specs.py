"""Name plates of the metrics that belong to no control type, and what chance and ceiling mean."""

from __future__ import annotations

from workbench.metrics.spec import MetricSpec

LOST = (
    "what one of two maps holds and the other lost counts in full, and two maps that hold nothing "
    "(no person, no edge) have no distance"
)
WORDS_OBEYED = MetricSpec(
    name="words",
    label="Words of the prompt that are obeyed",
    higher_is_better=True,
    high=1.0,
    protocol=(
        "mean over the words kept of (obeyed - chance) / (1 - chance), each word by the family's "
        "judge of words: 1 = every word is to be seen, 0 = as many as in unrelated pictures, below "
        "0 = fewer; the same at every prompt length"
    ),
)
CLIP_USED = MetricSpec.of(
    "ClipSimilarity",
    "clip_used",
    "CLIP score against the prompt used",
    (
        "100 × cosine of picture and prompt, as torchmetrics' CLIPScore but not cut off at 0; "
        "prompts of different lengths are different scales, whose scores cannot be compared"
    ),
)
CLIP_FULL = MetricSpec.of(
    "ClipSimilarity",
    "clip_full",
    "CLIP score against the full prompt",
    "100 × cosine of picture and full prompt, whatever part of the prompt was used",
)
CLIP_SOURCE = MetricSpec.of(
    "ClipSimilarity",
    "clip_source",
    "CLIP similarity to the source",
    "100 × cosine of sample and source picture",
)
TAG = MetricSpec.of(
    "TagProbability",
    "tag",
    "Tag score",
    "the probability that the family's judge of words gives; without one, softmax at CLIP's own "
    "temperature over the tag alone and each of its alternatives alone (those of the study, else "
    "the others of its group); for a word without alternatives, a weaker question, the full "
    "prompt with the word against the prompt without it",
)
TAG_OBEYED = MetricSpec.of(
    "TagObeyed",
    "tag_obeyed",
    "Tag obeyed",
    "1 where the judge of words sees the tag, or CLIP scores none of its alternatives higher, "
    "else 0",
)
TAG_SOURCE = MetricSpec(
    name="tag_source",
    label="Tag shown by the source",
    higher_is_better=True,
    low=0.0,
    high=1.0,
    protocol="1 where the source picture itself shows the tag, by the same judge, else 0",
)
DIVERSITY_LOOKS = MetricSpec.of(
    "ClipDiversity",
    "diversity_looks",
    "Diversity of looks across seeds",
    "mean of 1 - cosine of CLIP picture embeddings to the pictures of the other seeds",
)
DIVERSITY_STRUCTURE = MetricSpec(
    name="diversity_structure",
    label="Structural diversity across seeds",
    higher_is_better=True,
    low=0.0,
    protocol=(
        "mean distance of the control map to the maps of the other seeds: 1 - the control's "
        "primary metric, or the metric itself where lower is better; "
        f"{LOST}"
    ),
)
BASES_STRUCTURE = MetricSpec(
    name="bases_structure",
    label="Structural difference between base models",
    higher_is_better=False,
    low=0.0,
    protocol=(
        "mean distance of the control map to the maps of the other base models' pictures of the "
        "same source, prompt, scale and seed: 1 - the control's primary metric, or the metric "
        "itself where lower is better; "
        f"{LOST}"
    ),
)
BASES_POSE = MetricSpec(
    name="bases_pose",
    label="Pose difference between base models",
    higher_is_better=False,
    low=0.0,
    high=1.0,
    protocol=(
        "1 - PCK@0.2 of the figures in the pictures of two base models with the same source, "
        "prompt, scale and seed: the share of joints farther apart than 0.2 torso lengths; "
        f"{LOST}"
    ),
)

COMMON: dict[str, MetricSpec] = {
    spec.name: spec
    for spec in (
        WORDS_OBEYED,
        CLIP_USED,
        CLIP_FULL,
        CLIP_SOURCE,
        TAG,
        TAG_OBEYED,
        TAG_SOURCE,
        DIVERSITY_LOOKS,
        DIVERSITY_STRUCTURE,
        BASES_STRUCTURE,
        BASES_POSE,
    )
}

DEFINITIONS: dict[str, str] = {
    "adherence": (
        "(value - chance) / (ceiling - chance): 0 = ignored, 1 = as good as can be measured. "
        "Not given where ceiling and chance lie too close together to tell."
    ),
    "chance (control)": (
        "The mean agreement of the source's map with the maps of unrelated pictures; where lines "
        "are paired one to one, that with white noise of as many pixels, if it is more. The "
        "embedded world takes 16 rendered scenes that are used nowhere else; other families take "
        "the study's other sources. All of them are pushed once through the VAE (with several base "
        "models, through that of the first, so that all share one scale)."
    ),
    "ceiling (control)": (
        "The agreement of the source's map with the map of the source pushed once through the VAE. "
        "Behind a source that is itself a drawn map there is no picture: its ceiling is the "
        "agreement of the map with itself."
    ),
    "chance (prompt)": (
        "The mean score of the same unrelated pictures with the prompt. A word of the embedded "
        "world has the chance of one in as many as its group holds, as unrelated scenes show each "
        "alike often."
    ),
    "ceiling (prompt)": (
        "The embedded world: the mean score of 8 scenes rendered to have the prompt's tags and "
        "pushed once through the VAE. Other families: the mean score of the study's own text-only "
        "pictures (scale 0) of that prompt, from all its base models."
    ),
    "chance (difference)": (
        "How far apart unrelated pictures are: the mean distance of the source, pushed once "
        "through the VAE, from the unrelated pictures above, by control map, by CLIP embedding "
        "(looks) or by joints (pose)."
    ),
    "ceiling (difference)": (
        "How far apart equal pictures are: the same distance of the source pushed once through "
        "the VAE from itself pushed through it twice. A difference has no adherence: no value of "
        "it is the best."
    ),
}
"""Term -> its definition, for reports."""


def metric_spec(name: str) -> MetricSpec:
    """The name plate of any metric that occurs in a frame.

    "tag:long hair" and "tag_obeyed:long hair" give the plates of all tags. KeyError if no control
    type and none of the common metrics has that name.
    """
    head = name.partition(":")[0]
    if head in COMMON:
        return COMMON[head]
    from workbench.controls import CONTROL_NAMES, get_control

    for control in CONTROL_NAMES:
        for spec in get_control(control).metrics:
            if spec.name == name:
                return spec
    raise KeyError(f"there is no metric {name!r}")
