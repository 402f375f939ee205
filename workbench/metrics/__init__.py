"""Metrics: torchmetrics `Metric` classes with functional twins, one module per kind.

Only the plain names are re-exported. `workbench.metrics.edges`, `.depth`, `.structure` and the rest
load torch, so they are imported where a value is computed.
"""

from workbench.metrics.spec import MetricSpec, Reading

__all__ = ["MetricSpec", "Reading"]
