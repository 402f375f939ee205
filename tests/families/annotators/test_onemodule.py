"""Protects: one annotator is imported without the nine others, quickly, and the package survives.

Each test starts a process of its own, for what is imported stays imported.
"""

from __future__ import annotations

import subprocess
import sys

ONE = """
import sys, time
import torch, cv2
from workbench.families.annotators.onemodule import aux_module
start = time.perf_counter()
made = aux_module("hed")
took = time.perf_counter() - start
mine = sorted(name for name in sys.modules if name.startswith("controlnet_aux"))
heavy = sorted({"timm", "mediapipe", "skimage", "transformers"} & set(sys.modules))
print(mine, heavy, took < 3, hasattr(made, "ControlNetHED_Apache2"), made is aux_module("hed"))
"""

AFTER = """
import warnings; warnings.simplefilter("ignore")
from workbench.families.annotators.onemodule import aux_module
model = aux_module("open_pose.model").bodypose_model
made = aux_module("hed").HEDdetector
import controlnet_aux
print(controlnet_aux.HEDdetector is made, hasattr(controlnet_aux, "OpenposeDetector"))
print(aux_module("hed") is sys.modules["controlnet_aux.hed"])
""".replace("import warnings;", "import sys, warnings;")


def run(code: str) -> tuple[list[str], str]:
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    )
    return done.stdout.splitlines(), done.stderr


def test_one_module_comes_alone_and_in_silence() -> None:
    out, err = run(ONE)
    assert out == ["['controlnet_aux.hed', 'controlnet_aux.util'] [] True True True"]
    assert err == ""


def test_the_package_can_still_be_imported_afterwards() -> None:
    out, _ = run(AFTER)
    assert out[-2:] == ["True True", "True"]
