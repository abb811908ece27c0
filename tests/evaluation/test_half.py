"""An overflow in float16 that is planted: where it begins, what is left of the images, and that rescaling undoes it."""

from __future__ import annotations

import math

import pytest
import torch

from lehr.activations import LIMIT
from lehr.evaluation.half import fit_for_half, measure_half
from lehr.models import Autoencoder, KLAutoencoder
from lehr.objective.likelihood import Bernoulli
from lehr.posterior import Point

LEVEL = "decoder.up_blocks.1.resnets"
PLANTED = f"{LEVEL}.0.conv2"


def model_of(factor: float = 1.0) -> KLAutoencoder:
    torch.manual_seed(0)
    small = {"base_channels": 16, "channel_multipliers": (1, 2), "layers": 1, "norm_groups": 4}
    model = KLAutoencoder((3, 32, 32), **small).eval()
    with torch.no_grad():
        for i in range(2):  # all that the last level adds to the residual stream
            for parameter in model.get_submodule(f"{LEVEL}.{i}.conv2").parameters():
                parameter *= factor
    return model


def test_a_planted_overflow_is_found_where_it_begins_and_images_are_lost():
    found = measure_half(model_of(3e5), [torch.rand(2, 3, 32, 32)])
    assert found.first_over == found.broken == PLANTED
    assert found.headroom == pytest.approx(math.log2(65504 / found.largest[found.worst]))
    assert found.headroom < 0
    assert found.broken_share > 0.5
    assert found.psnr is None


def test_a_sound_model_has_headroom_and_the_same_images_in_float16():
    found = measure_half(model_of(), [torch.rand(2, 3, 32, 32), torch.rand(1, 3, 48, 32)])
    assert (found.first_over, found.broken, found.broken_share) == (None, None, 0)
    assert found.headroom > 8
    assert found.psnr > 50


def test_rescaled_it_has_the_images_of_before_in_both_precisions():
    """PSNR between before and after: that of float32's rounding. In float16 as close as a model without the fault."""
    model, x = model_of(3e5), [torch.rand(2, 3, 32, 32)]
    before, fitted, after = measure_half(model, x), fit_for_half(model, x), measure_half(model, x)
    assert [stretch.name for stretch in fitted.stretches] == [f"{LEVEL}.0.conv_shortcut"]
    assert before.broken == PLANTED
    assert (after.broken, after.broken_share) == (None, 0)
    assert fitted.before == before.largest[before.worst]
    assert fitted.after == after.largest[after.worst] <= LIMIT
    assert fitted.psnr > 100
    assert after.psnr > 50


def test_what_is_not_finite_in_float32_already_has_no_room_at_all():
    for wrong in (math.nan, math.inf):
        model = model_of()
        with torch.no_grad():
            model.decoder.conv_in.bias[0] = wrong
        found = measure_half(model, [torch.rand(1, 3, 32, 32)])
        assert found.headroom == -math.inf
        assert found.first_over == found.worst == "decoder.conv_in"


def test_a_model_that_computes_in_float32_alone_is_measured_in_it():
    class Fixed(Autoencoder):
        def __init__(self) -> None:
            super().__init__((3, 4, 4), (3, 4, 4))
            self.conv, self.offset = torch.nn.Conv2d(3, 3, 1), torch.ones(3, 3)

        def encode(self, x: torch.Tensor) -> Point:
            return Point(self.conv(x.to(self.dtype)).float())

        def decode(self, z: torch.Tensor) -> torch.Tensor:
            return self.conv(z.to(self.dtype)).movedim(1, -1).matmul(self.offset).movedim(-1, 1)

    found = measure_half(Fixed(), [torch.rand(1, 3, 4, 4)], emulated=False)
    assert (found.broken, found.broken_share, found.psnr) == (None, None, None)
    assert found.headroom > 8


def test_images_are_compared_as_the_likelihood_has_them():
    model, x = model_of(), [torch.rand(2, 3, 32, 32)]
    plain, squashed = measure_half(model, x), measure_half(model, x, Bernoulli().mean)
    assert squashed.psnr > plain.psnr + 10  # the slope of the sigmoid is a quarter at most


@pytest.mark.parametrize("factor", [1.0, 3e5])
def test_float16_emulated_in_float32_is_that_of_the_machine(factor):
    """The same modules overflow, and the same pixels are lost; sums differ in their last bit, of 11."""
    model, x = model_of(factor), [torch.rand(2, 3, 32, 32)]
    true, emulated = (measure_half(model, x, emulated=emulated) for emulated in (False, True))
    assert (true.is_emulated, emulated.is_emulated) == (False, True)
    assert emulated.broken == true.broken
    assert emulated.broken_share == true.broken_share
    of_both = [(value, emulated.in_half[name]) for name, value in true.in_half.items() if name in emulated.in_half]
    assert len(of_both) > 50
    assert all(b == pytest.approx(a, rel=5e-3, nan_ok=True) for a, b in of_both)
    if true.psnr is not None:
        assert emulated.psnr == pytest.approx(true.psnr, abs=1)


def test_what_is_emulated_is_rounded_within_modules_too():
    """Sums of 40,000 and 40,000 that a module takes apart again: infinite on the way in float16."""
    torch.manual_seed(0)

    class Summed(Autoencoder):
        def __init__(self) -> None:
            super().__init__((3, 4, 4), (3, 4, 4))
            self.encoder, self.decoder = torch.nn.Identity(), _Sums()

        def encode(self, x: torch.Tensor) -> Point:
            return Point(self.encoder(x.to(self.dtype)).float())

        def decode(self, z: torch.Tensor) -> torch.Tensor:
            return self.decoder(z.to(self.dtype))

    found = [measure_half(Summed(), [torch.rand(1, 3, 4, 4)], emulated=emulated) for emulated in (False, True)]
    assert [(one.broken, one.broken_share, one.headroom > 8) for one in found] == [("decoder", 1, True)] * 2


class _Sums(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(40_000.0))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return (z / z * self.scale + self.scale) / (2 * self.scale) * z
