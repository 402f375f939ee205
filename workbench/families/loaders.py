"""The networks that a catalogue may name to read pictures, as data.

`workbench.families.annotators` imports the code of one when it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

Network: TypeAlias = "Callable[[np.ndarray], Any]"

DENSE = ("depth", "edges", "normal", "segmentation", "pose")
WORDS = "words"
"""What the judge of words is called among the networks of a family."""
ANNOTATORS = "lllyasviel/Annotators"
_PIP = {"cv2": "opencv-python-headless", "controlnet_aux": "controlnet-aux"}


@dataclass(frozen=True)
class Loader:
    """What a catalogue must know of a loader without importing it.

    code: module and function ("annotators.maps.hed") below `workbench.families`; the function
        takes `Weights` and a device and gives networks by name.
    gives: the names of the networks it may give; "words" is a `WordJudge`.
    files: the weight files it reads, in their order; empty where it reads a whole model folder.
    origin: the repository on Hugging Face that publishes them.
    classes: the list of classes of its segmentation, where all its models have the same.
    packages: what it imports beyond the libraries that every study needs.
    processor: whether the model's own picture processor must lie beside it.
    side: the shorter side in pixels to which it brings a picture; 0 is that of the family's
        pictures. Edges, lines, line art and normals are found where they are drawn, so a larger
        picture is read larger. Depth and joints of the whole picture are read at the side of
        ControlNet's annotators, 512, and then enlarged: their networks were trained on such and
        lose the whole in larger ones.
    """

    code: str
    gives: tuple[str, ...]
    files: tuple[str, ...] = ()
    origin: str = ""
    classes: str = ""
    packages: tuple[str, ...] = ()
    processor: bool = False
    side: int = 512


def _aux(code: str, gives: str, file: str, *more: str, side: int = 0) -> Loader:
    """A network of controlnet-aux whose published file is read here."""
    packages = ("controlnet_aux", "cv2", *more)
    return Loader(f"annotators.{code}", (gives,), (file,), ANNOTATORS, packages=packages, side=side)


LOADERS: dict[str, Loader] = {
    "judge": Loader("judge.load", DENSE, classes="paperdoll"),
    "tag-judge": Loader("tagjudge.load", (WORDS,)),
    "hed": _aux("maps.hed", "edges", "ControlNetHED.pth", "einops"),
    "pidinet": _aux("maps.pidinet", "edges", "table5_pidinet.pth"),
    "midas": _aux("maps.midas", "depth", "dpt_hybrid-midas-501f0c75.pt", "timm", side=512),
    "normalbae": _aux("maps.normalbae", "normal", "scannet.pt", "timm"),
    "openpose": _aux("openpose.load", "pose", "body_pose_model.pth", side=512),
    "dwpose": Loader(
        "annotators.dwpose.load",
        ("pose",),
        ("yolox_l.onnx", "dw-ll_ucoco_384.onnx"),
        "yzd-v/DWPose",
        packages=("onnxruntime", "cv2"),
    ),
    "mlsd": _aux("mlsd.load", "lines", "mlsd_large_512_fp32.pth"),
    "lineart": _aux("maps.lineart", "lineart", "sk_model.pth", "einops"),
    "lineart-anime": _aux("maps.lineart_anime", "lineart_anime", "netG.pth", "einops"),
    "depth-transformers": Loader(
        "annotators.transformers_models.depth", ("depth",), processor=True
    ),
    "segmentation-transformers": Loader(
        "annotators.transformers_models.segmentation", ("segmentation",), processor=True
    ),
    "vqa": Loader("annotators.vqa.load", (WORDS,), processor=True),
}
"""Every loader that a catalogue may name."""


def package_problem(loader: str) -> str:
    """Which packages a loader needs that are not installed, as one sentence, else ""."""
    missing = [name for name in LOADERS[loader].packages if find_spec(name) is None]
    if not missing:
        return ""
    names = " ".join(_PIP.get(name, name) for name in missing)
    return f"the loader {loader} needs packages that are not installed: pip install {names}"
