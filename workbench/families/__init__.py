"""Model families: what belongs together, where it lies, and how it is loaded.

The plain names are re-exported here. `workbench.families.manager` and `.clip_judge` load torch, so
they are imported where a model is needed.
"""

from workbench.families.catalogue import (
    CLIP,
    Family,
    FamilyDefaults,
    FamilyError,
    get_family,
    know_families,
    load_catalogue,
)
from workbench.families.loaders import WORDS
from workbench.families.locate import LocateError
from workbench.families.refs import ControlNetRef, ModelRef, NetworkRef
from workbench.families.runtime import Runtime
from workbench.paths import data_dir, models_dir

__all__ = [
    "CLIP",
    "WORDS",
    "ControlNetRef",
    "Family",
    "FamilyDefaults",
    "FamilyError",
    "LocateError",
    "ModelRef",
    "NetworkRef",
    "Runtime",
    "data_dir",
    "get_family",
    "know_families",
    "load_catalogue",
    "models_dir",
]
