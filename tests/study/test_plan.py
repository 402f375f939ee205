"""Protects the expansion of a study: which cells there are and which share one picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from workbench.paths import data_dir
from workbench.study import Choices, Plan, Study, StudyError, active_steps, make_plan

Make = Callable[..., Study]
FULL = "a girl, long hair, winter, snow"


@pytest.fixture
def plan(study: Make, choices: Choices) -> Callable[..., Plan]:
    def make(**changes: Any) -> Plan:
        return make_plan(study(**changes), resolution=64, choices=choices)

    return make


def test_the_demo_study_has_240_cells_and_198_pictures(choices: Choices) -> None:
    demo = Study.from_yaml(data_dir() / "studies" / "demo.yaml", choices=choices)
    summary = make_plan(demo, resolution=128, choices=choices).describe()
    assert (summary.cells, summary.trials_before, summary.trials) == (240, 240, 198)
    assert (summary.text_only, summary.controlled, summary.maps) == (6, 192, 8)
    assert [(c.control, c.cells, c.trials) for c in summary.controls] == [
        ("depth", 120, 96),
        ("canny", 120, 96),
    ]
    assert (summary.sources, summary.steps) == (4, 20)
    json.dumps(summary.to_dict())


def test_the_demo_study_stays_with_held_out_scenes(choices: Choices) -> None:
    demo = Study.from_yaml(data_dir() / "studies" / "demo.yaml", choices=choices)
    assert all(int(label.split(":")[1]) >= 900_000 for label in demo.sources)
    assert ", ".join(demo.prompt) == (
        "a girl, long hair, blond hair, black eyes, black coat, winter, snow"
    )


def test_the_grid_is_complete_and_paired(plan: Callable[..., Plan]) -> None:
    grid = {(c.source, c.control, c.variant.length, c.scale, c.seed, c.base) for c in plan().cells}
    assert grid == set(
        product(
            ("paperdoll:1", "paperdoll:2"), ("depth", "canny"), (2, 4), (0.0, 0.5, 1.0), (1, 2),
            ("render",),
        )
    )  # fmt: skip


def test_every_cell_has_its_trial_and_agrees_with_it(plan: Callable[..., Plan]) -> None:
    made = plan()
    assert len({cell.id for cell in made.cells}) == len(made.cells)
    assert set(made.trials_by_id) == {cell.trial_id for cell in made.cells}
    assert sum(len(cells) for cells in made.cells_by_trial.values()) == len(made.cells)
    for cell in made.cells:
        trial = made.trials_by_id[cell.trial_id]
        assert (trial.prompt, trial.seed, trial.base) == (cell.variant.text, cell.seed, cell.base)
        assert cell.full_prompt == FULL
        assert cell.source_sha256 == made.sources[cell.source].sha256
        if cell.scale > 0:
            assert (trial.control, trial.scale) == (cell.control, cell.scale)
            assert trial.source_sha256 == cell.source_sha256


def test_scale_0_is_one_picture_for_all_sources_and_controls(plan: Callable[..., Plan]) -> None:
    made = plan(scales=[0])
    assert len(made.cells) == 16
    assert len(made.trials) == 2 * 2  # lengths × seeds
    for trial in made.trials:
        assert (trial.control, trial.source_sha256, trial.control_settings) == (None, None, "")
        assert (trial.scale, trial.control_start, trial.control_end) == (0.0, 0.0, 1.0)


def test_without_control_its_start_and_end_do_not_matter(plan: Callable[..., Plan]) -> None:
    late = plan(scales=[0], control_start=0.2, control_end=0.7)
    assert late.trials == plan(scales=[0]).trials
    assert plan(control_end=0.7).trials != plan().trials


@pytest.mark.parametrize(
    ("start", "end"), [(0.5, 0.5), (0.8, 0.2), (0.0, 0.0), (0.0, 0.04), (0.96, 1.0), (0.41, 0.46)]
)
def test_a_control_that_acts_at_no_step_is_no_control(
    plan: Callable[..., Plan], start: float, end: float
) -> None:
    made = plan(control_start=start, control_end=end)
    assert len(made.trials) == 4
    assert all(trial.control is None for trial in made.trials)
    assert len(made.cells) == 2 * 2 * 2 * 3 * 2


def test_active_steps_follow_the_pipeline() -> None:
    assert active_steps(10, 0.0, 1.0) == tuple(range(10))
    assert active_steps(10, 0.0, 0.5) == (0, 1, 2, 3, 4)
    assert active_steps(10, 0.5, 1.0) == (5, 6, 7, 8, 9)
    assert active_steps(10, 0.25, 0.75) == (3, 4, 5, 6)
    for steps, start, end in product((1, 7, 20), (0.0, 0.1, 0.33, 0.9), (0.05, 0.5, 0.95, 1.0)):
        # The formula of StableDiffusionControlNetPipeline, written as it is there.
        keep = [1.0 - float(i / steps < start or (i + 1) / steps > end) for i in range(steps)]
        assert active_steps(steps, start, end) == tuple(i for i, k in enumerate(keep) if k)


def test_length_0_and_the_empty_prompt_are_one_picture(plan: Callable[..., Plan]) -> None:
    made = plan(lengths=[0], extra_prompts={"empty": None})
    assert len(made.cells) == 2 * 24
    assert {trial.prompt for trial in made.trials} == {""}
    assert len(made.trials) == 2 + 2 * 2 * 2 * 2
    other = plan(prompt="a boy, night", lengths=[0])
    assert {trial.id for trial in other.trials} == {trial.id for trial in made.trials}


def test_settings_of_the_comparison_do_not_ask_for_another_picture(
    plan: Callable[..., Plan],
) -> None:
    fine = {"type": "canny", "settings": {"tolerance": 0.0}}
    made = plan(controls=["canny", fine], scales=[1.0])
    assert len(made.cells) == 16 and len(made.trials) == 8
    assert made.describe().maps == 2
    sharp = {"type": "canny", "settings": {"low": 50}}
    assert len(plan(controls=["canny", sharp], scales=[1.0]).trials) == 16


def test_written_out_defaults_are_the_same_control(plan: Callable[..., Plan]) -> None:
    spelled = {"type": "canny", "settings": {"high": 200, "low": 100}}
    assert plan(controls=[spelled]).trials == plan(controls=["canny"]).trials


def test_a_negative_prompt_matters_only_with_guidance(plan: Callable[..., Plan]) -> None:
    assert plan(guidance_scale=1, negative_prompt="rain").trials == plan(guidance_scale=1).trials
    assert plan(negative_prompt="rain").trials != plan().trials


def test_ids_do_not_depend_on_the_rest_of_the_study(plan: Callable[..., Plan]) -> None:
    small, large = plan(scales=[0, 0.5, 1]), plan(scales=[1, 0.75, 0.5, 0], seeds=[2, 1, 3])
    assert set(small.trials_by_id) < set(large.trials_by_id)
    assert {cell.id for cell in small.cells} < {cell.id for cell in large.cells}


def test_prefix_random_and_default_lengths(plan: Callable[..., Plan]) -> None:
    def prompts(**changes: Any) -> list[tuple[str, ...]]:
        return list(dict.fromkeys(cell.variant.tags for cell in plan(**changes).cells))

    assert prompts(lengths=[2, 4]) == [("a girl", "long hair"), tuple(FULL.split(", "))]
    assert prompts(lengths=[]) == [tuple(FULL.split(", "))]
    drawn = {
        seed: prompts(lengths=[1, 2, 3], shortening={"method": "random", "seed": seed})
        for seed in range(6)
    }
    assert len({tuple(tags) for tags in drawn.values()}) > 1
    for one, two, three in drawn.values():
        assert set(one) < set(two) < set(three)
        assert list(three) == [tag for tag in FULL.split(", ") if tag in three]


def test_leave_one_out_is_the_full_prompt_and_each_tag_missing(plan: Callable[..., Plan]) -> None:
    tags = FULL.split(", ")
    cells = plan(shortening="leave-one-out", lengths=[1]).cells
    variants = list(dict.fromkeys(cell.variant for cell in cells))
    assert variants[0].text == FULL and variants[0].dropped == ()
    assert [variant.dropped for variant in variants[1:]] == [(tag,) for tag in tags]
    assert all(set(v.tags) | set(v.dropped) == set(tags) for v in variants)


def test_extra_prompts_keep_their_setting_and_the_full_prompt(plan: Callable[..., Plan]) -> None:
    cells = plan(
        lengths=[4],
        extra_prompts={
            "empty": None,
            "insufficient": "a girl",
            "conflicting": "a boy, summer",
            "full": FULL,
        },
    ).cells
    texts = {cell.variant.setting + ":" + cell.variant.text for cell in cells}
    assert texts == {
        f"length:{FULL}",
        "empty:",
        "insufficient:a girl",
        "conflicting:a boy, summer",
        f"full:{FULL}",
    }
    assert {cell.full_prompt for cell in cells} == {FULL}
    same = {c.trial_id for c in cells if c.variant.text == FULL}
    assert len(same) == 2 + 2 * 2 * 2 * 2  # "full" and the whole length share their pictures


def test_names_are_checked_even_for_a_study_made_in_code(study: Make, choices: Choices) -> None:
    with pytest.raises(StudyError, match="sonar"):
        make_plan(study(controls=["sonar"]), resolution=64, choices=choices)


def test_the_folder_of_the_study_file_is_where_sources_are(
    study: Make, choices: Choices, tmp_path: Path
) -> None:
    import numpy as np

    from workbench.images import encode_png

    rng = np.random.default_rng(0)
    (tmp_path / "a.png").write_bytes(encode_png(rng.integers(0, 256, (40, 60, 3), np.uint8)))
    (tmp_path / "s.yaml").write_text(study(sources=["a.png"]).to_yaml(), encoding="utf-8")
    read = Study.from_yaml(tmp_path / "s.yaml", choices=choices)
    made = make_plan(read, resolution=32, choices=choices)
    assert made.sources["a.png"].image.shape == (32, 32, 3)
    with pytest.raises(StudyError):
        make_plan(read, resolution=32, folder=tmp_path / "elsewhere", choices=choices)


PAIR = {"pair": ["depth", {"type": "canny", "settings": {"low": 50, "tolerance": 0.1}}]}
AXES = {"depth": [0, 0.5, 1], "canny": [0, 0.7]}


def test_a_pair_has_every_combination_of_its_two_axes(plan: Callable[..., Plan]) -> None:
    made = plan(controls=[PAIR | {"scales": AXES}], scales=[2], lengths=[2], seeds=[1])
    assert len({cell.id for cell in made.cells}) == len(made.cells) == 2 * 2 * 6
    for name, other in (("depth", "canny"), ("canny", "depth")):
        mine = [cell for cell in made.cells if cell.control == name]
        assert {cell.partner.control for cell in mine if cell.partner} == {other}
        points = {(c.source, c.scale, c.partner.scale) for c in mine if c.partner}
        assert points == set(product(made.sources, AXES[name], AXES[other]))
    for cell in made.cells:
        assert cell.partner is not None
        scales = {cell.control: cell.scale, cell.partner.control: cell.partner.scale}
        trial = made.trials_by_id[cell.trial_id]
        acting = {use.control: use.scale for use in trial.controls}
        assert acting == {name: scale for name, scale in scales.items() if scale}
    text = '{"high":200,"low":50,"tolerance":0.1}'
    assert {c.control_settings for c in made.cells if c.control == "canny"} == {text}
    assert {c.partner.control_settings for c in made.cells if c.partner} == {text, "{}"}
    # The tolerance shapes no picture.
    texts = {use.control_settings for t in made.trials for use in t.controls}
    assert texts == {'{"high":200,"low":50}', "{}"}


def test_a_pair_without_axes_takes_the_scales_of_the_study(plan: Callable[..., Plan]) -> None:
    made = plan(controls=[PAIR], scales=[0.5, 1], lengths=[2], seeds=[1])
    assert {(t.scale, t.also[0].scale) for t in made.trials} == set(product((0.5, 1), repeat=2))


def test_a_pair_with_one_control_at_0_is_the_other_control_alone(
    plan: Callable[..., Plan],
) -> None:
    fine = PAIR["pair"][1]
    alone = plan(controls=["depth", fine], scales=[0, 0.5])
    both = plan(controls=[PAIR], scales=[0, 0.5])
    single = {trial.id for trial in alone.trials}
    assert {t.id for t in both.trials if len(t.controls) < 2} == single
    mixed = plan(controls=["depth", PAIR], scales=[0, 0.5])
    assert {t.id for t in mixed.trials} == {t.id for t in both.trials}
    # Two cells on one picture, one of them in a pair: they stay two cells.
    shared = [c for c in mixed.cells if c.control == "depth" and c.scale == 0.5]
    assert len(shared) == 3 * 2 * 2 * 2
    assert len({c.id for c in shared}) == len(shared)


def test_the_order_in_a_pair_makes_no_other_picture_or_cell(plan: Callable[..., Plan]) -> None:
    there, back = (
        plan(controls=[{"pair": list(pair)}]) for pair in (("depth", "canny"), ("canny", "depth"))
    )
    assert {t.id for t in there.trials} == {t.id for t in back.trials}
    assert {c.id for c in there.cells} == {c.id for c in back.cells}


def test_a_pair_outside_its_steps_is_text_only(plan: Callable[..., Plan]) -> None:
    made = plan(controls=[PAIR], control_start=0.99)
    assert all(trial.controls == () for trial in made.trials)


def test_the_figures_of_a_pair_count_pictures_once(plan: Callable[..., Plan]) -> None:
    summary = plan(controls=["depth", PAIR | {"scales": AXES}], scales=[0, 0.5, 1]).describe()
    groups = 2 * 2 * 2  # sources, lengths, seeds
    assert summary.cells == groups * (3 + 2 * 6)
    assert summary.trials_before == groups * (3 + 6)
    # text only: one for each length and seed; depth alone 2, canny alone 1, both 2.
    assert (summary.text_only, summary.controlled) == (2 * 2, groups * 5)
    assert summary.paired == groups * 2
    assert summary.trials == summary.text_only + summary.controlled
    assert summary.maps == 2 * 2
    assert [(c.control, c.partner, c.cells, c.trials) for c in summary.controls] == [
        ("depth", "", groups * 3, groups * 2),
        ("depth", "canny", groups * 6, groups * 5),
        ("canny", "depth", groups * 6, groups * 5),
    ]
    json.dumps(summary.to_dict())


def test_ids_of_cells_of_one_control_are_what_they_always_were(
    study: Make, choices: Choices, tmp_path: Path
) -> None:
    """Runs made before there were pairs are found again."""
    import numpy as np

    from workbench.images import encode_png
    from workbench.study.canonical import short_hash

    ramp = np.arange(32 * 32 * 3, dtype=np.uint32).reshape(32, 32, 3).astype(np.uint8)
    (tmp_path / "ramp.png").write_bytes(encode_png(ramp))
    small = study(sources=["ramp.png"])
    made = make_plan(small, resolution=32, folder=tmp_path, choices=choices)
    assert short_hash(sorted(cell.id for cell in made.cells)) == "3dd801e348645357"
    assert short_hash(sorted(made.trials_by_id)) == "1dc01d51136388da"
