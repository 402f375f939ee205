"""Networks in ONNX files, run by onnxruntime from one file on this disk and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from workbench.families.annotators.weights import Weights
from workbench.families.catalogue import FamilyError

Shape = tuple[int, ...]

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_ELSEWHERE = b"location"
"""The key under which a tensor of an ONNX file names another file that holds its numbers."""
_EIGHT_LONG = re.compile(rb"(?:\x08|\x88\x80*\x00)\Z")
"""The ways to write, before a string of eight bytes, that it is that long."""
_ERRORS_ONLY = 3


class OnnxNetwork:
    """A network with one float32 input and float32 outputs of known shapes."""

    def __init__(
        self, weights: Weights, index: int, device: str, *, takes: Shape, gives: Sequence[Shape]
    ) -> None:
        """Load a file of a catalogue entry.

        Sizes that the file leaves open are checked when it has answered. Raises LocateError if
        there is no such file, FamilyError, naming it, if it holds no such network or wants others.
        """
        self._path = weights.path(index)
        self._gives = tuple(gives)
        self._session = _opened(self._path, device)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._check([part.shape for part in inputs], [takes], "takes")
        self._check([part.shape for part in outputs], self._gives, "gives")
        kinds = {part.type for part in [*inputs, *outputs]}
        if kinds != {"tensor(float)"}:
            raise self._foreign(f"it computes in {' and '.join(sorted(kinds))}, not float32")
        self._input = inputs[0].name

    def __call__(self, pixels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """The answers to one input, in the order of the file."""
        answers: list[NDArray[np.float32]] = self._session.run(None, {self._input: pixels})
        self._check([answer.shape for answer in answers], self._gives, "gives")
        return answers

    def _check(self, found: Sequence[Sequence[Any]], wanted: Sequence[Shape], verb: str) -> None:
        if len(found) == len(wanted) and all(map(_agrees, found, wanted)):
            return
        shown = (" and ".join(map(_in_words, shapes)) for shapes in (found, wanted))
        raise self._foreign("it {} {}, not {}".format(verb, *shown))

    def _foreign(self, reason: str) -> FamilyError:
        return FamilyError(f"{self._path}: is not the network that is wanted here: {reason}")


def providers(device: str, available: Sequence[str]) -> list[Any]:
    """Where onnxruntime shall compute: on the GPU of a CUDA device if it can, else on the CPU."""
    place = torch.device(device)
    if place.type != "cuda" or _CUDA not in available:
        return [_CPU]
    # One fixed algorithm, where the search for the fastest would choose by the clock.
    options = {"device_id": place.index or 0, "cudnn_conv_algo_search": "DEFAULT"}
    return [(_CUDA, options), _CPU]


def _opened(path: Path, device: str) -> Any:
    import onnxruntime

    content = path.read_bytes()
    if names_other_files(content):
        raise FamilyError(
            f"{path}: keeps weights in other files, which are not read: save it as one file"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = _ERRORS_ONLY
    # Idle threads would spin on the cores that torch computes on.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")
    chosen = providers(device, onnxruntime.get_available_providers())
    try:
        return onnxruntime.InferenceSession(content, options, providers=chosen)
    except Exception as error:  # its errors have no base but this
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FamilyError(f"{path}: is no ONNX model that can be run: {first}") from error


def names_other_files(content: bytes) -> bool:
    """Whether an ONNX file may name another file as the place of its numbers.

    onnxruntime would read that file, and looks for it in the working directory if need be.
    """
    at = content.find(_ELSEWHERE)
    while at >= 0:
        if _EIGHT_LONG.search(content[max(at - 10, 0) : at]):
            return True
        at = content.find(_ELSEWHERE, at + 1)
    return False


def _agrees(found: Sequence[Any], wanted: Shape) -> bool:
    """Whether a shape is the wanted one; a size which is no number is left open."""
    pairs = zip(found, wanted, strict=False)
    return len(found) == len(wanted) and all(a == b for a, b in pairs if isinstance(a, int))


def _in_words(shape: Sequence[Any]) -> str:
    return "×".join(str(size) for size in shape) or "a number"
