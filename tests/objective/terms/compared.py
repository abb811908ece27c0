"""What a term is given in tests, of images and reconstructions or of a model and images."""

from __future__ import annotations

import torch

from lehr import randomness
from lehr.models import Components
from lehr.objective import ELBO, AnnealedKL, Laplace, StandardNormalPrior
from lehr.objective.step import StepInputs
from lehr.objective.terms.term import TermInputs
from lehr.posterior import Point


def images(b, shape, stream="x"):
    """(b, *shape) in [0, 1], always the same ones."""
    return randomness.uniform(0, stream, 0, (b, *shape))


def uniform(stream, shape):
    return randomness.uniform(0, stream, 0, shape)


def step_inputs(x, step=0):
    """One rank's batch of images."""
    return StepInputs(x, lambda shape: torch.zeros(len(x), *shape), {}, step, len(x), 10, 1, lambda sums: sums, uniform)


def term_inputs(x, y):
    """Of images and their reconstructions; there is no model, and a latent is an image."""
    return TermInputs(step_inputs(x), None, Point(x), x, y, y.sum())


def compared(term, x, y):
    """What a term that compares images gives: (b,)."""
    return term(term_inputs(x, y)).value


def parts(model):
    """Components around a model, with the likelihood whose error weighs 1."""
    prior = StandardNormalPrior(model.latent_shape, model.image_shape)
    return Components(model, Laplace(0.5), prior, AnnealedKL(1.0, hold=0, warmup=0), ELBO())
