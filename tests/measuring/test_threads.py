"""Protects: maps compared at once read what they read one by one, and an error still comes out."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workbench.controls import CONTROL_NAMES, get_control
from workbench.families.judge import load_judge
from workbench.images import fit_image
from workbench.measuring import threads
from workbench.measuring.threads import LARGE, at_once
from workbench.paths import data_dir

SIDE = 256


def picture(name: str) -> np.ndarray:
    path: Path = data_dir() / "sources" / f"{name}.png"
    return fit_image(np.asarray(Image.open(path).convert("RGB")), SIDE)


@pytest.mark.parametrize("name", CONTROL_NAMES)
def test_readings_are_those_of_one_thread(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "THREADS", 4)
    control, pictures = get_control(name), [picture("coffee"), picture("chelsea")]
    networks = load_judge(data_dir() / "models" / "paperdoll" / "judge").networks()
    maps = control.extract(pictures, control.settings(), networks)
    pairs = [(got, wanted) for got in maps for wanted in maps] * 3

    def work(pair: tuple[object, object]) -> dict[str, tuple[str, str]]:
        found = control.compare(*pair, control.settings())  # type: ignore[arg-type]
        return {metric: (repr(each.value), each.reason) for metric, each in found.items()}

    assert at_once(work, pairs, SIDE * SIDE) == [work(pair) for pair in pairs]


def test_small_maps_stay_in_the_thread_that_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "THREADS", 4)
    me = threading.get_ident()
    meet = threading.Barrier(2, timeout=60)  # two at once, or it breaks

    def where(_: int) -> int:
        meet.wait()
        return threading.get_ident()

    assert at_once(lambda _: threading.get_ident(), [1, 2, 3], LARGE - 1) == [me] * 3
    assert at_once(lambda _: threading.get_ident(), [1], LARGE) == [me]
    assert me not in at_once(where, [1, 2], LARGE)


def test_the_first_error_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        at_once(lambda number: 1 / number, [1, 0, 2], LARGE)
    assert at_once(lambda number: number, [], LARGE) == []
