"""Protects: settings a study leaves out are its family's, those of a network never wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from workbench.controls import get_control
from workbench.families import Family, get_family
from workbench.study import Choices, FamilyChoice, Study, StudyError, make_plan


def fields(family: str, entry: Any, **more: Any) -> Mapping[str, Any]:
    source = ["paperdoll:1"]
    return {
        "name": "s",
        "family": family,
        "sources": source,
        "controls": [entry],
        "prompt": "a",
    } | more


def settings(study: Study, choices: Choices | None = None) -> dict[str, Any]:
    (found,) = {
        cell.control_settings for cell in make_plan(study, resolution=64, choices=choices).cells
    }
    return dict(json.loads(found))


def offered(family: Family) -> Choices:
    kinds = {family.name: FamilyChoice.of(family)}
    return Choices(kinds, lambda name: get_control(name).settings_type)


@pytest.mark.parametrize(
    ("family", "classes"), [("paperdoll", "paperdoll"), ("sd15", "ade20k"), ("sdxl", "ade20k")]
)
def test_the_classes_are_those_of_the_familys_network(family: str, classes: str) -> None:
    assert settings(Study.from_dict(fields(family, "segmentation"))) == {"classes": classes}
    said = {"type": "segmentation", "settings": {"classes": classes}}
    assert settings(Study.from_dict(fields(family, said))) == {"classes": classes}


@pytest.mark.parametrize("judge", list(get_family("sd15").judges["segmentation"]))
def test_every_segmentation_judge_says_its_classes(judge: str) -> None:
    study = Study.from_dict(fields("sd15", "segmentation", judges={"segmentation": judge}))
    assert settings(study) == {"classes": "ade20k"}


def test_other_classes_than_the_networks_are_refused() -> None:
    said = {"type": "segmentation", "settings": {"classes": "paperdoll"}}
    words = r"controls\[0\].settings.classes: .*paperdoll.*, but the segmentation network of the "
    words += "family sd15 has ade20k; allowed: ade20k"
    for entry in (said, {"pair": ["canny", said]}):
        with pytest.raises(StudyError, match="but the segmentation network of the family sd15"):
            Study.from_dict(fields("sd15", entry))
    with pytest.raises(StudyError, match=words):
        Study.from_dict(fields("sd15", said))


def test_a_network_that_does_not_say_its_classes_leaves_no_guess() -> None:
    sd15 = get_family("sd15")
    mute = sd15.networks["segmentation"].model_copy(update={"classes": ""})
    choices = offered(sd15.model_copy(update={"networks": {"segmentation": mute}}))
    with pytest.raises(StudyError, match="does not say its classes; allowed: classes here or in"):
        Study.from_dict(fields("sd15", "segmentation"), choices=choices)
    said = {"type": "segmentation", "settings": {"classes": "ade20k"}}
    study = Study.from_dict(fields("sd15", said), choices=choices)
    assert settings(study, choices) == {"classes": "ade20k"}


def test_wrong_judges_are_told_without_a_crash() -> None:
    for judges in ({"segmentation": "nobody"}, {"smell": "nose"}):
        with pytest.raises(StudyError, match="judges"):
            Study.from_dict(fields("sd15", "segmentation", judges=judges))


def test_a_familys_settings_fill_what_a_study_leaves_out() -> None:
    family = get_family("paperdoll").model_copy(
        update={"control_settings": {"canny": {"low": 50, "blur": 1}}}
    )
    choices = offered(family)
    study = Study.from_dict(
        fields("paperdoll", {"type": "canny", "settings": {"low": 70}}), choices=choices
    )
    found = settings(study, choices)
    assert (found["low"], found["blur"], found["high"]) == (70, 1, 200)


def test_settings_that_a_catalogue_gets_wrong_are_named() -> None:
    values = get_family("paperdoll").model_dump()
    for wrong in ({"canny": {"lwo": 1}}, {"smell": {}}):
        with pytest.raises(ValueError, match=r"control_settings\.(canny: .*lwo|smell)"):
            Family.model_validate(values | {"control_settings": wrong})
