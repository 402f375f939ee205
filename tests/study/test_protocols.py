"""Protects: a protocol fixes what it is about, and a study that contradicts it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workbench.images import encode_png
from workbench.paths import data_dir
from workbench.study import Study, StudyError, make_plan, single_study
from workbench.study.yamlfile import parse_yaml, read_text

NAME = "controlnet-plus-plus"
GIVEN: dict[str, Any] = {
    "name": "x",
    "protocol": NAME,
    "base": ["v1-5"],
    "sources": ["a.png"],
    "controls": ["canny", "depth"],
    "captions": {"a.png": "a cat, on a table"},
}


def problems(**changes: Any) -> tuple[str, ...]:
    with pytest.raises(StudyError) as caught:
        Study.from_dict(GIVEN | changes)
    return caught.value.problems


def test_it_fills_in_what_the_paper_fixed() -> None:
    study = Study.from_dict(GIVEN)
    assert (study.family, study.steps, study.guidance_scale) == ("sd15", 20, 7.5)
    assert (study.scheduler, study.scales, len(study.seeds)) == ("unipc", (1.0,), 4)
    assert study.negative_prompt == "worst quality, low quality"
    assert study.controls[0].settings == {"low": 100, "high": 200, "blur": 0, "tolerance": 0}
    assert study.judges == {"clip": "vit-b-16", "depth": "dpt-large"}


def test_a_study_that_says_the_same_is_the_same() -> None:
    study = Study.from_dict(GIVEN)
    again = Study.from_dict(parse_yaml(study.to_yaml(), name="x.yaml"))
    assert again == study
    assert again.hash == study.hash
    assert Study(**GIVEN, dtype=study.dtype) == study, "dtype is the family's, not the protocol's"


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({"steps": 30}, "steps: 30 contradicts the protocol controlnet-plus-plus; allowed: 20"),
        ({"guidance_scale": 5}, "guidance_scale: 5 contradicts"),
        ({"scheduler": "ddim"}, "scheduler: 'ddim' contradicts"),
        ({"scales": [1, 2]}, "scales: [1, 2] contradicts"),
        ({"negative_prompt": ""}, "negative_prompt: '' contradicts"),
        ({"seeds": [1, 2]}, "seeds: 2 seeds contradict"),
        ({"controls": ["pose"]}, "controls[0]: 'pose' is not part of the protocol"),
        ({"controls": [{"pair": ["canny", "depth"]}]}, "controls[0]: 'a pair' is not part"),
        (
            {"controls": [{"type": "canny", "settings": {"low": 50}}]},
            "controls[0].settings.low: 50 contradicts",
        ),
        ({"judges": {"clip": "vit-l-14"}}, "judges.clip: 'vit-l-14' contradicts"),
        ({"family": "sdxl", "base": ["v1-0"]}, "family: sdxl draws pictures of 1024 pixels"),
    ],
)
def test_a_contradiction_is_told_by_its_field(changes: dict[str, Any], start: str) -> None:
    found = problems(**changes)
    assert any(line.startswith(start) for line in found), found


def test_all_contradictions_come_at_once() -> None:
    found = problems(steps=30, guidance_scale=5, judges={"clip": "vit-l-14"}, nam="y")
    assert {line.split(":")[0] for line in found} == {
        "steps",
        "guidance_scale",
        "judges.clip",
        "nam",
    }


def test_an_unknown_protocol_or_judge_is_refused() -> None:
    assert "protocol" in problems(protocol="controlnet++")[0]
    plain = {key: value for key, value in GIVEN.items() if key != "protocol"} | {"family": "sd15"}
    with pytest.raises(StudyError, match=r'judges.clip: there is no clip judge .* "vit-b-61"'):
        Study.from_dict(plain | {"judges": {"clip": "vit-b-61"}})
    with pytest.raises(StudyError, match=r"judges: there is no choice of judges"):
        Study.from_dict(plain | {"judges": {"dept": "dpt-large"}})


def test_captions_need_one_a_source_and_nothing_that_varies_the_prompt() -> None:
    base = {"name": "x", "sources": ["paperdoll:1", "paperdoll:2"], "controls": ["depth"]}
    one = {"paperdoll:1": "a cat"}
    both = one | {"paperdoll:2": "a dog, running"}
    assert Study(**base, captions=both).prompt == ("caption",)
    with pytest.raises(StudyError, match="paperdoll:2 has none"):
        Study(**base, captions=one)
    with pytest.raises(StudyError, match="paperdoll:3: is not among the sources"):
        Study(**base, captions=both | {"paperdoll:3": "a cow"})
    with pytest.raises(StudyError, match="extra_prompts: cannot be varied"):
        Study(**base, captions=both, extra_prompts={"empty": []})
    with pytest.raises(StudyError, match="shortening: does not go together"):
        Study(**base, captions=both, shortening="random")
    with pytest.raises(StudyError, match="prompt: is missing"):
        Study(**base)


def test_each_source_is_drawn_with_its_own_caption() -> None:
    captions = {"paperdoll:1": "a cat", "paperdoll:2": "a dog, running"}
    study = Study(name="x", sources=list(captions), controls=["depth"], captions=captions)
    plan = make_plan(study, resolution=64)
    trials = plan.trials_by_id
    assert len(plan.cells) == 2
    for cell in plan.cells:
        text = captions[cell.source]
        assert trials[cell.trial_id].prompt == cell.full_prompt == cell.variant.text == text
        assert (cell.variant.label, cell.variant.length) == ("caption", 1)
        # A picture can be made again from a study of its own.
        alone = single_study(trials[cell.trial_id], cell, dtype="float32", batch_size=1)
        (again,) = make_plan(
            Study.from_dict(parse_yaml(alone, name="x.yaml")), resolution=64
        ).trials
        assert again == trials[cell.trial_id]


def test_the_protocol_has_a_study_for_each_data_set() -> None:
    """No two share a folder of pictures: each data set has pictures and captions of its own."""
    studies = [parse_yaml(read_text(data_dir() / "studies" / f"{n}.yaml"), name=n) for n in PARTS]
    folders = [{str(Path(label).parent) for label in study["sources"]} for study in studies]
    assert [len(found) for found in folders] == [1] * len(PARTS)
    assert len(set.union(*folders)) == len(PARTS)


def sd15(**changes: Any) -> Study:
    values = {
        "name": "x",
        "family": "sd15",
        "base": ["v1-5"],
        "sources": ["paperdoll:1"],
        "controls": ["canny", "depth"],
        "prompt": "a cat",
    }
    return Study.from_dict(values | changes)


def test_a_judge_asks_for_new_readings_and_for_new_pictures_only_where_it_steers() -> None:
    plain = make_plan(sd15(), resolution=64)
    clip = make_plan(sd15(judges={"clip": "vit-l-14"}), resolution=64)
    depth = make_plan(sd15(judges={"depth": "dpt-large"}), resolution=64)

    def ids(plan: Any, control: str) -> tuple[set[str], set[str]]:
        cells = [cell for cell in plan.cells if cell.control == control]
        return {cell.id for cell in cells}, {cell.trial_id for cell in cells}

    for control in ("canny", "depth"):
        assert ids(clip, control)[1] == ids(plain, control)[1]
        assert not ids(clip, control)[0] & ids(plain, control)[0]
    assert ids(depth, "canny") == ids(plain, "canny")
    assert not ids(depth, "depth")[1] & ids(plain, "depth")[1]
    trial = next(t for t in depth.trials if t.control == "depth")
    assert trial.networks == (("depth", "dpt-large"),)
    assert type(trial).from_dict(trial.to_dict()) == trial
    cell = next(c for c in depth.cells if c.control == "depth")
    alone = single_study(trial, cell, dtype="float32", batch_size=1)
    (again,) = make_plan(Study.from_dict(parse_yaml(alone, name="x.yaml")), resolution=64).trials
    assert again.id == trial.id


PARTS = {
    f"{NAME}-edges": ["canny", "hed", "lineart"],
    f"{NAME}-depth": ["depth"],
    f"{NAME}-segmentation": ["segmentation"],
}


@pytest.mark.parametrize("name", [*PARTS, "failure-analysis"])
def test_the_shipped_studies_are_valid_once_their_pictures_are_there(
    name: str, tmp_path: Path
) -> None:
    text = read_text(data_dir() / "studies" / f"{name}.yaml")
    file = tmp_path / f"{name}.yaml"
    file.write_text(text, encoding="utf-8")
    for index, label in enumerate(parse_yaml(text, name=name)["sources"]):
        picture = tmp_path / label
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(encode_png(np.full((8, 8, 3), 20 * index, np.uint8)))
    study = Study.from_yaml(file)
    plan = make_plan(study, resolution=512)
    prompts = {cell.source: cell.full_prompt for cell in plan.cells}
    assert prompts == study.captions
    if name in PARTS:
        assert study.protocol == NAME
        assert [control.type for control in study.controls] == PARTS[name]
        assert len(plan.trials) == len(study.sources) * len(PARTS[name]) * 4
        return
    assert study.judges == {"clip": "vit-b-32"}
    assert study.scales == (0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5, 3.0)
    from workbench.metrics.edges import default_tolerance

    pixels = default_tolerance(512, 512, study.controls[0].settings["tolerance"])
    assert pixels == pytest.approx(2, abs=0.001)
    assert pixels >= 2, "two whole pixels must be within it"
