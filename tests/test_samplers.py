"""Protects: samplers and dtypes are stated once, and every name is one that diffusers and PyTorch
have."""

from typing import get_args

import diffusers
import pytest
import torch

from workbench.dtypes import DTYPE_BYTES, DtypeName
from workbench.samplers import FLOW_SAMPLERS, SAMPLERS, Sampler, SamplerName


def test_the_tables_hold_every_name_that_a_study_may_write() -> None:
    assert get_args(SamplerName) == tuple(SAMPLERS)
    assert get_args(DtypeName) == tuple(DTYPE_BYTES)


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=list(SAMPLERS))
def test_samplers_are_classes_of_diffusers(sampler: Sampler) -> None:
    for name in filter(None, (sampler.scheduler, sampler.flow_scheduler)):
        assert issubclass(getattr(diffusers, name), diffusers.SchedulerMixin)


def test_ddim_is_not_defined_for_flow_matching() -> None:
    assert FLOW_SAMPLERS == ("unipc", "euler", "dpm++")


@pytest.mark.parametrize(("name", "size"), DTYPE_BYTES.items())
def test_dtypes_are_pytorchs_and_as_large(name: str, size: int) -> None:
    assert getattr(torch, name).itemsize == size
