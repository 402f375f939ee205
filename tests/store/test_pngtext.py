"""Protects what other programs read from our PNG files."""

from __future__ import annotations

from dataclasses import replace

from workbench.store.pngtext import parameters, png_text
from workbench.study import ControlUse, Trial

TRIAL = Trial(
    "paperdoll", "render", "canny", "{}", "ab" * 32, "a girl, snow", "rain", 7, 20, 5.0, "unipc",
    0.8, 0.0, 0.5, 128,
)  # fmt: skip


def test_the_parameters_text_is_the_one_other_programs_parse() -> None:
    assert parameters(TRIAL) == (
        "a girl, snow\n"
        "Negative prompt: rain\n"
        "Steps: 20, Sampler: UniPC, CFG scale: 5, Seed: 7, Size: 128x128, "
        'Model: paperdoll-render, ControlNet 0: "Module: canny, Model: paperdoll-canny, '
        'Weight: 0.8, Guidance Start: 0, Guidance End: 0.5"'
    )


def test_without_control_or_negative_prompt_these_parts_are_left_out() -> None:
    text = parameters(replace(TRIAL, control=None, source_sha256=None, negative_prompt=""))
    assert text.count("\n") == 1
    assert "ControlNet" not in text and "Negative" not in text


def test_a_second_control_is_a_second_unit() -> None:
    text = parameters(replace(TRIAL, also=(ControlUse("depth", "{}", 1.25),)))
    assert 'ControlNet 0: "Module: canny, Model: paperdoll-canny, Weight: 0.8, ' in text
    assert text.endswith(
        'ControlNet 1: "Module: depth, Model: paperdoll-depth, Weight: 1.25, '
        'Guidance Start: 0, Guidance End: 0.5"'
    )


def test_no_chunks_no_text() -> None:
    assert png_text(TRIAL, ()) == {}
    assert set(png_text(TRIAL)) == {"workbench", "parameters"}
