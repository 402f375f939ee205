"""Networks that read photographs for the controls; the code of each is imported when it is used.

Most are networks of controlnet-aux, whose classes are taken from it and whose weights are read
here, safely; the others are models of transformers, or files for onnxruntime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from workbench.families.annotators.weights import Weights
from workbench.families.catalogue import FamilyError
from workbench.families.loaders import LOADERS, Network, package_problem
from workbench.families.locate import LocateError, Place
from workbench.families.refs import NetworkRef


def load_networks(
    ref: NetworkRef,
    locate: Callable[[NetworkRef], Place],
    device: str,
    resolution: int = 512,
) -> Mapping[str, Network]:
    """The networks of one catalogue entry, in float32 on a device, by name.

    locate: finds the folder of the entry, after a download where it is not on this disk.
    resolution: the side in pixels of the family's pictures, at which most maps are read.
    Each takes uint8 N×H×W×3 and returns what `workbench.controls.Networks` says of its name.
    Raises LocateError, naming the file, if a weight file is missing; FamilyError if it holds
    something else or a package that the loader needs is not installed.
    """
    if problem := package_problem(ref.loader):
        raise FamilyError(problem)
    try:
        place = locate(ref)
    except LocateError as error:
        if not ref.files:
            raise
        needed = f"the loader {ref.loader} needs {' and '.join(ref.files)}{ref.source}"
        raise LocateError(f"{error}; {needed}") from error
    module, _, function = LOADERS[ref.loader].code.rpartition(".")
    try:
        load = getattr(import_module(f"workbench.families.{module}"), function)
        networks: Mapping[str, Network] = load(Weights(ref, place, resolution), device)
    except ImportError as error:
        raise FamilyError(
            f"the loader {ref.loader} needs a package that is not installed: {error}"
        ) from error
    return networks
