"""The Gaussian mixture that is fitted to latents, on latents whose density is known."""

from __future__ import annotations

import pytest
import torch
from sklearn.mixture import GaussianMixture as SklearnMixture

from lehr.errors import ConfigError
from lehr.posterior.density import GaussianMixture, Normal
from lehr.posterior.gaussian import DiagonalGaussian
from lehr.samplers.mixture import fit_mixture

F64 = torch.float64
NOISE = 0.04  # variance of q(z|x)
THREE = GaussianMixture(
    torch.tensor([0.5, 0.3, 0.2], dtype=F64),
    torch.tensor([[0.0, 0.0], [4.0, 1.0], [-2.0, 5.0]], dtype=F64),
    torch.tensor([[[1.0, 0.6], [0.6, 0.8]], [[0.3, 0.0], [0.0, 1.5]], [[0.5, -0.3], [-0.3, 0.4]]], dtype=F64),
    (2,),
)


def posteriors(density: GaussianMixture, n: int, seed: int = 0) -> DiagonalGaussian:
    """q(z|x) whose average is `density`, blurred by `NOISE`."""
    mean = density.sample(n, seed=seed, stream="data")
    return DiagonalGaussian(mean, torch.full_like(mean, NOISE).log())


def blurred(density: GaussianMixture) -> GaussianMixture:
    noise = NOISE * torch.eye(density.means.shape[1], dtype=F64)
    return GaussianMixture(density.weights, density.means, density.covariances + noise, density.latent_shape)


@pytest.fixture(scope="module")
def three():
    return fit_mixture(posteriors(THREE, 3000))


def test_a_mixture_of_three_is_found_with_its_parameters():
    fitted = fit_mixture(posteriors(THREE, 3000), components=(1, 2, 3, 5, 10))
    assert fitted.chosen == 3
    order = fitted.density.weights.argsort(descending=True)
    truth = blurred(THREE)
    torch.testing.assert_close(fitted.density.weights[order], truth.weights, rtol=0, atol=0.04)
    torch.testing.assert_close(fitted.density.means[order], truth.means, rtol=0, atol=0.12)
    torch.testing.assert_close(fitted.density.covariances[order], truth.covariances, rtol=0, atol=0.15)
    assert fitted.density.means.dtype == F64


def test_new_latents_are_nearly_as_likely_as_under_the_truth_and_likelier_than_under_one_normal(three):
    truth = blurred(THREE)
    z = truth.sample(5000, seed=1).double()
    fit = posteriors(THREE, 3000)
    train = fit.mean.double()
    normal = Normal(train.mean(0), train.T.cov() + NOISE * torch.eye(2, dtype=F64), (2,))
    loss = float((truth.log_prob(z) - three.density.log_prob(z)).mean())
    assert 0 < loss < 0.03
    assert float((truth.log_prob(z) - normal.log_prob(z)).mean()) > 0.4


def test_the_held_out_nats_are_of_the_latents_in_their_own_units(three):
    assert three.chosen == max(three.held_out, key=three.held_out.get)
    entropy = -float(blurred(THREE).log_prob(blurred(THREE).sample(20_000, seed=2)).mean())
    assert three.held_out[three.chosen] == pytest.approx(-entropy, abs=0.15)  # of 600 held-out examples


def test_components_are_tried_until_one_is_worse(three):
    tried = list(three.held_out)
    assert tried == [1, 2, 5, 10, 20, 50, 100][: len(tried)]
    values = list(three.held_out.values())
    assert values[:-1] == sorted(values[:-1])
    assert len(tried) < 7
    assert values[-1] < values[-2]


def test_one_component_is_the_normal_of_the_latents():
    z = posteriors(THREE, 500)
    sharp = DiagonalGaussian(z.mean, torch.full_like(z.mean, -20.0))  # the sample is the mean
    fitted = fit_mixture(sharp, components=(1,)).density
    torch.testing.assert_close(fitted.means[0], z.mean.double().mean(0), rtol=0, atol=1e-3)
    covariance = z.mean.double().T.cov()
    torch.testing.assert_close(fitted.covariances[0], covariance, rtol=3e-3, atol=1e-3)


def test_the_units_of_a_latent_change_nothing_but_the_units(three):
    units = torch.tensor([1000.0, 0.001])
    z = posteriors(THREE, 3000)
    scaled = fit_mixture(DiagonalGaussian(z.mean * units, z.logvar + 2 * units.log()))
    assert scaled.chosen == three.chosen
    points = blurred(THREE).sample(100, seed=3).double()
    torch.testing.assert_close(
        scaled.density.log_prob(points * units) + units.double().log().sum(),
        three.density.log_prob(points),
        rtol=1e-3, atol=1e-3,
    )  # fmt: skip


def test_the_log_density_is_scikit_learns():
    z = THREE.sample(400, seed=0).double()
    theirs = SklearnMixture(3, random_state=0).fit(z.numpy())
    mine = GaussianMixture(*(torch.from_numpy(a) for a in (theirs.weights_, theirs.means_, theirs.covariances_)), (2,))
    torch.testing.assert_close(mine.log_prob(z), torch.from_numpy(theirs.score_samples(z.numpy())))


def test_a_fit_is_a_function_of_the_seed():
    z = posteriors(THREE, 400)
    first, again, other = (fit_mixture(z, seed, components=(1, 3)) for seed in (0, 0, 1))
    assert torch.equal(first.density.covariances, again.density.covariances)
    assert first.held_out == again.held_out
    assert first.held_out != other.held_out


def test_many_latents_and_a_latent_map_have_diagonal_covariances():
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(300, 5, 4, 4, generator=generator)
    fitted = fit_mixture(DiagonalGaussian(mean, torch.zeros_like(mean)), components=(1, 2)).density
    assert fitted.covariances.shape[1:] == (80,)
    assert fitted.sample(2, seed=0).shape == (2, 5, 4, 4)
    torch.testing.assert_close(fitted.sample(20_000, seed=0).var(0).mean(), torch.tensor(2.0), rtol=0.03, atol=0)


def test_fewer_examples_than_latents_and_a_dead_latent_still_give_a_density():
    mean = torch.randn(30, 40, generator=torch.Generator().manual_seed(0))
    mean[:, 0] = 1e4  # nothing but noise, and that too small for float32
    logvar = torch.full_like(mean, -20.0)
    fitted = fit_mixture(DiagonalGaussian(mean, logvar)).density
    assert fitted.sample(100, seed=0).isfinite().all()
    assert fitted.log_prob(mean).isfinite().all()


def test_what_cannot_be_fitted_is_said_in_one_line():
    many = torch.zeros(100, 8, 16, 16)
    with pytest.raises(ConfigError, match="2048 latents are too many, at most 512"):
        fit_mixture(DiagonalGaussian(many, many))
    few = torch.zeros(9, 2)
    with pytest.raises(ConfigError, match="9 training examples are too few, at least 10"):
        fit_mixture(DiagonalGaussian(few, few))
