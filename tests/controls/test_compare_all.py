"""Every control type answers on any two pictures: equal or unequal size, colour, grey, alpha.

With the embedded judge and the command line as a user has them. A value stands for adherence, so
the same picture in another form must read as (nearly) the same, and better than another picture.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run_command
from PIL import Image

from workbench.controls import CONTROL_NAMES, compare, get_control
from workbench.families import get_family
from workbench.images import read_image
from workbench.paperdoll import render, sample_scene

pytestmark = pytest.mark.models

SCENE, OTHER = 900_001, 900_002
NINE = (
    *("canny", "depth", "hed", "lineart", "lines", "normal"),
    *("pose", "scribble", "segmentation"),
)


@pytest.fixture(scope="module")
def networks() -> Mapping[str, Any]:
    from workbench.families.manager import ModelManager

    return ModelManager("paperdoll").networks()


def scene(seed: int, form: str = "rgb") -> Image.Image:
    """A rendered scene in one of the forms that files come in."""
    picture = Image.fromarray(render(sample_scene(seed)).rgb)
    if form == "grey":
        return picture.convert("L")
    if form == "grey as colour":
        return picture.convert("L").convert("RGB")
    if form == "grey with alpha":
        return picture.convert("LA")
    if form == "alpha":
        return picture.convert("RGBA")
    if form == "half transparent":  # over white, as a viewer shows it
        alpha = Image.linear_gradient("L").resize(picture.size)
        return Image.merge("RGBA", [*picture.split(), alpha])
    if form == "large":
        return picture.resize((256, 256), Image.Resampling.LANCZOS)
    if form == "wide":
        wide = Image.new("RGB", (220, 128), (210, 220, 230))
        wide.paste(picture, (46, 0))
        return wide
    return picture


def primary(control: str, readings: Mapping[str, Any]) -> float:
    """The primary reading as "higher is better"."""
    spec = get_control(control).metric(get_control(control).primary)
    value = float(readings[spec.name].value)
    return value if spec.higher_is_better else -value


def stored(tmp_path: Path, picture: Image.Image, name: str) -> np.ndarray:
    picture.save(tmp_path / name)
    return read_image(tmp_path / name)


def test_there_are_nine() -> None:
    assert set(NINE) <= set(CONTROL_NAMES)


@pytest.mark.parametrize(
    "form", ["grey", "grey with alpha", "alpha", "half transparent", "large", "wide"]
)
@pytest.mark.parametrize("control", NINE)
def test_all_answer_on_any_two_pictures(
    control: str, form: str, networks: Mapping[str, Any], tmp_path: Path
) -> None:
    # The judge is trained on colours and reads a grey scene otherwise: grey is held against grey.
    twin = "grey as colour" if form.startswith("grey") else "rgb"
    wanted = stored(tmp_path, scene(SCENE, twin), "wanted.png")
    same = stored(tmp_path, scene(SCENE, form), "same.png")
    other = stored(tmp_path, scene(OTHER, form), "other.png")
    itself = compare(wanted, wanted, control, networks=networks)
    near = compare(same, wanted, control, networks=networks)
    far = compare(other, wanted, control, networks=networks)
    for readings in (itself, near, far):
        assert list(readings) == [spec.name for spec in get_control(control).metrics]
        for reading in readings.values():
            assert math.isfinite(reading.value) or reading.reason
    best = primary(control, itself)
    assert best == pytest.approx(
        0 if control == "normal" else 1, abs=0.5 if control == "normal" else 1e-6
    )
    if form not in ("large", "half transparent"):  # the very pixels come back
        assert primary(control, near) == pytest.approx(best, abs=1e-6)
    if form != "half transparent":  # which fades the figure away
        assert primary(control, far) < primary(control, near) <= best + 1e-9
    # Other pairs are answered too: the target gives the size; colour against grey.
    plain = stored(tmp_path, scene(OTHER), "plain.png")
    for pair in ((same, plain), (plain, same)):
        readings = compare(*pair, control, networks=networks)
        assert all(math.isfinite(r.value) or r.reason for r in readings.values())


@pytest.mark.parametrize("control", NINE)
def test_the_command_line_says_the_same(
    control: str, networks: Mapping[str, Any], tmp_path: Path
) -> None:
    a = stored(tmp_path, scene(SCENE), "a.png")
    b = stored(tmp_path, scene(OTHER, "wide").convert("RGBA"), "b.png")
    files = (tmp_path / "a.png", tmp_path / "b.png")
    done = run_command("compare", "--control", control, "--json", *files)
    assert done.code == 0, done.err
    found = json.loads(done.out)["metrics"]
    own = get_family("paperdoll").control_settings.get(control)  # which the command starts from
    wanted = compare(b, a, control, networks=networks, **(own or {}))
    assert set(found) == set(wanted)
    for name, reading in wanted.items():
        if reading.is_nan:
            assert found[name]["value"] is None and found[name]["reason"]
        else:
            assert found[name]["value"] == pytest.approx(reading.value, abs=1e-4)
