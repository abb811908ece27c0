"""Noise that does nothing, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from toy import Exact, inputs, smooth_images

from lehr.evaluation.probes.noise import NOISE
from lehr.posterior.point import Point


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


def test_noise_that_the_decoder_gives_on_as_it_is_has_its_size():
    images = smooth_images()
    found = NOISE.measure(inputs(Exact(std=0.01), images))
    assert not found.fault
    assert found.values["psnr"] == pytest.approx(40, abs=0.05)  # -20 log10(0.01)
    assert found.values["psnr_sample"] == pytest.approx(40, abs=0.05)
    assert found.values["psnr_mean"] > 100
    assert found.values["std_share"] == pytest.approx(0.01 / math.sqrt(float(images.var(0, correction=0).mean())))
    assert found.values["laplacian"] > 0
    assert 0 < found.values["lost_float16"] < found.values["lost_bfloat16"] < 0.5


def test_noise_that_is_smaller_than_rounding_is_a_fault():
    found = NOISE.measure(inputs(Exact(std=1e-5)))
    assert found.fault
    assert found.values["psnr"] == pytest.approx(100, abs=0.1)
    assert found.values["lost_bfloat16"] > 0.9


def test_a_decoder_that_does_not_look_at_the_noise_is_a_fault_whatever_its_size():
    assert NOISE.measure(inputs(Exact(std=0.5, of_images=lambda y: torch.full_like(y, 0.5)))).fault


def test_the_same_seed_gives_the_same_numbers_in_batches_of_any_size():
    images = smooth_images()
    first, again = (inputs(Exact(), images) for _ in range(2))
    object.__setattr__(again, "images", images.split(3))
    other = inputs(Exact(), images, seed=1)
    one, same, another = (NOISE.measure(given).values["psnr"] for given in (first, again, other))
    assert one == pytest.approx(same, abs=1e-6)
    assert one != pytest.approx(another, abs=1e-6)


def test_a_point_has_no_noise():
    class OfPoints(Exact):
        def encode(self, x):
            return Point(super().encode(x).mean)

    assert NOISE.lacks(inputs(OfPoints())) == "the posterior is a point: there is no noise"
