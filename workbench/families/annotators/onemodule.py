"""One module of controlnet-aux at a time, without its package.

`import controlnet_aux` imports every annotator it has (10 s and many warnings), and so would
`import controlnet_aux.hed`. Here the packages above the module stand in empty while it loads.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib import util
from threading import Lock
from types import ModuleType

PACKAGE = "controlnet_aux"
_LOCK = Lock()


def aux_module(name: str) -> ModuleType:
    """The module `controlnet_aux.<name>`, imported alone.

    Afterwards a plain `import controlnet_aux` works as if this had not been called. Raises
    ImportError if controlnet-aux or what the module itself imports is not installed.
    """
    full = f"{PACKAGE}.{name}"
    with _LOCK:
        if full in sys.modules:
            return sys.modules[full]
        parents = [full.rsplit(".", depth)[0] for depth in range(full.count("."), 0, -1)]
        empty = [parent for parent in parents if parent not in sys.modules]
        try:
            for parent in empty:
                sys.modules[parent] = _empty(parent)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return importlib.import_module(full)
        finally:
            for parent in empty:
                sys.modules.pop(parent, None)


def _empty(name: str) -> ModuleType:
    spec = util.find_spec(name)
    if spec is None:
        raise ImportError("controlnet-aux (pip install controlnet-aux)")
    return util.module_from_spec(spec)
