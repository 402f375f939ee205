"""Protects what is counted over control types, and what is said between base models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from workbench.analysis import (
    QUESTIONS,
    effects,
    findings,
)
from workbench.analysis.bases import base_findings
from workbench.analysis.effects import effect_findings

BASES = ("ink", "render")
DIVERSITY = {"canny": 0.8, "depth": 0.6, "normal": 40.0}  # at scale 0, in units of their own
LEFT = {"canny": 0.25, "depth": 0.5, "normal": 0.5}  # share of it at scale 1


def study(
    sources: int = 6, noise: float = 0.02, pose: float = -0.5, closer: float = 6.0
) -> pd.DataFrame:
    """Three control types on two bases, two scales, 3 and 7 tags, with a known truth.

    pose: what the scale does to the pose difference. closer: what four tags less do to closeness.
    """
    rng = np.random.default_rng(7)
    names = {"canny": "canny_f1", "depth": "depth_pearson", "normal": "normal_mean_angle"}
    rows = []
    for control, primary in names.items():
        for i in range(sources):
            for length in (3, 7):
                for scale in (0.0, 1.0):
                    for seed in (1, 2):
                        between = 0.6 + pose * scale + rng.normal(0, noise)
                        for base in BASES:
                            start = DIVERSITY[control]
                            values = {
                                "diversity_structure": start * (1 - (1 - LEFT[control]) * scale)
                                + rng.normal(0, noise) * start * scale,
                                "bases_pose": between,
                                "clip_source": 70
                                - closer * (length - 3) / 4 * scale
                                + rng.normal(0, 10 * noise),
                                primary: 0.7 * scale - 0.02 * length + rng.normal(0, noise),
                            }
                            cell = {
                                "cell": f"{control}{i}{length}{scale}{seed}{base}",
                                "trial": f"{control}{i}{length}{scale}{seed}{base}",
                                "source": f"s{i}", "control": control, "base": base,
                                "setting": "length", "length": length, "prompt": f"{length}",
                                "full_prompt": "7", "scale": scale, "seed": seed,
                                "chance": 0.0, "ceiling": 1.0, "reason": "",
                            }  # fmt: skip
                            rows += [
                                cell | {"metric": metric, "value": value, "adherence": value}
                                for metric, value in values.items()
                            ]
    return pd.DataFrame(rows)


def test_every_effect_is_found_with_its_size_and_interval() -> None:
    table = effects(study()).set_index(["question", "control", "base"])
    assert len(table) == 3 * 2 + 3 + 3 * 2 + 3 * 2  # seeds, pose between bases, closeness, control
    for control, left in LEFT.items():
        for base in BASES:
            row = table.loc["seeds", control, base]
            # Shares of the start: degrees and F1 stand on one axis.
            assert row["change"] == pytest.approx(left - 1, abs=0.05)
            assert row["low"] <= row["change"] <= row["high"] and row["direction"] == "falls"
            near = table.loc["closeness", control, base]
            assert (near["x_first"], near["x_last"], near["direction"]) == (7, 3, "rises")
            assert near["change"] == pytest.approx(6, abs=0.5)
            assert near["last"] - near["first"] == pytest.approx(near["change"])
        pose = table.loc["bases pose", control, ""]
        assert pose["change"] == pytest.approx(-0.5, abs=0.05) and pose["n_sources"] == 6


def test_intervals_are_student_t_over_sources() -> None:
    frame = study(noise=0.2)
    mine = frame[(frame["metric"] == "bases_pose") & (frame["control"] == "depth")]
    wide = mine.groupby(["source", "scale"])["value"].mean().unstack("scale")
    change, n = wide[1.0] - wide[0.0], len(wide)
    wanted = stats.t.interval(0.95, n * (n - 1) / (2 * n - 1), change.mean(), stats.sem(change))
    table = effects(frame)
    row = table[(table["question"] == "bases pose") & (table["control"] == "depth")].iloc[0]
    assert row["change"] == pytest.approx((wide[1.0] - wide[0.0]).mean())
    assert (row["low"], row["high"]) == pytest.approx(wanted)


def test_counts_say_how_many_types_answer_each_way() -> None:
    found = {f.metric: f for f in effect_findings(study())}
    seeds = found["diversity_structure"]
    assert seeds.direction == "falls"
    assert (
        "from scale 0 to 1, structural diversity across seeds clearly falls in 6 of 6" in seeds.text
    )
    assert "clearly rises in none" in seeds.text
    assert (
        "from 7 to 3 tags, CLIP similarity to the source clearly rises" in found["clip_source"].text
    )
    assert "falls in 3 of 3 control types" in found["bases_pose"].text  # not told apart by base
    flat = {f.metric: f for f in effect_findings(study(pose=0.0, closer=0.0))}
    assert flat["bases_pose"].direction == "no clear effect"
    assert "clearly falls in 3" not in flat["bases_pose"].text


def test_a_type_that_differs_is_named() -> None:
    frame = study()
    odd = (frame["metric"] == "diversity_structure") & (frame["control"] == "canny")
    odd &= frame["base"] == "ink"
    frame.loc[odd & (frame["scale"] == 1), "value"] += 1.0
    text = next(f.text for f in effect_findings(frame) if f.metric == "diversity_structure")
    assert "falls in 5 of 6" in text and "; rises: canny on ink." in text


def test_statements_between_bases_name_the_control_and_its_interval() -> None:
    found = base_findings(study())
    assert [f.control for f in found] == ["canny", "depth", "normal"]
    for finding in found:
        assert finding.direction == "falls" and finding.high < 0
        assert "pose difference between the base models falls with the scale" in finding.text
        assert "95 % interval" in finding.text and "6 sources" in finding.text
    assert not [f for f in base_findings(study(pose=0.0, noise=0.1)) if f.direction == "rises"]
    assert [f for f in findings(study()) if f.kind in ("effects", "bases")]


def test_nothing_is_said_where_nothing_was_asked() -> None:
    one_base = study()
    one_base = one_base[one_base["base"] == "ink"]
    one_base = one_base[one_base["metric"] != "bases_pose"]
    assert base_findings(one_base) == []
    assert set(effects(one_base)["question"]) == {"seeds", "closeness", "control"}
    assert effect_findings(one_base[one_base["control"] == "depth"]) == []
    assert effect_findings(study(sources=1)) == []
    assert effects(one_base.iloc[:0]).empty and effect_findings(one_base.iloc[:0]) == []
    assert {question.name for question in QUESTIONS} >= set(effects(study())["question"])


def test_the_way_to_chance_and_ceiling_starts_where_the_effect_starts() -> None:
    frame = study()
    table = effects(frame).set_index(["question", "control", "base"])
    closer = table.loc["closeness", "canny", "ink"]  # in the metric's unit
    assert closer["to_chance"] == pytest.approx(0.0 - closer["first"])
    assert closer["to_ceiling"] == pytest.approx(1.0 - closer["first"])
    seeds = table.loc["seeds", "normal", "ink"]  # in shares of the start
    assert seeds["to_chance"] == pytest.approx(-1.0)
    assert seeds["to_ceiling"] == pytest.approx(1 / seeds["first"] - 1)
    obeyed = effects(frame.assign(chance=5.0, ceiling=9.0))  # adherence runs from 0 to 1
    row = obeyed[obeyed["question"] == "control"].iloc[0]
    assert (row["to_chance"], row["to_ceiling"]) == (-row["first"], 1 - row["first"])
    unknown = effects(frame.assign(ceiling=np.nan))
    assert unknown[unknown["question"] != "control"]["to_ceiling"].isna().all()
