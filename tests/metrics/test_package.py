"""Protects the public face of the metrics: lazy, complete, torchmetrics' words, declared once."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
from torchmetrics import Metric

from workbench import metrics
from workbench.controls import CONTROL_NAMES, get_control
from workbench.metrics import functional
from workbench.metrics.spec import TRAITS, MetricSpec

CLASSES = sorted(set(metrics.__all__) - {"MetricSpec", "Reading", "functional"})


def test_importing_the_package_loads_no_torch() -> None:
    code = "import sys, workbench.metrics as m; assert 'EdgeF1' in dir(m); assert 'torch' not in "
    subprocess.run([sys.executable, "-c", code + "sys.modules"], check=True)


def test_all_is_complete() -> None:
    assert set(CLASSES) == set(TRAITS)
    assert set(metrics.__all__) <= set(dir(metrics))
    with pytest.raises(AttributeError, match="no attribute 'EdgeF2'"):
        metrics.EdgeF2  # noqa: B018


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_is_a_torchmetrics_metric_with_an_example(name: str) -> None:
    kind = getattr(metrics, name)
    assert issubclass(kind, Metric)
    assert kind.higher_is_better is TRAITS[name].higher_is_better
    assert (kind.plot_lower_bound, kind.plot_upper_bound) == (TRAITS[name].low, TRAITS[name].high)
    assert list(inspect.signature(kind.update).parameters) == ["self", "preds", "target"]
    assert f">>> metric = {name}(" in kind.__doc__


@pytest.mark.parametrize("name", sorted(set(functional.__all__) - {"default_tolerance", "thin"}))
def test_every_function_takes_preds_and_target(name: str) -> None:
    names = list(inspect.signature(getattr(functional, name)).parameters)
    assert names[: 1 if name == "clip_diversity" else 2] == ["preds", "target"][: len(names)]


def test_name_plates_take_direction_and_range_from_the_metric() -> None:
    plates = [spec for name in CONTROL_NAMES for spec in get_control(name).metrics]
    traits = {(s.higher_is_better, s.low, s.high, s.unit, s.whole) for s in plates}
    assert traits <= set(map(tuple, TRAITS.values()))
    plate = MetricSpec.of("DepthRMSE255", "depth_rmse", "Depth RMSE", "so")
    assert (plate.higher_is_better, plate.low, plate.high, plate.unit) == (False, 0, 255, "/255")
    with pytest.raises(KeyError):
        MetricSpec.of("EdgeF2", "edge_f2", "F2")
