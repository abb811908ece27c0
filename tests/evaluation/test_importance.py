"""The importance-weighted bound on linear models, whose log p(x) is known, and however the work is cut."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from lehr.errors import ConfigError
from lehr.evaluation import importance
from lehr.evaluation.importance import ImportanceWeighted, importance_weighted
from lehr.models.linear import Linear
from lehr.models.mlp import MLP
from lehr.models.vae import VAE
from lehr.objective.likelihood import Bernoulli, Gaussian
from lehr.posterior.density import GaussianMixture, Normal, StandardNormal

SCALE = 0.6
SHAPE = (1, 2, 3)
PIXELS, LATENTS = 6, 4
PRIOR = StandardNormal((LATENTS,))


def exact_model(noise: float = 1.0, shift: float = 0.0) -> Linear:
    """A linear decoder of orthogonal columns with its exact posterior, or one of `noise` times its standard deviation.

    With W^T W diagonal the posterior N(S W^T x / s^2, S), S = (I + W^T W / s^2)^-1, is a diagonal Gaussian.
    """
    generator = torch.Generator().manual_seed(3)
    orthonormal, _ = torch.linalg.qr(torch.randn(PIXELS, LATENTS, generator=generator, dtype=torch.float64))
    weight = orthonormal * torch.tensor([2.0, 1.0, 0.5, 0.0], dtype=torch.float64)
    var = 1 / (1 + weight.square().sum(0) / SCALE**2)
    model = Linear(SHAPE, LATENTS).double()
    with torch.no_grad():
        model.decoder[0].weight.copy_(weight)
        model.decoder[0].bias.fill_(0.25)
        model.encoder[1].weight.copy_(var[:, None] * weight.T / SCALE**2)
        model.encoder[1].bias.copy_(-0.25 * model.encoder[1].weight.sum(1) + shift)
        model.raw_logvar.copy_(var.log() + 2 * math.log(noise))
    return model


def log_evidence(model: Linear, x: Tensor) -> Tensor:
    """log p(x) = log N(x; m, W W^T + s^2 I), by torch.distributions."""
    weight, bias = model.decoder[0].weight.detach(), model.decoder[0].bias.detach()
    covariance = weight @ weight.T + SCALE**2 * torch.eye(PIXELS, dtype=torch.float64)
    return MultivariateNormal(bias, covariance).log_prob(x.flatten(1))


def images(n: int, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def likelihood() -> Gaussian:
    return Gaussian(SCALE).double()


class MapVAE(VAE):
    """A small convolutional VAE with latent maps (2, 3, 3)."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        encoder, decoder = nn.Conv2d(1, 4, 2, 2), nn.ConvTranspose2d(2, 1, 2, 2)
        super().__init__(encoder, decoder, (1, 6, 6), (2, 3, 3))


def small_mlp() -> MLP:
    torch.manual_seed(0)
    return MLP((1, 4, 4), 3, (8,))


def assert_same(ours: ImportanceWeighted, theirs: ImportanceWeighted, tolerance: float = 1e-12) -> None:
    for name in ("bound", "ess", "distortion", "rate"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=tolerance, atol=tolerance)
    assert ours.samples == theirs.samples
    assert list(ours.curve) == list(theirs.curve)
    for k in ours.curve:
        torch.testing.assert_close(ours.curve[k], theirs.curve[k], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("samples", [1, 2, 17, 200])
def test_with_the_exact_posterior_every_k_gives_log_p_of_every_image(samples):
    model, x = exact_model(), images(40)
    result = importance_weighted(x, model, likelihood(), PRIOR, samples)
    torch.testing.assert_close(result.bound, log_evidence(model, x), rtol=0, atol=1e-6)
    torch.testing.assert_close(result.ess, torch.full((40,), float(samples)).double(), rtol=1e-6, atol=0)


def test_with_the_exact_posterior_the_sampled_elbo_has_no_variance():
    model, x = exact_model(), images(20)
    same_prior = Normal(torch.zeros(LATENTS).double(), torch.ones(LATENTS).double(), (LATENTS,))
    result = importance_weighted(x, model, likelihood(), same_prior, 5)
    torch.testing.assert_close(result.elbo, log_evidence(model, x), rtol=0, atol=1e-6)


def test_with_a_wrong_posterior_the_bound_rises_with_k_to_log_p():
    model, x = exact_model(noise=1.5, shift=0.3), images(200)
    counts = (1, 10, 100, 3000)
    result = importance_weighted(x, model, likelihood(), PRIOR, counts)
    truth = log_evidence(model, x).mean().item()
    bounds = [result.curve[k].mean().item() for k in counts]
    assert bounds == sorted(bounds)
    assert bounds[0] < truth - 1
    assert bounds[-1] == pytest.approx(truth, abs=0.01)
    assert result.samples == 3000
    assert torch.equal(result.bound, result.curve[3000])
    # Var(w) / E[w]^2 = K / ESS - 1 is the leading term of the bias
    bias = (100 / importance_weighted(x, model, likelihood(), PRIOR, 100).ess - 1) / (2 * 100)
    assert bounds[2] == pytest.approx(truth - bias.mean().item(), abs=0.02)


def test_with_one_sample_the_bound_is_the_elbo():
    model, x = exact_model(noise=1.5, shift=0.3), images(100)
    prior = Normal(torch.full((LATENTS,), 0.2).double(), torch.full((LATENTS,), 2.0).double(), (LATENTS,))
    result = importance_weighted(x, model, likelihood(), prior, 1)
    torch.testing.assert_close(result.elbo, result.bound, rtol=0, atol=1e-12)
    torch.testing.assert_close(result.ess, torch.ones(100).double(), rtol=1e-12, atol=0)


def test_the_rate_is_exact_for_a_standard_normal_prior_and_sampled_for_another():
    model, x = exact_model(noise=1.5), images(50)
    rate = model.encode(x).kl().detach()
    assert torch.equal(importance_weighted(x, model, likelihood(), PRIOR, 3).rate, rate)
    zeros, ones = torch.zeros(1, LATENTS).double(), torch.ones(1, LATENTS).double()
    same_prior = GaussianMixture(torch.ones(1).double(), zeros, ones, (LATENTS,))
    sampled = importance_weighted(x, model, likelihood(), same_prior, 5000).rate
    assert not torch.equal(sampled, rate)
    torch.testing.assert_close(sampled, rate, rtol=0, atol=0.2)
    assert sampled.mean().item() == pytest.approx(rate.mean().item(), abs=0.02)


def test_the_distortion_is_the_mean_of_the_samples():
    """E|x - m - W z|^2 is known: the distance of the mean and the noise that W lets through."""
    model, x = exact_model(noise=1.5, shift=0.3), images(100)
    q = model.encode(x)
    weight = model.decoder[0].weight
    square = (x - model.decode(q.mean)).square().flatten(1).sum(1) + q.var @ weight.square().sum(0)
    expected = square / (2 * SCALE**2) + PIXELS * math.log(SCALE * math.sqrt(2 * math.pi))
    distortion = importance_weighted(x, model, likelihood(), PRIOR, 2000).distortion
    assert distortion.mean().item() == pytest.approx(expected.mean().item(), abs=0.02)


def test_the_weights_of_a_mixture_prior_are_those_of_the_definition():
    model, x = exact_model(noise=1.2), images(6)
    means = torch.tensor([[0.0] * LATENTS, [1.0] * LATENTS]).double()
    prior = GaussianMixture(
        torch.tensor([0.3, 0.7]).double(), means, torch.full((2, LATENTS), 0.8).double(), (LATENTS,)
    )
    result = importance_weighted(x, model, likelihood(), prior, 50, seed=7)
    noise = importance._noise(7, 0, 50, 0, 6, (LATENTS,), x.device).double()
    q = model.encode(x)
    latents = [q.sample(n) for n in noise]
    weights = [likelihood().log_prob(x, model.decode(z)) + prior.log_prob(z) - q.log_prob(z) for z in latents]
    w = torch.stack(weights).detach().exp()
    torch.testing.assert_close(result.bound, w.mean(0).log(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(result.ess, w.sum(0).square() / w.square().sum(0), rtol=1e-9, atol=0)


@pytest.mark.parametrize("max_rows", [7, 40, 512, 5000])
def test_the_number_of_rows_at_once_changes_nothing(max_rows):
    model, x = exact_model(noise=1.5, shift=0.3), images(70)
    counts = (1, 10, 45)
    whole = importance_weighted(x, model, likelihood(), PRIOR, counts, max_rows=100_000)
    assert_same(importance_weighted(x, model, likelihood(), PRIOR, counts, max_rows=max_rows), whole)


@pytest.mark.parametrize("batch", [1, 9, 32, 64])
def test_the_batch_size_changes_nothing(batch):
    model, x = exact_model(noise=1.5, shift=0.3), images(70)
    whole = importance_weighted(x, model, likelihood(), PRIOR, 20, start=1000)
    parts = [
        importance_weighted(x[i : i + batch], model, likelihood(), PRIOR, 20, start=1000 + i)
        for i in range(0, 70, batch)
    ]
    assert_same(ImportanceWeighted.cat(parts), whole)


@pytest.mark.parametrize("max_rows", [5, 64])
def test_latent_maps_are_weighted_as_one_vector(max_rows):
    model, x = MapVAE().double(), images(35, (1, 6, 6)).round()
    whole = importance_weighted(x, model, Bernoulli(), StandardNormal((2, 3, 3)), 20)
    cut = importance_weighted(x, model, Bernoulli(), StandardNormal((2, 3, 3)), 20, max_rows=max_rows)
    assert_same(cut, whole)
    assert whole.bound.shape == (35,)
    assert (whole.bound > whole.elbo).all()


def test_a_float32_model_gives_float64_results_that_differ_by_its_rounding_alone():
    model, x = small_mlp(), images(40, (1, 4, 4)).round().float()
    prior = StandardNormal((3,))
    whole = importance_weighted(x, model, Bernoulli(), prior, 33)
    cut = importance_weighted(x, model, Bernoulli(), prior, 33, max_rows=10)
    assert whole.bound.dtype == whole.ess.dtype == whole.rate.dtype == torch.float64
    assert_same(cut, whole, tolerance=1e-5)
    assert_same(importance_weighted(x.double(), model.double(), Bernoulli(), prior, 33), whole, tolerance=1e-5)


def test_the_curve_is_what_runs_with_fewer_samples_give():
    model, x = exact_model(noise=1.5, shift=0.3), images(20)
    curve = importance_weighted(x, model, likelihood(), PRIOR, [50, 1, 5]).curve
    assert list(curve) == [1, 5, 50]
    for k, bound in curve.items():
        alone = importance_weighted(x, model, likelihood(), PRIOR, k).bound
        torch.testing.assert_close(bound, alone, rtol=0, atol=1e-12)


def test_seeds_and_rows_have_their_own_noise():
    model, x = exact_model(noise=1.5), images(1).expand(64, *SHAPE)
    result = importance_weighted(x, model, likelihood(), PRIOR, 4)
    assert len(result.bound.unique()) == 64
    other = importance_weighted(x, model, likelihood(), PRIOR, 4, seed=1)
    assert not set(result.bound.tolist()) & set(other.bound.tolist())


def test_no_more_rows_are_decoded_at_once_than_allowed_and_each_just_once(monkeypatch):
    model, x = small_mlp(), images(50, (1, 4, 4)).float()
    sizes = []
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda z: (sizes.append(len(z)), decode(z))[1])
    for max_rows in (40, 100, 1000):
        sizes.clear()
        importance_weighted(x, model, Bernoulli(), StandardNormal((3,)), (1, 7, 90), max_rows=max_rows)
        assert max(sizes) <= max_rows
        assert sum(sizes) == 50 * 90
        assert len(sizes) <= 2 * 50 * 90 / max_rows + 10


def test_large_images_are_decoded_a_few_at_a_time():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    small = MLP((1, 28, 28), 50, (1,))
    assert 500 <= importance._rows_at_once(small, cpu) <= importance._rows_at_once(small, gpu) == 20_000
    assert importance._rows_at_once(MLP((3, 512, 512), 1, (1,)), cpu) == 1


def test_progress_counts_every_example():
    done = []
    importance_weighted(images(70), exact_model(), likelihood(), PRIOR, 5, max_rows=160, advance=done.append)
    assert len(done) > 1
    assert sum(done) == 70


def test_no_examples_give_no_results():
    result = importance_weighted(images(0), exact_model(), likelihood(), PRIOR, 5)
    assert result.bound.shape == result.ess.shape == result.rate.shape == (0,)


@pytest.mark.parametrize("samples", [0, [5, -1], []])
def test_fewer_than_one_sample_is_an_error(samples):
    with pytest.raises(ConfigError, match="iwae_samples"):
        importance_weighted(images(2), exact_model(), likelihood(), PRIOR, samples)


def test_fewer_than_one_row_at_once_is_an_error():
    with pytest.raises(ConfigError, match="max_rows"):
        importance_weighted(images(2), exact_model(), likelihood(), PRIOR, 1, max_rows=0)
