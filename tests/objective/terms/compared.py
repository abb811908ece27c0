"""What a term is given in tests, of images and reconstructions or of a model and images."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from lehr import randomness
from lehr.models import Components
from lehr.models.autoencoder import Autoencoder
from lehr.objective import ELBO, AnnealedKL, Laplace, StandardNormalPrior
from lehr.objective.step import StepInputs
from lehr.objective.terms import WithTerms
from lehr.objective.terms.term import TermInputs
from lehr.posterior import DiagonalGaussian, Point


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


class Small(Autoencoder):
    """Two convolutions that halve and double images of whatever channels."""

    def __init__(self, shape):
        c, h, w = shape
        super().__init__(shape, (2, h // 2, w // 2))
        with randomness.seeded(0, "small"):
            self.encoder, self.decoder = nn.Conv2d(c, 4, 2, stride=2), nn.ConvTranspose2d(2, c, 2, stride=2)

    def encode(self, x):
        return DiagonalGaussian(*self.encoder(x).chunk(2, dim=1))

    def decode(self, z):
        return self.decoder(z)


def share_of_gradients(term, shape, b=2, precision=None):
    """How large the term's gradient is beside that of the rest of the loss, for encoder and decoder."""
    model, x = Small(shape), images(b, shape)
    found = []
    for terms in ({}, {"term": term}):
        held = replace(parts(model), objective=WithTerms(ELBO(), terms))
        given = replace(step_inputs(x), values=held.rate_term.values(0))
        with torch.autocast("cpu", dtype=precision or torch.bfloat16, enabled=precision is not None):
            result = held.objective.step(given, held)
        assert result.values.dtype == torch.float32
        found.append(torch.autograd.grad(result.total, [model.encoder.weight, model.decoder.weight]))
    return [((a - b).norm() / b.norm()).item() for a, b in zip(found[1], found[0], strict=True)]
