"""Tiny ONNX files with the names and shapes of DWPose's two published ones, and known answers.

Either the answer is given as numbers, or the "network" looks for light: then what it says depends
on where bright pixels lie in its input, in which channel, and on how they were scaled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

DETECTOR, POSE = "yolox_l.onnx", "dw-ll_ucoco_384.onnx"
IMAGES, RAW = ("images", (1, 3, 640, 640)), ("output", (1, 8400, 85))
INPUT = ("input", (1, 3, 384, 288))
ACROSS, DOWN = ("simcc_x", (1, 133, 576)), ("simcc_y", (1, 133, 768))
COARSE = 8000
"""The first cell of the grid of 20×20 cells of 32 pixels."""

Part = tuple[str, tuple[int | str, ...]]
Node = tuple[str, Sequence[str], str, Mapping[str, object]]


def write_graph(
    path: Path,
    takes: Part,
    gives: Sequence[Part],
    nodes: Sequence[Node],
    constants: Mapping[str, NDArray[np.generic]],
    kind: int = TensorProto.FLOAT,
) -> None:
    """Write a graph; a node is (kind, inputs, output, attributes)."""
    made: list[NodeProto] = [
        helper.make_node(name, list(inputs), [output], **attributes)
        for name, inputs, output, attributes in nodes
    ]
    graph = helper.make_graph(
        made,
        "tiny",
        [helper.make_tensor_value_info(takes[0], kind, takes[1])],
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in gives],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())


def detector_rows(rows: Mapping[int, Sequence[float]]) -> NDArray[np.float32]:
    """The detector's answer with some of its 8400 rows; what is left out of a row is 0."""
    raw = np.zeros(RAW[1], np.float32)
    for row, values in rows.items():
        raw[0, row, : len(values)] = values
    return raw


def write_detector(folder: Path, rows: Mapping[int, Sequence[float]]) -> None:
    """A detector that always gives these rows."""
    # A graph must read its input: adding nothing of it changes nothing.
    nodes: list[Node] = [
        ("ReduceMean", ["images"], "mean", {"keepdims": 0}),
        ("Mul", ["mean", "zero"], "nothing", {}),
        ("Add", ["raw", "nothing"], "output", {}),
    ]
    known = {"raw": detector_rows(rows), "zero": np.float32(0)}
    write_graph(
        folder / DETECTOR, IMAGES, [RAW], nodes, {k: np.asarray(v) for k, v in known.items()}
    )


def write_detector_of_light(folder: Path, channel: int, *, dark: float, wide: float) -> None:
    """A detector that sees somebody in each coarse cell with light in one channel.

    A person is as sure as (brightest pixel of the cell - dark) / (255 - dark), and `wide` pixels
    of the detector's picture wide, twice as high, in the middle of the cell.
    """
    size = np.log(np.array([wide / 32, wide / 16], np.float32))
    fixed = np.array([0.5, 0.5, *size], np.float32)
    rows = np.zeros((1, 400, 85), np.float32)
    rows[0, :, :4], rows[0, :, 5] = fixed, 1
    which = np.zeros((1, 1, 85), np.float32)
    which[0, 0, 4] = 1
    nodes: list[Node] = [
        ("Gather", ["images", "channel"], "one", {"axis": 1}),
        ("MaxPool", ["one"], "pooled", {"kernel_shape": [32, 32], "strides": [32, 32]}),
        ("Reshape", ["pooled", "flat"], "light", {}),
        ("Sub", ["light", "dark"], "above", {}),
        ("Div", ["above", "range"], "sure", {}),
        ("Mul", ["sure", "which"], "objectness", {}),
        ("Add", ["objectness", "rows"], "coarse", {}),
        ("Concat", ["finer", "coarse"], "output", {"axis": 1}),
    ]
    known = {
        "channel": np.array([channel], np.int64),
        "flat": np.array([1, 400, 1], np.int64),
        "dark": np.array(dark, np.float32),
        "range": np.array(255 - dark, np.float32),
        "which": which,
        "rows": rows,
        "finer": np.zeros((1, COARSE, 85), np.float32),
    }
    write_graph(folder / DETECTOR, IMAGES, [RAW], nodes, known)


def peaked(
    bins: Mapping[int, tuple[int, int]], sure: Mapping[int, tuple[float, float]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Answers for columns and rows: joint -> bins of its peaks, and their heights there."""
    across, down = np.full(ACROSS[1], -1, np.float32), np.full(DOWN[1], -1, np.float32)
    for joint, (x, y) in bins.items():
        across[0, joint, x], down[0, joint, y] = sure[joint]
    return across, down


def write_pose(folder: Path, across: NDArray[np.float32], down: NDArray[np.float32]) -> None:
    """A network for joints that always gives these answers."""
    nodes: list[Node] = [
        ("ReduceMean", ["input"], "mean", {"keepdims": 0}),
        ("Mul", ["mean", "zero"], "nothing", {}),
        ("Add", ["across", "nothing"], "simcc_x", {}),
        ("Add", ["down", "nothing"], "simcc_y", {}),
    ]
    known = {"across": across, "down": down, "zero": np.asarray(np.float32(0))}
    write_graph(folder / POSE, INPUT, [ACROSS, DOWN], nodes, known)


def write_pose_of_light(folder: Path, channel: int) -> None:
    """A network that sees every joint at the brightest pixel of one channel, as sure as it is."""
    nodes: list[Node] = [("Gather", ["input", "channel"], "one", {"axis": 1})]
    for name, axis in (("simcc_x", 2), ("simcc_y", 3)):
        nodes += [
            ("ReduceMax", ["one"], f"{name}_max", {"axes": [1, axis], "keepdims": 0}),
            ("Reshape", [f"{name}_max", f"{name}_column"], f"{name}_single", {}),
            ("Concat", [f"{name}_single", f"{name}_dark"], f"{name}_pairs", {"axis": 2}),
            ("Reshape", [f"{name}_pairs", f"{name}_row"], f"{name}_bins", {}),
            ("Expand", [f"{name}_bins", f"{name}_all"], name, {}),
        ]
    known: dict[str, NDArray[np.generic]] = {"channel": np.array([channel], np.int64)}
    for name, shape in (("simcc_x", ACROSS[1]), ("simcc_y", DOWN[1])):
        known |= {
            f"{name}_column": np.array([1, shape[2] // 2, 1], np.int64),
            f"{name}_dark": np.full((1, shape[2] // 2, 1), -9, np.float32),
            f"{name}_row": np.array([1, 1, shape[2]], np.int64),
            f"{name}_all": np.array(shape, np.int64),
        }
    write_graph(folder / POSE, INPUT, [ACROSS, DOWN], nodes, known)
