"""Encode with one, decode with another: by models whose answers can be worked out."""

from __future__ import annotations

import math

import pytest
import torch

from lehr.evaluation.swap import latent_problems, swap
from lehr.models.autoencoder import Autoencoder
from lehr.objective.likelihood import Gaussian
from lehr.posterior.point import Point


class Scaled(Autoencoder):
    """z = factor * x + offset, and back."""

    def __init__(self, factor, offset=0.0):
        super().__init__((1, 4, 4), (1, 4, 4))
        self.factor, self.offset = factor, offset

    def encode(self, x):
        return Point(self.factor * x + self.offset)

    def decode(self, z):
        return (z - self.offset) / self.factor


@pytest.fixture
def swapped():
    def run(conventions):
        images = (torch.arange(3 * 16).view(3, 1, 4, 4) % 11 * 20 / 255).float()
        models = {"a": Scaled(1.0), "b": Scaled(2.0, 0.5)}
        means = {name: model.encode(images).mean for name, model in models.items()}
        parts = {name: (model, Gaussian()) for name, model in models.items()}
        return images, swap(parts, means, lambda: iter(images.split(2)), conventions)

    return run


def test_each_decodes_its_own_latents_and_misses_those_of_the_other_by_what_can_be_worked_out(swapped):
    images, found = swapped({"a": None, "b": ((0.5,), (0.0,))})
    assert found.psnr["a"]["a"] == found.psnr["b"]["b"] == 100
    missed = ((images.double() - 0.5) / 2).clamp(0, 1).mul(255).round() / 255 - images.double()
    expected = (-10 * missed.square().flatten(1).mean(1).log10()).mean()
    assert found.psnr["a"]["b"] == pytest.approx(float(expected), rel=1e-6)
    assert found.scaled is None  # of a nobody says how it is scaled
    assert found.note == "scaling and shift factor: b 0.5 and 0"


def test_what_is_scaled_by_one_convention_and_back_by_the_other_is_the_others_latent(swapped):
    # b's latents have twice the spread of a's, about another mean
    _, found = swapped({"a": ((4.0,), (0.25,)), "b": ((2.0,), (1.0,))})
    assert all(math.isclose(value, 100) for row in found.scaled.values() for value in row.values())
    assert found.psnr["a"]["b"] < 20
    _, same = swapped(dict.fromkeys("ab", ((4.0,), (0.25,))))
    assert same.scaled is None  # no other number than the first


def test_channels_that_are_scaled_by_themselves_are_scaled_back_so():
    """b's channels are a's times 2 and 5, each about a mean of its own."""

    class Channels(Scaled):
        def __init__(self, factors, offsets):
            Autoencoder.__init__(self, (2, 4, 4), (2, 4, 4))
            self.factor, self.offset = (torch.tensor(part).view(2, 1, 1) for part in (factors, offsets))

    images = (torch.arange(2 * 32).view(2, 2, 4, 4) % 11 * 20 / 255).float()
    models = {"a": Channels([1.0, 1.0], [0.0, 0.0]), "b": Channels([2.0, 5.0], [0.5, -1.0])}
    means = {name: model.encode(images).mean for name, model in models.items()}
    parts = {name: (model, Gaussian()) for name, model in models.items()}
    conventions = {"a": ((0.5,), (0.25,)), "b": ((0.25, 0.1), (1.0, 0.25))}
    found = swap(parts, means, lambda: iter([images]), conventions)
    assert all(math.isclose(value, 100) for row in found.scaled.values() for value in row.values())
    assert found.note == "scaling and shift factor: a 0.5 and 0.25; b 0.1 to 0.25 by channel and 0.25 to 1 by channel"


def test_latents_of_another_shape_are_told_in_a_line():
    (problem,) = latent_problems({"a": (4, 8, 8), "b": (4, 8, 8), "c": (16, 8, 8)})
    assert problem == "swap=true: latents of c are 16 x 8 x 8, and those of a 4 x 8 x 8: not the same space"
