"""Protects the explorer from showing anything but what the run's table says."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench import analysis
from workbench.explorer.data import CONTROL, UNMADE, Catalogue, explorer_data, source_name


@pytest.fixture(scope="module")
def frame(demo_frame: pd.DataFrame) -> pd.DataFrame:
    """Two control types on two base models, a word that was not judged, and a prompt of its own."""
    other = demo_frame.assign(base="ink", cell="ink-" + demo_frame["cell"])
    other["value"] -= 0.01
    whole = pd.concat([demo_frame, other], ignore_index=True).assign(label="")
    whole["label"] = whole["length"].astype(str) + " tags"
    return analysis.distinct_controls(whole)


@pytest.fixture(scope="module")
def data(frame: pd.DataFrame) -> dict[str, Any]:
    """What the explorer gets of it."""
    sources = dict.fromkeys(frame["source"])
    return explorer_data(frame, title="demo", sources=sources, read_back=["depth (base ink)"]).data


def cell_of(data: dict[str, Any], row: pd.Series) -> int:
    """The number of the cell at a row's place."""
    place = {
        "control": [c["label"] for c in data["controls"]].index(row["control"]),
        "source": [s["name"] for s in data["sources"]].index(row["source"]),
        "seed": data["seeds"].index(row["seed"]),
        "scale": data["scales"].index(row["scale"]),
        "prompt": [p["length"] for p in data["prompts"]].index(row["length"]),
    }
    columns = data["cells"]
    found = [
        i
        for i in range(len(columns["prompt"]))
        if all(columns[name][i] == value for name, value in place.items())
    ]
    assert len(found) == 1
    return found[0]


def test_every_adherence_can_be_computed_from_what_is_sent(
    data: dict[str, Any], frame: pd.DataFrame
) -> None:
    rows = frame[~frame["metric"].str.contains(":")].sample(200, random_state=0)
    for _, row in rows.iterrows():
        metric, cell = data["metrics"][row["metric"]], cell_of(data, row)
        value = metric["values"][cell]
        if math.isnan(row["value"]):
            assert value is None and metric["reasons"][str(cell)] == row["reason"]
            continue
        assert value == pytest.approx(row["value"], rel=1e-3)
        chance, ceiling = metric["references"][metric["at"][cell]]
        if not metric["adheres"]:
            assert math.isnan(row["adherence"])
            continue
        # The value of the second base model was moved after its adherence was made.
        shift = 0.01 / (ceiling - chance) if "ink" in row["control"] else 0
        found = (value - chance) / (ceiling - chance) + shift
        assert found == pytest.approx(row["adherence"], abs=2e-3)


def test_words_are_those_of_the_cell(data: dict[str, Any], frame: pd.DataFrame) -> None:
    names = data["tags"]["names"]
    rows = frame[frame["metric"].str.startswith("tag:")].sample(100, random_state=1)
    for _, row in rows.iterrows():
        cell = cell_of(data, row)
        told = {names[word]: percent for word, percent, *_ in data["tags"]["cells"][cell]}
        assert told[row["metric"].partition(":")[2]] == round(100 * row["value"])
        whole = data["wholes"][data["cells"]["whole"][cell]]
        assert [names[word] for word in whole] == row["full_prompt"].split(", ")


def test_curves_are_those_of_the_analysis(data: dict[str, Any], frame: pd.DataFrame) -> None:
    lengths = [prompt["length"] for prompt in data["prompts"]]
    points = analysis.tradeoff(frame)
    for name, side in ((CONTROL, "control"), (analysis.PROMPT_METRIC, "prompt")):
        told = {
            (label, lengths[prompt], scale): (mean, low, high, front)
            for label, rows in data["curves"][name].items()
            for prompt, scale, mean, low, high, front in rows
        }
        known = points.dropna(subset=[f"{side}_adherence"])
        assert len(told) == len(known)
        for row in known.to_dict("records"):
            mean, low, high, front = told[row["control"], row["length"], row["scale"]]
            assert mean == pytest.approx(row[f"{side}_adherence"], rel=1e-3)
            assert (low, high) == pytest.approx((row[f"{side}_low"], row[f"{side}_high"]), rel=1e-3)
            assert front == row["pareto"]


def test_controls_say_their_type_and_base_apart(data: dict[str, Any]) -> None:
    told = {c["label"]: (c["name"], c["base"], c["primary"]) for c in data["controls"]}
    assert told["depth (base ink)"] == ("Depth", "ink", "depth_pearson")
    assert told["canny (base render)"][1] == "render"
    assert told["canny (base render)"][2] in data["metrics"]


def test_only_maps_that_can_be_read_back_are_named(frame: pd.DataFrame) -> None:
    shown = explorer_data(frame, read_back=["depth (base ink)"])
    cells = shown.data["cells"]
    labels = [c["label"] for c in shown.data["controls"]]
    for control, read, wanted in zip(cells["control"], cells["read"], cells["wanted"], strict=True):
        assert (read >= 0) == (labels[control] == "depth (base ink)")
        assert wanted == -1  # no source was given
    kinds = {shown.pictures[n][0] for n in cells["read"] if n >= 0}
    assert kinds == {"read"}


def test_a_failed_picture_says_why(frame: pd.DataFrame) -> None:
    trial = str(frame["trial"].iloc[0])
    cells = explorer_data(frame, failed={trial: "it came out black"}).data["cells"]
    assert set(cells["failed"]) == {"", "it came out black"}
    assert explorer_data(frame, failed={trial: ""}).data["cells"]["failed"] == []


def test_places_that_are_not_made_yet_are_empty_and_change_nothing_else(
    frame: pd.DataFrame, data: dict[str, Any]
) -> None:
    one = frame[frame["scale"] == 0.8].drop_duplicates("cell").iloc[[0]]
    more = one.assign(cell="new", trial="new trial", scale=9.0, metric=UNMADE, value=math.nan)
    shown = explorer_data(pd.concat([frame, more]), sources=dict.fromkeys(frame["source"]))
    cells = shown.data["cells"]
    assert shown.data["scales"] == [*data["scales"], 9.0]
    assert (cells["sample"][-1], shown.trials[-1]) == (-1, "new trial")
    assert shown.place(len(shown.trials) - 1)["scale"] == 9.0
    assert all(metric["values"][-1] is None for metric in shown.data["metrics"].values())
    assert shown.data["curves"] == data["curves"] and shown.data["spots"] == data["spots"]


def test_many_places_that_are_not_made_leave_each_control_its_metric(
    frame: pd.DataFrame, data: dict[str, Any]
) -> None:
    many = [frame.assign(cell=f"{n} " + frame["cell"], metric=UNMADE, value=math.nan, scale=9.0 + n)
            for n in range(3)]  # fmt: skip
    shown = explorer_data(pd.concat([frame, *many])).data["controls"]
    assert [c["primary"] for c in shown] == [c["primary"] for c in data["controls"]]


def test_a_later_view_numbers_pictures_as_the_earlier_one(frame: pd.DataFrame) -> None:
    catalogue = Catalogue()
    half = explorer_data(frame[frame["scale"] > 0], catalogue=catalogue)
    whole = explorer_data(frame, catalogue=catalogue)
    assert whole.pictures[: len(half.pictures)] == half.pictures
    assert explorer_data(frame).pictures[: len(half.pictures)] != half.pictures


def test_two_scales_have_no_sweet_spot(frame: pd.DataFrame) -> None:
    """A best of two is no optimum."""
    assert explorer_data(frame).data["spots"]
    assert explorer_data(frame[frame["scale"].isin([0.0, 0.8])]).data["spots"] == []


def test_it_is_json_for_every_browser(data: dict[str, Any]) -> None:
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_an_empty_run_has_no_cell(frame: pd.DataFrame) -> None:
    data = explorer_data(frame.iloc[:0]).data
    assert data["cells"]["prompt"] == [] and data["controls"] == []


def test_captions_keep_their_words_in_order() -> None:
    """Words that were judged may be any part of a sentence."""
    rows = [
        {"cell": "a", "trial": "a", "source": "photos/a.png", "control": "canny", "base": "b",
         "setting": "length", "label": "full", "length": 9, "prompt": "a dog on a red sofa",
         "full_prompt": "a dog on a red sofa", "scale": 1.0, "seed": 1, "metric": metric,
         "value": value, "chance": 0.0, "ceiling": 1.0, "adherence": value, "reason": "",
         "tokens": 5, "truncated": False}
        for metric, value in (("tag:red sofa", 0.25), ("tag:a dog", 0.75), ("canny_f1", 0.5))
    ]  # fmt: skip
    data = explorer_data(pd.DataFrame(rows)).data
    names = data["tags"]["names"]
    assert [names[word] for word in data["wholes"][0]] == ["a dog", "red sofa"]
    assert np.array(data["tags"]["cells"][0]).shape == (2, 4)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("paperdoll:900001", "scene 900001"),
        ("pictures/a cat.final.png", "a cat.final"),
        ("map:drawings/pose.png", "pose"),
        ("c:\\pictures\\cat.jpg", "cat"),
    ],
)
def test_sources_have_short_names(source: str, name: str) -> None:
    assert source_name(source) == name
