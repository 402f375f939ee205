"""Protects: what the web UI and ComfyUI write into a PNG is read as it was meant, or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workbench.scoring.metadata import MetadataError, control_named, from_comfyui, from_webui

HEAD = "a cat, (red hat:1.2)\non a mat\nNegative prompt: blurry, bad\nSteps: 20, Sampler: Euler a, "
HEAD += "CFG scale: 7.5, Seed: 42, Size: 512x512, Model hash: 6ce0161689, Model: dreamshaper_8, "
UNITS = {
    "new": 'ControlNet 0: "Module: canny, Model: control_v11p_sd15_canny [d14c016b], Weight: 0.55, '
    "Resize Mode: Crop and Resize, Processor Res: 512, Threshold A: 100, Threshold B: 200, "
    'Guidance Start: 0.1, Guidance End: 0.8, Pixel Perfect: True, Control Mode: Balanced"',
    "old": 'ControlNet: "preprocessor: canny, model: control_v11p_sd15_canny, weight: 0.55, '
    "starting/ending: (0.1, 0.8), resize mode: Crop and Resize, pixel perfect: True, "
    'preprocessor params: (512, 100, 200)"',
    "oldest": "ControlNet-0 Enabled: True, ControlNet-0 Module: canny, ControlNet-0 Model: "
    "control_canny-fp16 [e3fe7712], ControlNet-0 Weight: 0.55, ControlNet-0 Guidance Start: 0.1, "
    "ControlNet-0 Guidance End: 0.8",
}


@pytest.mark.parametrize("form", UNITS)
def test_each_form_of_the_web_ui_says_the_same(form: str) -> None:
    found = from_webui(f"{HEAD}{UNITS[form]}, Version: v1.6.0")
    assert found["prompt"] == "a cat, (red hat:1.2)\non a mat"
    assert found["negative_prompt"] == "blurry, bad"
    assert (found["seed"], found["steps"], found["guidance_scale"]) == ("42", "20", "7.5")
    assert (found["sampler"], found["model"]) == ("Euler a", "dreamshaper_8")
    assert (found["control"], found["scale"]) == ("canny", "0.55")
    assert (found["start"], found["end"]) == ("0.1", "0.8")
    assert found["settings"] == ({"low": 100.0, "high": 200.0} if form == "new" else {})


def test_text_alone_has_no_control() -> None:
    assert "control" not in from_webui(HEAD)
    assert from_webui("only a prompt, no settings")["prompt"] == "only a prompt, no settings"
    off = HEAD + "ControlNet-0 Enabled: False, ControlNet-0 Module: canny, ControlNet-0 Model: x"
    assert "control" not in from_webui(off)


def test_what_one_row_cannot_say_is_refused() -> None:
    depth = UNITS["new"].replace("ControlNet 0", "ControlNet 1").replace("canny", "depth")
    with pytest.raises(MetadataError, match="2 ControlNets at once"):
        from_webui(f"{HEAD}{UNITS['new']}, {depth}")
    tile = UNITS["old"].replace("canny", "tile_resample")
    with pytest.raises(MetadataError, match=r"tile_resample.*no control type"):
        from_webui(HEAD + tile)


@pytest.mark.parametrize(
    ("name", "control"),
    [
        ("dw_openpose_full", "pose"),
        ("normal_midas", "normal"),
        ("depth_anything_v2", "depth"),
        ("softedge_pidinet", "hed"),
        ("scribble_hed", "scribble"),
        ("lineart_anime", "lineart"),
        ("M-LSDPreprocessor", "lines"),
        ("OneFormer-ADE20K-SemSegPreprocessor", "segmentation"),
        ("control_v11f1e_sd15_tile", None),
        ("densepose", None),
        ("ip-adapter_clip_sd15", None),
    ],
)
def test_names_of_the_field(name: str, control: str | None) -> None:
    found = control_named(name)
    assert (found and found[0]) == control


def graph(**changes: dict[str, Any]) -> dict[str, Any]:
    """A small graph; keyword arguments add to the inputs of its nodes."""
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        "sampler": ("KSampler", {"seed": 7, "steps": 25, "cfg": 6.5, "sampler_name": "dpmpp_2m",
                                 "scheduler": "karras", "model": ["model", 0],
                                 "positive": ["apply", 0], "negative": ["apply", 1]}),
        "model": ("CheckpointLoaderSimple", {"ckpt_name": "sd_xl.safetensors"}),
        "good": ("CLIPTextEncode", {"text": "a cat", "clip": ["model", 1]}),
        "bad": ("CLIPTextEncode", {"text": "blurry", "clip": ["model", 1]}),
        "file": ("LoadImage", {"image": "cat.png"}),
        "edges": ("Canny", {"image": ["file", 0], "low_threshold": 0.4, "high_threshold": 0.8}),
        "net": ("ControlNetLoader", {"control_net_name": "controlnet-canny-sdxl.safetensors"}),
        "apply": ("ControlNetApplyAdvanced", {"strength": 0.6, "start_percent": 0.1,
                                              "end_percent": 0.9, "positive": ["good", 0],
                                              "negative": ["bad", 0], "control_net": ["net", 0],
                                              "image": ["edges", 0]}),
        "decode": ("VAEDecode", {"samples": ["sampler", 0]}),
        "save": ("SaveImage", {"images": ["decode", 0]}),
    }  # fmt: skip
    return {
        name: {"class_type": kind, "inputs": told | changes.get(name, {})}
        for name, (kind, told) in nodes.items()
    }


def test_a_graph_of_comfyui() -> None:
    found = from_comfyui(json.dumps(graph()))
    assert found == {
        "prompt": "a cat",
        "negative_prompt": "blurry",
        "seed": 7,
        "steps": 25,
        "guidance_scale": 6.5,
        "sampler": "dpmpp_2m karras",
        "model": "sd_xl.safetensors",
        "control": "canny",
        "settings": {"low": 0.4 * 255, "high": 0.8 * 255},
        "source": "cat.png",
        "scale": 0.6,
        "start": 0.1,
        "end": 0.9,
    }


def test_a_picture_that_the_controlnet_gets_as_it_is_is_the_map() -> None:
    found = from_comfyui(json.dumps(graph(apply={"image": ["file", 0]})))
    assert found["map"] == "cat.png" and "source" not in found and found["control"] == "canny"


def test_a_union_says_its_type_by_a_node_of_its_own() -> None:
    nodes = graph(apply={"image": ["file", 0], "control_net": ["kind", 0]})
    nodes["net"]["inputs"]["control_net_name"] = "controlnet-union-sdxl.safetensors"
    nodes["kind"] = {
        "class_type": "SetUnionControlNetType",
        "inputs": {"control_net": ["net", 0], "type": "openpose"},
    }
    assert from_comfyui(json.dumps(nodes))["control"] == "pose"


def test_a_text_that_is_put_together_elsewhere_is_not_guessed() -> None:
    nodes = graph(good={"text": ["join", 0]})
    nodes["join"] = {"class_type": "StringConcatenate", "inputs": {"string_a": "a", "b": "cat"}}
    assert "prompt" not in from_comfyui(json.dumps(nodes))
    nodes["join"] = {"class_type": "PrimitiveString", "inputs": {"value": "a dog"}}
    assert from_comfyui(json.dumps(nodes))["prompt"] == "a dog"


def test_two_controlnets_in_a_chain_are_refused() -> None:
    nodes = graph(sampler={"positive": ["second", 0]})
    nodes["second"] = json.loads(json.dumps(nodes["apply"]))
    nodes["second"]["inputs"]["positive"] = ["apply", 0]
    with pytest.raises(MetadataError, match="2 ControlNets"):
        from_comfyui(json.dumps(nodes))


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"1": 2}', "{}", '{"1": {"class_type": 3, "inputs": {"a": ["1", 0]}}}'],
)
def test_nonsense_ends_in_nothing_or_a_clause(text: str) -> None:
    try:
        assert from_comfyui(text) == {}
    except MetadataError as error:
        assert "graph" in str(error)


@pytest.mark.parametrize("filler", ["a ", 'x: "', "Steps: 1, ", "(", "line art "])
def test_texts_that_are_built_to_take_long_are_refused(filler: str) -> None:
    with pytest.raises(MetadataError, match="more than"):
        from_webui("Steps: 20, " + filler * (400_000 // len(filler)) + "\n" + filler * 20_000)
    assert control_named(filler * 100_000) in (None, ("lineart", {}))


def test_a_graph_of_any_size_is_not_walked() -> None:
    chain = {str(i): {"class_type": "x", "inputs": {"a": [str(i + 1), 0]}} for i in range(6000)}
    with pytest.raises(MetadataError, match="more than 5,000 nodes"):
        from_comfyui(json.dumps(chain))


def test_a_circle_ends() -> None:
    found = from_comfyui(
        json.dumps(graph(good={"text": ["good", 0]}, model={"model": ["model", 0]}))
    )
    assert found["control"] == "canny"
