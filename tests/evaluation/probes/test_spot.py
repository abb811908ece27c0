"""A spot is found where it is, at every size; what images hold, borders and constants are none."""

from __future__ import annotations

import pytest
import torch
from toy import Exact, inputs, smooth_images

from lehr.evaluation.probes.spot import SPOT, outlier


def spotted(z, row=5, column=11, times=4.0):
    z = z.clone()
    z[:, :, row, column] *= times
    return z


def test_a_planted_spot_is_found_where_it_is_at_each_size():
    found = SPOT.measure(inputs(Exact(128, of_latents=spotted), sizes=(64, 128, 192)))
    assert found.fault
    assert found.values["size"] == [128, 192]  # 64 is 8 cells, which are nearly all border
    assert (found.values["row"], found.values["column"]) == ([5, 5], [11, 11])
    assert found.values["excess"] == pytest.approx(3, rel=0.5)
    assert "row 5 column 11 of 16 x 16" in found.sentence
    assert found.picture.shape[0] == 3


def test_a_spot_of_the_variance_alone_is_found():
    def certain(logvar):
        logvar = logvar.clone()
        logvar[:, :, 9, 4] -= 12
        return logvar

    found = SPOT.measure(inputs(Exact(128, of_logvar=certain)))
    assert found.fault
    assert (found.values["row"], found.values["column"]) == ([9], [4])
    assert "the log-variance differs by -12.0 nats" in found.sentence


def padded(z):
    """A border that is three times as large, as after convolutions that are padded."""
    weight = torch.full_like(z[:1, :1], 3.0)
    weight[..., 1:-1, 1:-1] = 1.0
    return z * weight


def subject_in_the_middle():
    images = smooth_images(side=128) * 0.1
    images[..., 40:88, 40:88] += 0.8
    return images


def one_image_with_a_light():
    images = smooth_images(side=128)
    images[3, :, 40:48, 40:48] = 1.0
    images[:3, :, 40:48, 40:48] = 0.0
    return images


@pytest.mark.parametrize(
    ("model", "images"),
    [
        (Exact(128), None),
        (Exact(128), torch.full((10, 3, 128, 128), 0.5)),
        (Exact(128), torch.zeros(10, 3, 128, 128)),
        (Exact(128, of_latents=padded), None),
        (Exact(128, of_latents=padded), torch.full((10, 3, 128, 128), 0.5)),
        (Exact(128), subject_in_the_middle()),
        (Exact(128), one_image_with_a_light()),
    ],
    ids=["none", "constant", "black", "border", "border alone", "subject", "one image"],
)
def test_what_is_no_spot_gives_no_alarm(model, images):
    found = SPOT.measure(inputs(model, images))
    assert not found.fault, found.sentence


def test_how_much_the_border_differs_is_said():
    found = SPOT.measure(inputs(Exact(128, of_latents=padded), torch.full((10, 3, 128, 128), 0.5)))
    cells, wide = 16 * 16 - 12 * 12, 16 * 16 - 14 * 14  # of the two cells that are left out, one is larger
    assert found.values["border_to_centre"] == pytest.approx((3 * wide + cells - wide) / cells, rel=1e-6)


def test_noise_alone_is_far_below_the_threshold():
    values = torch.randn(100, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 10
    z, *_ = outlier(values)
    assert 0.5 < z < 6


def test_few_images_and_small_maps_say_nothing():
    assert "too few" in SPOT.lacks(inputs(Exact(128), smooth_images(3, 128)))
    assert SPOT.lacks(inputs(Exact(64))) == "latent maps of 8 cells are nearly all border"
