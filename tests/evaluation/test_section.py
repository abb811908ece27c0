"""A section of an evaluation says what it needs, and in a line why it has not got it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from lehr.evaluation.section import Inputs, Plan, Section, lacks_density
from lehr.evaluation.subject import Encoded, silent
from lehr.posterior.gaussian import DiagonalGaussian

PLAN = Plan(split="test", full=True, examples=None, iwae_samples=2, samplers=("a", "b"))


class WithoutDensity(DiagonalGaussian):
    has_density = False


def inputs(kind: type[DiagonalGaussian] = DiagonalGaussian, sampler=None) -> Inputs:
    """Of three examples that are encoded already."""
    found = Inputs(SimpleNamespace(), PLAN, sampler, silent)
    zeros = torch.zeros(3, 2)
    vars(found)["encoded"] = vars(found)["training"] = Encoded(kind(zeros, zeros), zeros)
    return found


def test_a_section_that_lacks_something_has_a_note_and_measures_nothing():
    section = Section("likelihood", lambda inputs: pytest.fail("is measured"), lacks=lacks_density)
    (note,) = section.table(inputs(WithoutDensity)).items()
    assert note[0] == "likelihood/note"
    assert note[1].startswith("posteriors of this kind (WithoutDensity) have no density")
    section = Section("likelihood", lambda inputs: {"elbo": -1.0}, lacks=lacks_density)
    assert section.table(inputs()) == {"likelihood/elbo": -1.0}


def test_samplers_that_cannot_be_had_are_left_out_with_a_reason_and_none_is_asked_for_twice():
    asked = []

    def sampler(name, training, show):
        asked.append(name)
        if name == "a":
            raise ValueError("no covariance")
        return name

    found = inputs(sampler=sampler)
    assert found.densities == ({"b": "b"}, {"a": "no covariance"})
    assert found.densities is found.densities
    assert asked == ["a", "b"]
