"""A model that is equivariant to all, and models that are not to one of them each."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lehr.evaluation.probes.equivariance import EQUIVARIANCE, TRANSFORMS, equivariance
from lehr.evaluation.probes.probe import ProbeInputs
from lehr.models import Autoencoder
from lehr.objective.likelihood import Gaussian
from lehr.posterior import Point


class Pooled(Autoencoder):
    """Means of 4 x 4 pixels, and back: nothing in it knows left from right."""

    any_size = True

    def __init__(self) -> None:
        super().__init__((3, 32, 32), (3, 8, 8))

    def encode(self, x: Tensor) -> Point:
        return Point(F.avg_pool2d(x, 4))

    def decode(self, z: Tensor) -> Tensor:
        return F.interpolate(z, scale_factor=4, mode="nearest")


class Ordered(Pooled):
    """Keeps all pixels of a cell, in an order that a flip does not know of."""

    def encode(self, x: Tensor) -> Point:
        return Point(F.pixel_unshuffle(x, 4))

    def decode(self, z: Tensor) -> Tensor:
        return F.pixel_shuffle(z, 4)


class Anchored(Pooled):
    """Writes into a latent where on the map it lies, and takes it out again."""

    def _ramp(self, z: Tensor) -> Tensor:
        return torch.linspace(0, 4, z.shape[3]).expand(1, 1, *z.shape[2:])

    def encode(self, x: Tensor) -> Point:
        z = super().encode(x).mean
        return Point(z + self._ramp(z))

    def decode(self, z: Tensor) -> Tensor:
        return super().decode(z - self._ramp(z))


def probed(model: Autoencoder, **values):
    torch.manual_seed(0)
    images = F.interpolate(torch.rand(4, 3, 16, 16), size=(32, 32), mode="bilinear").split(2)
    return EQUIVARIANCE.measure(ProbeInputs(model, Gaussian(), images, torch.device("cpu"), **values))


def test_a_model_that_is_equivariant_has_no_error():
    found = probed(Pooled())
    for name in TRANSFORMS:
        assert found.values[f"{name}_encoder"] == pytest.approx(0, abs=1e-6)
        assert found.values[f"{name}_lost"] == pytest.approx(0, abs=1e-4)
        if name != "scale":  # a cell cannot be both decoded as one colour and halved
            assert found.values[f"{name}_decoder"] == pytest.approx(0, abs=1e-6)
    assert not found.fault
    assert found.picture.shape == (3, 5 * 66 + 2, 3 * 66 + 2)  # five rows of three, enlarged twice


def test_an_order_within_cells_is_lost_by_flips_and_turns_alone():
    found = probed(Ordered())
    assert found.values["shift_lost"] == pytest.approx(0, abs=1e-6)
    assert min(found.values[f"{name}_lost"] for name in ("flip_horizontal", "flip_vertical", "rotation")) > 20
    assert "further from the transformed ones" in found.sentence
    assert not found.fault  # as does every autoencoder that was not trained for them


def test_a_latent_that_knows_where_it_lies_is_known_by_its_shift_and_flip():
    found = probed(Anchored())
    assert found.values["flip_horizontal_lost"] > 3
    assert found.values["flip_vertical_lost"] == pytest.approx(0, abs=1e-4)
    assert found.values["shift_encoder"] > 0.1
    assert found.fault
    assert "a shift by a cell, which convolutions do not see, costs" in found.sentence


def test_errors_are_relative_to_the_deviation_from_the_mean():
    """An encoder that gives noise of its own: sqrt(2) times what the means leave, as for two independent draws."""
    torch.manual_seed(0)
    noise = lambda x: torch.randn(len(x), 3, x.shape[2] // 4, x.shape[3] // 4)  # noqa: E731
    x, decode = torch.rand(64, 3, 32, 32), Pooled().decode
    found = equivariance(TRANSFORMS["flip_vertical"], noise, decode, [(x, z := noise(x), decode(z))], 4)
    assert found.encoder == pytest.approx(math.sqrt(2), rel=0.05)
    assert found.decoder == 0


def test_small_maps_and_vectors_have_none():
    inputs = ProbeInputs(Pooled(), Gaussian(), (torch.rand(1, 3, 8, 32),), torch.device("cpu"))
    assert EQUIVARIANCE.lacks(inputs) == "needs 4 cells along each side of an image, here 2"
