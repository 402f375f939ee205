"""Protects: samplers and dtypes are stated once, every name is one that diffusers and PyTorch have,
and what people write is understood."""

from typing import get_args

import diffusers
import pytest
import torch

from workbench.dtypes import DTYPE_BYTES, DtypeName
from workbench.samplers import FLOW_SAMPLERS, SAMPLERS, Sampler, SamplerName, sampler_name


def test_the_tables_hold_every_name_that_a_study_may_write() -> None:
    assert get_args(SamplerName) == tuple(SAMPLERS)
    assert get_args(DtypeName) == tuple(DTYPE_BYTES)


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=list(SAMPLERS))
def test_samplers_are_classes_of_diffusers(sampler: Sampler) -> None:
    for name in filter(None, (sampler.scheduler, sampler.flow_scheduler)):
        assert issubclass(getattr(diffusers, name), diffusers.SchedulerMixin)


def test_some_are_not_defined_for_flow_matching() -> None:
    assert FLOW_SAMPLERS == ("unipc", "euler", "dpm++")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Euler", "euler"),
        ("Euler a", "euler a"),
        ("euler_ancestral", "euler a"),
        ("EULER  A", "euler a"),
        ("DPM++ 2M", "dpm++"),
        ("dpmpp_2m", "dpm++"),
        ("DPM++ 2M Karras", "dpm++ 2m karras"),
        ("dpmpp_2m_karras", "dpm++ 2m karras"),
        ("DPM++ 2M SDE", "dpm++ 2m sde"),
        ("dpm++ 2m sde karras", "dpm++ 2m sde karras"),
        ("UniPC", "unipc"),
        ("uni_pc", "unipc"),
        ("LMS Karras", "lms karras"),
        ("DDIM", "ddim"),
        ("Heun", "Heun"),
        (3, 3),
    ],
)
def test_the_names_of_other_programs_are_understood(written: object, meant: object) -> None:
    assert sampler_name(written) == meant


def test_no_name_means_two_samplers() -> None:
    for name, sampler in SAMPLERS.items():
        assert {sampler_name(w) for w in (name, sampler.webui, *sampler.also)} == {name}


@pytest.mark.parametrize(("name", "size"), DTYPE_BYTES.items())
def test_dtypes_are_pytorchs_and_as_large(name: str, size: int) -> None:
    assert getattr(torch, name).itemsize == size
