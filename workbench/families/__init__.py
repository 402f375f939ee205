"""Model families: what belongs together, where it lies, and how it is loaded.

The plain names are re-exported here. `workbench.families.loading` and `.clip_judge` load torch, so
they are imported where a model is needed.
"""

from workbench.families.locate import LocateError
from workbench.families.runtime import Runtime
from workbench.families.spec import (
    CLIP,
    ControlNetRef,
    Family,
    FamilyDefaults,
    FamilyError,
    ModelRef,
    NetworkRef,
    get_family,
    load_catalogue,
)
from workbench.paths import data_dir, models_dir

__all__ = [
    "CLIP",
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
    "load_catalogue",
    "models_dir",
]
