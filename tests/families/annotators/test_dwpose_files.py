"""Protects: only DWPose's two files are read, whole and from this disk, and mistakes are named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from annotator_files import FOLDER, annotator, family_with
from onnx import TensorProto
from onnx_files import (
    ACROSS,
    DETECTOR,
    DOWN,
    IMAGES,
    INPUT,
    POSE,
    RAW,
    peaked,
    write_detector,
    write_graph,
    write_pose,
)

from workbench.families import FamilyError, LocateError, NetworkRef, load_catalogue
from workbench.families.annotators._onnx import OnnxNetwork, names_other_files, providers
from workbench.families.annotators.weights import Weights
from workbench.families.check import require_models
from workbench.families.locate import Place
from workbench.families.manager import ModelManager

ENTRY = {"loader": "dwpose", "path": FOLDER}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    write_detector(tmp_path / FOLDER, {})
    write_pose(tmp_path / FOLDER, *peaked({}, {}))
    return tmp_path


def refusal(models: Path) -> str:
    with pytest.raises(FamilyError) as error:
        annotator("dwpose", models)
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_study_may_choose_it_and_need_not() -> None:
    family = load_catalogue()["sd15"]
    assert family.networks["pose"].loader == "openpose"
    chosen = family.with_judges({"pose": "dwpose"}).networks["pose"]
    assert (chosen.loader, chosen.repo) == ("dwpose", "yzd-v/DWPose")
    assert chosen.files == (DETECTOR, POSE)
    assert family.with_judges({"pose": "openpose"}) == family


@pytest.mark.parametrize("gone", [DETECTOR, POSE])
def test_a_missing_file_is_named_with_its_repository_and_place(gone: str, models: Path) -> None:
    (models / FOLDER / gone).unlink()
    with pytest.raises(LocateError) as error:
        annotator("dwpose", models)
    for word in (gone, "yzd-v/DWPose", str(models / FOLDER)):
        assert word in str(error.value)


def test_a_missing_folder_names_both_files(tmp_path: Path) -> None:
    with pytest.raises(LocateError, match=rf"{DETECTOR} and {POSE} of yzd-v/DWPose"):
        annotator("dwpose", tmp_path)


def test_both_files_are_hashed(models: Path) -> None:
    manager = ModelManager(family_with({"pose": ENTRY}), models_dir=models)
    manager.network("pose")
    hashes = manager.weight_hashes()
    assert sorted(name.rpartition("/")[2] for name in hashes) == sorted([DETECTOR, POSE])
    assert len(set(hashes.values())) == 2


def test_without_onnxruntime_one_sentence_comes_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    wanted = "the loader dwpose needs packages that are not installed: pip install onnxruntime"
    assert refusal(tmp_path).startswith(wanted)  # before the files, which are not there either
    family = family_with({"pose": ENTRY, "edges": {"loader": "hed", "path": FOLDER}})
    with pytest.raises(LocateError) as error:
        require_models(family, [], [], ["pose", "edges"], tmp_path)
    assert f"network pose: {wanted}" in str(error.value)
    assert "hed needs" not in str(error.value)
    monkeypatch.undo()
    with pytest.raises(LocateError) as error:
        require_models(family, [], [], ["pose", "edges"], tmp_path)
    assert "not installed" not in str(error.value)


@pytest.mark.parametrize("name", [DETECTOR, POSE])
@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x08\x08\x12\x00"])
def test_a_file_that_is_no_model_is_named(name: str, content: bytes, models: Path) -> None:
    (models / FOLDER / name).write_bytes(content)
    assert f"{models / FOLDER / name}: is no ONNX model that can be run" in refusal(models)


def test_a_file_of_another_network_is_named(models: Path) -> None:
    folder = models / FOLDER
    (folder / DETECTOR).write_bytes((folder / POSE).read_bytes())
    assert refusal(models) == (
        f"{folder / DETECTOR}: is not the network that is wanted here: "
        "it takes 1×3×384×288, not 1×3×640×640"
    )


def write_answering(path: Path, takes: Any, gives: Any, answers: Any, kind: int) -> None:
    """A graph that gives fixed answers; `answers` are shapes."""
    number = np.dtype(np.float16 if kind == TensorProto.FLOAT16 else np.float32)
    nodes: list[Any] = [
        ("ReduceMean", [takes[0]], "mean", {"keepdims": 0}),
        ("Mul", ["mean", "zero"], "nothing", {}),
    ]
    known = {"zero": np.zeros((), number)}
    for index, ((name, _), shape) in enumerate(zip(gives, answers, strict=True)):
        nodes.append(("Add", [f"fixed{index}", "nothing"], name, {}))
        known[f"fixed{index}"] = np.zeros(shape, number)
    write_graph(path, takes, gives, nodes, known, kind)


@pytest.mark.parametrize(
    ("name", "takes", "gives", "kind", "words"),
    [
        (POSE, INPUT, [ACROSS], TensorProto.FLOAT, "gives 1×133×576, not 1×133×576 and 1×133×768"),
        (POSE, INPUT, [DOWN, ACROSS], TensorProto.FLOAT, "gives 1×133×768 and 1×133×576, not"),
        (
            POSE,
            INPUT,
            [("simcc_x", (1, 17, 576)), ("simcc_y", (1, 17, 768))],
            TensorProto.FLOAT,
            "gives 1×17×576 and 1×17×768",
        ),
        (DETECTOR, IMAGES, [("dets", (1, 100, 5))], TensorProto.FLOAT, "gives 1×100×5"),
        (DETECTOR, IMAGES, [RAW], TensorProto.FLOAT16, r"tensor(float16), not float32"),
    ],
)
def test_other_answers_are_refused(
    name: str, takes: Any, gives: Any, kind: int, words: str, models: Path
) -> None:
    path = models / FOLDER / name
    write_answering(path, takes, gives, [shape for _, shape in gives], kind)
    text = refusal(models)
    assert str(path) in text
    assert words in text


def write_open_detector(path: Path, times: int, more: int) -> None:
    """A detector of pictures of any height, with `times` rows for each row of pixels, and more."""
    nodes: list[Any] = [
        ("Shape", ["images"], "shape", {}),
        ("Gather", ["shape", "second"], "high", {}),
        ("Mul", ["high", "times"], "many", {}),
        ("Add", ["many", "more"], "cells", {}),
        ("Concat", ["one", "cells", "values"], "wanted", {"axis": 0}),
        ("Expand", ["zero", "wanted"], "output", {}),
    ]
    numbers = {"second": 2, "times": times, "more": more, "one": 1, "values": 85}
    known: dict[str, Any] = {name: np.array([value]) for name, value in numbers.items()}
    known["zero"] = np.zeros((1, 1, 85), np.float32)
    takes = ("images", ("batch", 3, "high", "wide"))
    write_graph(path, takes, [("output", ("batch", "cells", 85))], nodes, known)


def test_sizes_that_a_file_leaves_open_are_checked_when_it_answers(models: Path) -> None:
    path, picture = models / FOLDER / DETECTOR, np.zeros((1, 64, 64, 3), np.uint8)
    write_open_detector(path, 13, 80)
    assert annotator("dwpose", models)(picture).shape == (1, 0, 18, 3)
    write_open_detector(path, 5, 349)
    network = annotator("dwpose", models)
    with pytest.raises(FamilyError, match=r"yolox_l\.onnx: .* gives 1×3549×85, not 1×8400×85"):
        network(picture)


@pytest.fixture
def divided(models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A detector whose numbers lie in a file beside it, in the working directory."""
    path = models / FOLDER / DETECTOR
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="numbers.bin", size_threshold=0)
    assert (models / FOLDER / "numbers.bin").is_file()
    monkeypatch.chdir(models / FOLDER)
    yield path


def test_numbers_in_other_files_are_not_read(divided: Path, models: Path) -> None:
    onnxruntime.InferenceSession(divided, providers=["CPUExecutionProvider"])  # would read them
    assert refusal(models).startswith(f"{divided}: keeps weights in other files")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"..\n\x08location\x12\x01x", True),
        (b"..\n\x88\x00location", True),  # the same length, written longer than it need be
        (b"..\n\x88\x80\x80\x00location", True),
        (b"\x0dthis location and \x08location", True),
        (b"..\n\x0b/a/location", False),
        (b"..\n\x0aallocation", False),
        (b"..\n\x09locations", False),
        (b"location", False),
    ],
)
def test_the_word_for_another_file_is_found_however_it_is_written(
    content: bytes, found: bool
) -> None:
    assert names_other_files(content) == found


def test_a_part_called_location_is_no_other_file(models: Path) -> None:
    path = models / FOLDER / DETECTOR
    model = onnx.load(path)
    model.graph.node[0].name = "/head/location"
    path.write_bytes(model.SerializeToString())
    assert b"location" in path.read_bytes()
    assert annotator("dwpose", models)(np.zeros((1, 64, 64, 3), np.uint8)).shape == (1, 0, 18, 3)


def test_it_takes_no_more_threads_than_torch_and_computes_the_same_again(models: Path) -> None:
    weights = Weights(NetworkRef(**ENTRY), Place(str(models / FOLDER), {}, models / FOLDER))
    before = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            network = OnnxNetwork(weights, 0, "cpu", takes=IMAGES[1], gives=[RAW[1]])
            options = network._session.get_session_options()
            assert options.intra_op_num_threads == count
            assert options.inter_op_num_threads == 1
            assert options.use_deterministic_compute
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("device", "available", "wanted"),
    [
        ("cpu", ("CUDAExecutionProvider", "CPUExecutionProvider"), ["CPUExecutionProvider"]),
        ("cuda", ("CPUExecutionProvider",), ["CPUExecutionProvider"]),
        ("mps", ("CoreMLExecutionProvider", "CPUExecutionProvider"), ["CPUExecutionProvider"]),
    ],
)
def test_it_computes_on_the_processor(
    device: str, available: tuple[str, ...], wanted: list[str]
) -> None:
    assert providers(device, available) == wanted


@pytest.mark.parametrize(("device", "index"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2)])
def test_it_computes_on_the_gpu_that_was_asked_for(device: str, index: int) -> None:
    first, last = providers(device, ("CUDAExecutionProvider", "CPUExecutionProvider"))
    assert first[0] == "CUDAExecutionProvider"
    assert first[1]["device_id"] == index
    assert last == "CPUExecutionProvider"
