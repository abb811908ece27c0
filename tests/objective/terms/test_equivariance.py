"""Transformed latents against transformed images: decoders that are equivariant by construction, and others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from compared import images, parts, step_inputs, term_inputs
from torch.nn import functional as F

from lehr import randomness
from lehr.errors import ConfigError
from lehr.models.autoencoder import Autoencoder
from lehr.objective import ELBO, Gaussian
from lehr.objective.terms import FlipEquivariance, Laplacian, LatentMagnitude, ScaleEquivariance, WithTerms
from lehr.posterior import Point


class Pixels(Autoencoder):
    """A cell a pixel, by a matrix at each: commutes with every interpolation and turn. With a shift of places not."""

    def __init__(self, shape=(3, 8, 12), shift=0):
        super().__init__(shape, (shape[0], *shape[1:]))
        self.shift = shift
        with randomness.seeded(0, "pixels"):
            self.encoder = torch.nn.Conv2d(shape[0], shape[0], 1)
            self.decoder = torch.nn.Conv2d(shape[0], shape[0], 1)

    def encode(self, x):
        return Point(self.encoder(x))

    def decode(self, z):
        return self.decoder(z).roll(self.shift, -1)


class Haar(Autoencoder):
    """Cells of 2 x 2 pixels: mean, difference left to right, difference up and down, and of both."""

    def __init__(self):
        super().__init__((1, 8, 12), (4, 4, 6))
        sign = torch.tensor([1.0, -1.0])
        one = torch.ones(2)
        kernels = [torch.outer(*pair) for pair in ((one, one), (one, sign), (sign, one), (sign, sign))]
        self.register_buffer("kernel", torch.stack(kernels)[:, None] / 2)

    def encode(self, x):
        return Point(F.conv2d(x, self.kernel, stride=2))

    def decode(self, z):
        return F.conv_transpose2d(z, self.kernel, stride=2)


def result_of(term, model, x, number=0, **others):
    """The step of an objective with the term, for images (b, c, h, w); `uniform` is of that batch."""
    held = replace(parts(model), objective=WithTerms(ELBO(), {"equivariance": term, **others}))
    given = replace(step_inputs(x), uniform=lambda stream, shape: randomness.uniform(0, stream, number, shape))
    return held.objective.step(given, held)


def value_of(*args, **others):
    return result_of(*args, **others).numbers()["equivariance"]


def shapes(model):
    return model.image_shape, model.latent_shape


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("b", [1, 3])
def test_of_a_decoder_that_commutes_with_scales_and_turns_nothing_is_asked(number, b):
    for shape in ((3, 8, 12), (1, 8, 8)):
        model = Pixels(shape)
        x = model.decode(images(b, shape)).detach()
        with torch.no_grad():  # an encoder that inverts the decoder
            weight = model.decoder.weight[:, :, 0, 0].inverse()
            model.encoder.weight.copy_(weight[:, :, None, None])
            model.encoder.bias.copy_(-weight @ model.decoder.bias)
        assert value_of(ScaleEquivariance(*shapes(model)), model, x, number) == pytest.approx(0, abs=1e-3)
        model.shift = 1
        assert value_of(ScaleEquivariance(*shapes(model)), model, x, number) > 1


@pytest.mark.parametrize("number", range(6))
def test_of_haar_s_wavelet_flips_change_the_signs_of_differences(number):
    model = Haar()
    x = images(2, model.image_shape)
    right = FlipEquivariance(*shapes(model), left_right=(1, 3), up_down=(2, -1))
    assert value_of(right, model, x, number) == pytest.approx(0, abs=1e-4)
    assert value_of(FlipEquivariance(*shapes(model), left_right=(), up_down=()), model, x, number) > 1


def test_every_flip_and_every_turn_is_drawn():
    model = Haar()
    z, x = model.encode(images(1, model.image_shape)).mean, images(1, model.image_shape)
    term = FlipEquivariance(*shapes(model), left_right=(1, 3), up_down=(2, 3))
    found = [term.transformed(z, x, [(k + 0.5) / 3, 0.5])[1] for k in range(3)]
    for image, dimensions in zip(found, ((-1,), (-2,), (-1, -2)), strict=True):
        assert torch.equal(image, x.flip(*dimensions))


@pytest.mark.parametrize("k", [8, 19, 31])
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_scales_and_turns_are_those_of_the_published_code(k, turns):
    """ldm/models/autoencoder.py of EQ-VAE: interpolate(scale_factor=k / 32), then rot90(k=turns)."""
    z, x = images(1, (4, 32, 32), "z"), images(1, (3, 64, 64))
    term = ScaleEquivariance((3, 64, 64), (4, 32, 32))
    assert [round(32 * scale) for scale in term.scales] == list(range(8, 32))
    found = term.transformed(z, x, [(k - 8 + 0.5) / 24, (turns - 0.5) / 3])
    for one, of in zip(found, (z, x), strict=True):
        smaller = F.interpolate(of, scale_factor=k / 32, mode="bilinear", align_corners=False)
        torch.testing.assert_close(one, torch.rot90(smaller, k=turns, dims=[-1, -2]))


def test_terms_that_compare_images_compare_these_as_well_and_others_do_not():
    model = Haar()
    x = images(2, model.image_shape)
    wrong = FlipEquivariance(*shapes(model), left_right=(), up_down=())
    alone = value_of(wrong, model, x)
    with_terms = result_of(wrong, model, x, laplacian=Laplacian(weight=0.5), magnitude=LatentMagnitude(weight=7.0))
    flipped = model.decode(wrong.transformed(model.encode(x).mean, x, draws_of(wrong))[0])
    target = wrong.transformed(x, x, draws_of(wrong))[1]
    terms = Laplacian()(term_inputs(target, flipped)).value.mean().item()
    assert with_terms.numbers()["equivariance"] == pytest.approx(alone + 0.5 * 96 * terms, rel=1e-5)


def draws_of(term):
    return randomness.uniform(0, type(term).__name__, 0, (4,)).tolist()[1:]


def test_the_term_has_a_gradient_for_the_encoder_and_the_decoder():
    for model, term in ((Pixels(), ScaleEquivariance), (Pixels(shape=(4, 6, 8)), FlipEquivariance)):
        x = images(1, model.image_shape)
        without = result_of(LatentMagnitude(weight=0), model, x).total
        made = term(*shapes(model))
        both = [
            torch.autograd.grad(one, list(model.parameters())) for one in (result_of(made, model, x).total, without)
        ]
        assert all((a - b).abs().max() > 1e-4 for a, b in zip(*both, strict=True))


def test_left_out_of_batches_it_is_the_same_on_average():
    model = Pixels(shift=1)
    x = images(1, model.image_shape)
    rare, always = (ScaleEquivariance(*shapes(model), probability=p) for p in (0.25, 1.0))
    with_it = 0
    for number in range(40):
        result = result_of(rare, model, x, number)
        if "equivariance" not in result.terms:  # a 0 in its curve would be no value of it
            continue
        assert float(result.terms["equivariance"].weight) == 4
        assert result.numbers()["equivariance"] == value_of(always, model, x, number)
        with_it += 1
    assert 3 <= with_it <= 18


def test_in_half_precision_it_stays_float32():
    model = Pixels()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = result_of(ScaleEquivariance(*shapes(model)), model, images(2, model.image_shape))
    assert result.losses["autoencoder"].dtype == torch.float32


def test_of_batches_of_another_size_each_keeps_its_shape():
    """So do aspect buckets: a turn of a wide latent is a high one, at one scale for both sides."""
    term = ScaleEquivariance((3, 64, 64), (4, 8, 8))
    z, x = images(1, (4, 4, 12), "z"), images(1, (3, 32, 96))
    latent, image = term.transformed(z, x, [(24 - 8 + 0.5) / 24, 0.0])
    assert latent.shape == (1, 4, 9, 3)
    assert image.shape == (1, 3, 72, 24)


class Padded(Haar):
    """Sees images of 7 x 11 with one more row and column, and leaves these out of what it decodes."""

    factor = 2

    def __init__(self):
        super().__init__()
        self.image_shape = (1, 7, 11)

    def encode(self, x):
        return super().encode(F.pad(x, (0, 1, 0, 1), mode="replicate"))

    def decode(self, z):
        return super().decode(z)[:, :, :7, :11]


def test_images_that_are_padded_are_refused_since_a_flip_takes_the_padding_to_the_other_side():
    model = Padded()
    term = FlipEquivariance((1, 8, 12), model.latent_shape)
    with pytest.raises(ConfigError, match=r"these, 7 x 11, are not 4 x 6 cells of 2 x 2 \(model\.fit\)"):
        value_of(term, model, images(2, model.image_shape))


def test_a_scale_that_is_fitted_to_each_batch_is_that_of_the_images_alone():
    found = []
    for others in ({"magnitude": LatentMagnitude(weight=0.0)}, {"equivariance": FlipEquivariance(*shapes(Haar()))}):
        model = Haar()
        held = replace(parts(model), objective=WithTerms(ELBO(), others), likelihood=Gaussian("optimal"))
        given = step_inputs(0.5 * images(2, model.image_shape).round())
        given = replace(given, noise=lambda shape: torch.zeros(2, *shape))
        model.kernel.mul_(1.1)
        held.objective.step(given, held)
        found.append((held.likelihood.log_scale.item(), int(held.likelihood.batches_seen), held.likelihood.training))
    assert found[0] == found[1]
    assert found[0][1:] == (1, True)


def test_what_has_no_map_or_no_whole_cells_or_channels_is_refused():
    with pytest.raises(ConfigError, match=r"^terms: ScaleEquivariance is of latent maps, .* flat \(16\)$"):
        ScaleEquivariance((3, 8, 8), (16,))
    with pytest.raises(ConfigError, match="no whole pixels a cell"):
        ScaleEquivariance((3, 10, 8), (4, 4, 4))
    with pytest.raises(ConfigError, match="no channel -4 of 3"):
        FlipEquivariance((3, 8, 8), (3, 4, 4))
    with pytest.raises(ConfigError, match="there is no k / 32"):
        ScaleEquivariance((3, 8, 8), (4, 4, 4), smallest=0.51, largest=0.52)


def test_a_decoder_of_one_size_of_latents_is_refused_in_a_line():
    class OneSize(Pixels):
        def decode(self, z):
            return F.linear(z.flatten(1), torch.eye(96 * 3)).view(-1, 3, 8, 12)

    with pytest.raises(ConfigError, match="needs a decoder of latents of any size"):
        result_of(ScaleEquivariance((3, 8, 12), (3, 8, 12)), OneSize(), images(1, (3, 8, 12)))
