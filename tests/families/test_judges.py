"""Protects: a study's choice of judges becomes the family's, and wrong entries are refused."""

from __future__ import annotations

from typing import Any

import pytest
from annotator_files import family_with
from pydantic import ValidationError

from workbench.families import Family, FamilyError, ModelRef, NetworkRef, load_catalogue
from workbench.families.loaders import LOADERS

PHOTOS = ("sd15", "sdxl")
NAMES = {"depth", "edges", "normal", "segmentation", "pose", "lines", "lineart", "lineart_anime"}


@pytest.mark.parametrize("name", PHOTOS)
def test_families_for_photographs_have_every_network(name: str) -> None:
    family = load_catalogue()[name]
    assert set(family.networks) == NAMES
    assert {"vit-b-16", "vit-b-32", "vit-l-14", "long-vit-l-14"} <= set(family.judges["clip"])
    for choice in family.judges["words"]:  # CLIP tells where the study chooses none
        assert "words" in family.with_judges({"words": choice}).networks
    for need, refs in family.judges.items():
        if need == "words":
            continue
        default = family.clip if need == "clip" else family.networks[need]
        places = {(ref.repo, ref.files) for ref in refs.values()}
        files = () if need == "clip" else default.files  # type: ignore[union-attr]
        assert (default.repo, files) in places, f"the default {need} cannot be named"
        for choice in refs:
            family.with_judges({need: choice})


def test_a_choice_replaces_what_it_names_and_nothing_else() -> None:
    family = load_catalogue()["sd15"]
    chosen = family.with_judges({"clip": "vit-b-32", "depth": "dpt-large"})
    assert type(chosen.clip) is ModelRef
    assert chosen.clip.repo == "openai/clip-vit-base-patch32"
    assert chosen.networks["depth"].repo == "Intel/dpt-large"
    assert {**chosen.networks, "depth": None} == {**family.networks, "depth": None}
    assert family.with_judges({}) == family


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"clip": "vit-b-61"}, 'clip judge in the family sd15 called "vit-b-61".*vit-b-16'),
        ({"dept": "dpt-large"}, 'choice of judges in the family sd15 called "dept".*depth'),
    ],
)
def test_an_unknown_choice_is_named(chosen: dict[str, str], words: str) -> None:
    with pytest.raises(FamilyError, match=words):
        load_catalogue()["sd15"].with_judges(chosen)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            {"loader": "hedd", "path": "a"},
            "no loader hedd; there is: judge, tag-judge, hed",
        ),
        ({"loader": "hed", "path": "a", "files": ["x.pth", "y.pth"]}, "reads 1 files"),
        ({"loader": "hed", "path": "a", "files": ["../x.pth"]}, "pattern"),
        ({"loader": "midas", "path": "a"}, "edges: the loader midas gives depth"),
        ({"loader": "hed", "path": "a", "side": 100}, "multiple of 64"),
    ],
)
def test_wrong_entries_are_refused(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        family_with({"edges": entry})


def test_the_usual_file_need_not_be_named() -> None:
    ref = NetworkRef(loader="hed", path="annotators")
    assert ref.files == ("ControlNetHED.pth",)
    assert ref.title == "annotators/ControlNetHED.pth"
    assert NetworkRef(path="paperdoll/judge").title == "paperdoll/judge"


def test_every_loader_names_a_function_that_is_there() -> None:
    from importlib import import_module

    for loader in LOADERS.values():
        module, _, function = loader.code.rpartition(".")
        assert callable(getattr(import_module(f"workbench.families.{module}"), function))


def test_judges_take_part_in_the_equality_of_families() -> None:
    family: Family = load_catalogue()["sd15"]
    assert family.with_judges({"clip": "vit-l-14"}) != family
