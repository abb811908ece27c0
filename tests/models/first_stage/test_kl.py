"""KLAutoencoder against diffusers' AutoencoderKL."""

from __future__ import annotations

import pytest
import torch

from lehr.errors import NoDensity
from lehr.models import KLAutoencoder
from lehr.models.first_stage.base import PosteriorForm

SMALL = {"base_channels": 8, "channel_multipliers": (1, 2), "layers": 1, "norm_groups": 4}


def small(image_shape: tuple[int, int, int] = (3, 16, 16), **values) -> KLAutoencoder:
    torch.manual_seed(0)
    return KLAutoencoder(image_shape, **{**SMALL, **values})


@pytest.mark.parametrize("quant_conv", [True, False])
def test_posterior_and_images_are_those_of_diffusers(quant_conv):
    from diffusers import AutoencoderKL

    model = small(quant_conv=quant_conv)
    theirs = AutoencoderKL(
        block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, use_quant_conv=quant_conv,
        use_post_quant_conv=quant_conv, down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    theirs.load_state_dict(model.state_dict())
    x, z = torch.rand(2, 3, 16, 16), torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        q, expected = model.encode(x), theirs.encode(2 * x - 1).latent_dist
        assert torch.equal(q.mean, expected.mean)
        assert torch.equal(q.logvar, expected.logvar)
        torch.testing.assert_close(q.kl(), expected.kl())
        torch.testing.assert_close(2 * model.decode(z) - 1, theirs.decode(z).sample)


def test_a_posterior_without_variances_of_its_own_says_its_variance_in_the_weights():
    x = torch.rand(2, 3, 16, 16)
    for quant_conv in (True, False):
        fixed = small(posterior="fixed", std=0.3, quant_conv=quant_conv)
        assert fixed.encode(x).logvar.unique().exp().sqrt().item() == pytest.approx(0.3)
        moments = fixed._encoded(x)
        torch.testing.assert_close(moments[:, 4:].exp().sqrt(), torch.full((2, 4, 8, 8), 0.3))
    with pytest.raises(NoDensity):
        small(posterior="point").encode(x).kl()


@pytest.mark.parametrize("posterior", ["gaussian", "fixed", "point"])
def test_means_stay_within_their_bound_and_only_gradients_that_lead_back_count(posterior):
    form = PosteriorForm(posterior, 0.1, None, None, mean_bound=8.0)
    encoded = torch.tensor([-9.0, -8.0, 3.0, 20.0, 20.0]).view(1, 5, 1, 1).repeat(1, 2, 1, 1).requires_grad_()
    mean = form.of(encoded, halves=True).mean
    assert mean.flatten().tolist() == [-8.0, -8.0, 3.0, 8.0, 8.0]
    (mean.flatten() * torch.tensor([1.0, 1.0, 1.0, -1.0, 1.0])).sum().backward()  # descent goes the other way
    assert encoded.grad[0, :5].flatten().tolist() == [0.0, 1.0, 1.0, 0.0, 1.0]
    x = torch.rand(2, 3, 16, 16)
    free = small(posterior=posterior).encode(x).mean
    most = free.abs().max().item() / 2
    assert torch.equal(small(posterior=posterior, mean_bound=most).encode(x).mean, free.clamp(-most, most))


@pytest.mark.parametrize(("fit", "sides"), [("pad", (9, 6)), ("crop", (8, 5))])
def test_images_of_sizes_that_are_not_divided_come_back_in_their_size(fit, sides):
    model = small((1, 17, 11), fit=fit)
    x = torch.rand(2, 1, 17, 11)
    q = model.encode(x)
    assert model.latent_shape == q.latent_shape == (4, *sides)
    assert model.decode(q.mean).shape == x.shape
    assert f"17x11 are {fit}" in model.note
    whole = small((1, 18, 12) if fit == "pad" else (1, 16, 10))
    inside = torch.nn.functional.pad(x, (0, 1, 0, 1), mode="replicate") if fit == "pad" else x[:, :, :16, :10]
    assert torch.equal(whole.encode(inside).mean, q.mean)
    rows = 17 if fit == "pad" else 16
    assert torch.equal(whole.decode(q.mean)[:, :, :rows, :10], model.decode(q.mean)[:, :, :rows, :10])


def test_other_sizes_than_the_one_it_was_made_for_pass():
    model = small()
    assert model.encode(torch.rand(1, 3, 20, 33)).latent_shape == (4, 10, 17)
    assert model.decode(torch.randn(1, 4, 3, 5)).shape == (1, 3, 6, 10)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"fit": "error", "image_shape": (3, 15, 16)}, "images of 15x16, and the model needs multiples of 2"),
        ({"fit": "crop", "image_shape": (3, 1, 16)}, "images of 1x16 are smaller than the 2x2 of a latent"),
        ({"norm_groups": 3}, "model.base_channels=8: must be a multiple of norm_groups=3"),
        ({"attention_levels": [2]}, "model.attention_levels: 2 is no level of the 2, 0 to 1"),
        ({"logvar_max": -40.0}, "model: logvar_min=-30 must be less than logvar_max=-40"),
    ],
)
def test_values_that_do_not_fit_together_are_said_in_a_line(values, problem):
    with pytest.raises(ValueError, match=problem) as raised:
        small(**values)
    assert "\n" not in str(raised.value)
