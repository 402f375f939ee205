"""Generation: batched ControlNet sampling on the stock diffusers pipelines."""

from workbench.cancel import CancelToken
from workbench.generation.batching import Batch, BatchKey, BatchSizer, plan_batches
from workbench.generation.checks import check_sample
from workbench.generation.control_hook import ControlHook
from workbench.generation.events import SampleResult, Step
from workbench.generation.recovery import GenerationError
from workbench.generation.sampler import generate

__all__ = [
    "Batch",
    "BatchKey",
    "BatchSizer",
    "CancelToken",
    "ControlHook",
    "GenerationError",
    "SampleResult",
    "Step",
    "check_sample",
    "generate",
    "plan_batches",
]
