"""Networks that read photographs for the controls: one small module each, imported when used.

A catalogue entry names one by its `loader`. Most are networks of controlnet-aux, whose classes are
taken from it and whose weights are read here, safely; the others are models of transformers, or
files for onnxruntime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

    from workbench.families.locate import Place
    from workbench.families.spec import NetworkRef

Network: TypeAlias = "Callable[[np.ndarray], Any]"

DENSE = ("depth", "edges", "normal", "segmentation", "pose")
ANNOTATORS = "lllyasviel/Annotators"


@dataclass(frozen=True)
class Loader:
    """What a catalogue must know of a loader without importing it.

    module: the module in this folder; its `load(weights, device)` gives networks by name.
    gives: the names of the networks it may give.
    files: the weight files it reads, in their order; empty where it reads a whole model folder.
    origin: the repository on Hugging Face that publishes them.
    classes: the list of classes of its segmentation, where all its models have the same.
    packages: what it imports beyond the libraries that every study needs.
    processor: whether the model's own picture processor must lie beside it.
    """

    module: str
    gives: tuple[str, ...]
    files: tuple[str, ...] = ()
    origin: str = ""
    classes: str = ""
    packages: tuple[str, ...] = ()
    processor: bool = False


def _aux(module: str, gives: str, file: str, *more: str) -> Loader:
    """A network of controlnet-aux whose published file is read here."""
    packages = ("controlnet_aux", "cv2", *more)
    return Loader(module, (gives,), (file,), ANNOTATORS, packages=packages)


LOADERS: dict[str, Loader] = {
    "judge": Loader("embedded", DENSE, classes="paperdoll"),
    "hed": _aux("hed", "edges", "ControlNetHED.pth", "einops"),
    "pidinet": _aux("pidinet", "edges", "table5_pidinet.pth"),
    "midas": _aux("midas", "depth", "dpt_hybrid-midas-501f0c75.pt", "timm"),
    "normalbae": _aux("normalbae", "normal", "scannet.pt", "timm"),
    "openpose": _aux("openpose", "pose", "body_pose_model.pth"),
    "dwpose": Loader(
        "dwpose",
        ("pose",),
        ("yolox_l.onnx", "dw-ll_ucoco_384.onnx"),
        "yzd-v/DWPose",
        packages=("onnxruntime", "cv2"),
    ),
    "mlsd": _aux("mlsd", "lines", "mlsd_large_512_fp32.pth"),
    "lineart": _aux("lineart", "lineart", "sk_model.pth", "einops"),
    "lineart-anime": _aux("lineart_anime", "lineart_anime", "netG.pth", "einops"),
    "depth-transformers": Loader("depth_transformers", ("depth",), processor=True),
    "segmentation-transformers": Loader(
        "segmentation_transformers", ("segmentation",), processor=True
    ),
}
"""Every loader that a catalogue may name."""


def load_networks(
    ref: NetworkRef, locate: Callable[[NetworkRef], Place], device: str
) -> Mapping[str, Network]:
    """The networks of one catalogue entry, in float32 on a device, by name.

    locate: finds the folder of the entry, after a download where it is not on this disk.
    Each takes uint8 N×H×W×3 and returns what `workbench.controls.Networks` says of its name.
    Raises LocateError, naming the file, if a weight file is missing; FamilyError if it holds
    something else or a package that the loader needs is not installed.
    """
    from workbench.families.annotators.weights import Weights
    from workbench.families.locate import LocateError
    from workbench.families.readers import package_problem
    from workbench.families.spec import FamilyError

    if problem := package_problem(ref.loader):
        raise FamilyError(problem)
    try:
        place = locate(ref)
    except LocateError as error:
        wanted = _wanted_files(ref)
        raise LocateError(f"{error}; {wanted}" if wanted else str(error)) from error
    loader = LOADERS[ref.loader]
    module = import_module(f"{__name__}.{loader.module}")
    try:
        networks: Mapping[str, Network] = module.load(Weights(ref, place), device)
    except ImportError as error:
        raise FamilyError(
            f"the loader {ref.loader} needs a package that is not installed: {error}"
        ) from error
    return networks


def _wanted_files(ref: NetworkRef) -> str:
    """What must lie in the entry's folder, as the end of a sentence; "" for a whole model."""
    loader = LOADERS[ref.loader]
    if not ref.files:
        return ""
    names = " and ".join(ref.files)
    source = ref.repo or loader.origin
    return f"the loader {ref.loader} needs {names}" + (f" of {source}" if source else "")
