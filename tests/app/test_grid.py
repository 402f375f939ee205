"""How a run grows, and the Python that an app shows.

Protects a run from being given a study under which its pictures would be other ones.
"""

from __future__ import annotations

from typing import Any

import pytest

from workbench.app.grid import extended, python_lines
from workbench.study import Study, make_plan

BASE: dict[str, Any] = {
    "name": "run", "sources": ["paperdoll:1"], "controls": ["canny"],
    "prompt": "a girl, snow, rain", "lengths": [3], "scales": [1], "seeds": [1],
}  # fmt: skip


def study(**changes: Any) -> Study:
    return Study(**BASE | changes)


def ids(study: Study) -> set[str]:
    return {cell.id for cell in make_plan(study, resolution=64).cells}


@pytest.mark.parametrize(
    "other",
    [
        {"scales": [0.5, 1]},
        {"seeds": [3]},
        {"lengths": [1]},
        {"lengths": []},
        {"sources": ["paperdoll:2"]},
        {"base": ["ink"]},
        {"controls": ["depth", {"type": "canny", "settings": {"low": 50}}]},
        {"lengths": [], "extra_prompts": {"insufficient": ["a girl", "rain"]}},
    ],
)
def test_the_grown_study_holds_both(other: dict[str, Any]) -> None:
    run, wanted = study(), study(**other)
    grown = extended(run, wanted)
    assert grown is not None and grown.name == "run"
    assert ids(run) <= ids(grown) and ids(wanted) <= ids(grown)
    assert extended(grown, wanted) == grown, "a second time changes nothing"


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "a boy, snow, rain"},
        {"steps": 7},
        {"guidance_scale": 3.0},
        {"scheduler": "ddim"},
        {"negative_prompt": "blue"},
        {"control_end": 0.5},
        {"family": "sd15"},
    ],
)
def test_what_a_run_holds_fixed_cannot_differ(other: dict[str, Any]) -> None:
    assert extended(study(), study(**other)) is None


def test_one_run_has_one_prompt_of_a_kind() -> None:
    one = study(extra_prompts={"insufficient": ["a girl", "rain"]})
    other = study(extra_prompts={"insufficient": ["snow"]})
    assert extended(one, other) is None


def test_a_pair_stays_one_and_has_all_its_scales() -> None:
    pair = [{"type": "canny"}, {"type": "depth"}]
    run = study(controls=[{"pair": pair}], scales=[0.5, 1])
    wanted = study(controls=[{"pair": pair, "scales": {"depth": [0.25]}}], scales=[1])
    for one, other in ((run, wanted), (wanted, run)):
        grown = extended(one, other)
        assert grown is not None and len(grown.controls) == 1
        assert ids(one) <= ids(grown) and ids(other) <= ids(grown)
        assert extended(grown, other) == grown


def test_a_grid_that_is_too_large_is_none() -> None:
    many = [i / 100 for i in range(800)]
    assert extended(study(scales=many), study(scales=[v + 0.005 for v in many])) is None


def test_python_lines_say_what_differs_from_the_usual() -> None:
    text = python_lines(study(scales=[0, 0.5], steps=20), "runs/x")
    assert "steps" not in text and "scales=[0.0, 0.5]" in text and "controls=['canny']" in text
    names: dict[str, Any] = {}
    exec(text.partition("run = ")[0], names)
    assert names["study"] == study(scales=[0, 0.5])
