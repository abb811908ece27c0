"""Likelihoods against torch.distributions, and their scales, fixed or learned."""

from __future__ import annotations

import math

import pytest
import torch
from densities import SHAPE, gaussian_log_prob, randn
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Laplace as TorchLaplace

from lehr.objective.continuous_bernoulli import ContinuousBernoulli
from lehr.objective.discretized_logistic import DiscretizedLogistic
from lehr.objective.likelihood import Bernoulli, Gaussian, Laplace


def test_bernoulli_is_summed_over_pixels_and_takes_logits():
    logits, x = 3 * randn(*SHAPE), (randn(*SHAPE, seed=1) > 0).double()
    likelihood = Bernoulli()
    expected = TorchBernoulli(logits=logits).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(likelihood.log_prob(x, logits), expected)
    torch.testing.assert_close(likelihood.mean(logits), TorchBernoulli(logits=logits).mean)
    assert likelihood.levels == 2


def test_bernoulli_of_grey_values_is_the_cross_entropy():
    x, p = torch.tensor([[[[0.25]]]]).double(), 0.8
    logits = torch.full((1, 1, 1, 1), math.log(p / (1 - p)), dtype=torch.float64)
    expected = 0.25 * math.log(p) + 0.75 * math.log(1 - p)
    assert Bernoulli().log_prob(x, logits).item() == pytest.approx(expected)


def test_bernoulli_is_finite_for_extreme_logits():
    logits = torch.tensor([[[[200.0, -200.0]]]])
    assert Bernoulli().log_prob(torch.tensor([[[[1.0, 0.0]]]]), logits).item() == 0
    assert Bernoulli().log_prob(torch.tensor([[[[0.0, 1.0]]]]), logits).item() == -400


@pytest.mark.parametrize("scale", [0.05, 1.0, 3.0])
def test_gaussian_of_a_fixed_scale_is_summed_over_pixels(scale):
    x, mean = randn(*SHAPE), randn(*SHAPE, seed=1)
    likelihood = Gaussian(scale).double()
    expected = gaussian_log_prob(x, mean, scale)
    torch.testing.assert_close(likelihood.log_prob(x, mean), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(likelihood.eval().log_prob(x, mean), expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(likelihood.mean(mean), mean)
    assert likelihood.levels is None


@pytest.mark.parametrize("scale", [0.0025, 0.05, 1.0, 3.0])
def test_laplace_is_summed_over_pixels(scale):
    x, location = randn(*SHAPE), randn(*SHAPE, seed=1)
    likelihood = Laplace(scale).double()
    expected = TorchLaplace(location, scale).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(likelihood.log_prob(x, location), expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(likelihood.mean(location), TorchLaplace(location, scale).mean)


@pytest.mark.parametrize("kind", [Gaussian, Laplace])
@pytest.mark.parametrize("scale", [0.0025, 0.3, 400.0])
@pytest.mark.parametrize("location", [-3.0, 0.0, 0.4, 50.0])
def test_a_density_of_real_pixels_integrates_to_one(kind, scale, location):
    likelihood = kind(scale).double()
    steps = torch.linspace(-40, 40, 80001, dtype=torch.float64)  # in scales
    x = (location + scale * steps).view(-1, 1, 1, 1)
    density = likelihood.log_prob(x, torch.full_like(x, location)).exp()
    assert torch.trapezoid(density, x.flatten()).item() == pytest.approx(1, abs=1e-6)


FULL_SET = [
    Bernoulli(),
    Gaussian(0.3),
    Gaussian("learned"),
    Gaussian("optimal"),
    Laplace(0.3),
    Laplace("learned"),
    DiscretizedLogistic(256, 0.3),
    DiscretizedLogistic(17, "learned"),
    ContinuousBernoulli(),
]


def test_each_likelihood_says_of_how_many_levels_it_is():
    levels = [likelihood.levels for likelihood in FULL_SET]
    assert levels == [2, None, None, None, None, None, 256, 17, None]


@pytest.mark.parametrize("likelihood", FULL_SET)
def test_the_parameters_at_a_mean_give_that_mean(likelihood):
    mean = torch.linspace(0.001, 0.999, 48).view(3, 4, 4)
    parameters = likelihood.parameters_at(mean)
    assert parameters.dtype == mean.dtype
    torch.testing.assert_close(likelihood.mean(parameters), mean, rtol=0, atol=1e-6)


@pytest.mark.parametrize("likelihood", FULL_SET)
def test_a_pixel_that_is_always_black_or_white_has_finite_parameters(likelihood):
    parameters = likelihood.parameters_at(torch.tensor([[[0.0, 1.0]]]))
    assert parameters.isfinite().all()
    torch.testing.assert_close(likelihood.mean(parameters), torch.tensor([[[0.0, 1.0]]]), rtol=0, atol=0.0011)


@pytest.mark.parametrize("likelihood", [each for each in FULL_SET if each.levels != 2])
def test_gradients_are_those_of_finite_differences(likelihood):
    wide = likelihood.double().eval()
    try:
        x = (torch.rand(2, 1, 3, 5, generator=torch.Generator().manual_seed(0)) * 16).round().double() / 16
        x[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
        parameters = (8 * randn(2, 1, 3, 5, seed=2)).requires_grad_()
        parameters.data[1, 0, 0] = torch.tensor([0.0, 0.19, -0.19, 0.21, -0.21])
        assert torch.autograd.gradcheck(lambda p: wide.log_prob(x, p), parameters)
        assert torch.autograd.gradcheck(wide.mean, parameters)
        for scale in wide.parameters():
            assert torch.autograd.gradcheck(lambda _: wide.log_prob(x, parameters.detach()), scale)
    finally:
        likelihood.float()


@pytest.mark.parametrize("likelihood", FULL_SET)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_and_gradients_are_finite_at_extremes(likelihood, dtype):
    extremes = [0.0, 1e-30, -1e-30, 0.2, -0.2, 1.0, 90.0, -90.0, 1e4, -1e4]
    parameters = torch.tensor(extremes, dtype=dtype).view(1, 1, 1, -1).repeat(3, 1, 1, 1).requires_grad_()
    x = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1).expand(3, 1, 1, len(extremes))
    log_prob = likelihood.log_prob(x, parameters)
    mean = likelihood.mean(parameters)
    assert log_prob.isfinite().all()
    assert mean.isfinite().all()
    leaves = [parameters, *likelihood.parameters()]
    for gradient in torch.autograd.grad(log_prob.sum(), leaves):
        assert gradient.isfinite().all()
    assert torch.autograd.grad(mean.sum(), parameters)[0].isfinite().all()


@pytest.mark.parametrize("likelihood", FULL_SET)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_narrow_inputs_are_summed_in_float32(likelihood, dtype):
    x, parameters = randn(2, 3, 32, 32).sigmoid().to(dtype), randn(2, 3, 32, 32, seed=1).to(dtype)
    got = likelihood.log_prob(x, parameters)
    assert got.dtype == torch.float32
    assert likelihood.mean(parameters).dtype == torch.float32
    expected = likelihood.log_prob(x.double(), parameters.double())
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-3)


def test_a_learned_scale_descends_to_the_root_mean_squared_error():
    x, mean = randn(*SHAPE), randn(*SHAPE, seed=1)
    rmse = (x - mean).square().mean().sqrt().item()
    likelihood = Gaussian("learned").double()
    optimiser = torch.optim.LBFGS(
        likelihood.parameters(), lr=0.5, max_iter=100, tolerance_grad=1e-10, tolerance_change=1e-14
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = -likelihood.log_prob(x, mean).mean()
        value.backward()
        return value

    optimiser.step(loss)
    assert likelihood.log_scale.exp().item() == pytest.approx(rmse, rel=1e-6)
    expected = -gaussian_log_prob(x, mean, rmse).mean().item()
    assert loss().item() == pytest.approx(expected, rel=1e-9)


def test_a_learned_scale_out_of_bounds_is_bounded_and_comes_back():
    likelihood = Gaussian("learned")
    with torch.no_grad():
        likelihood.log_scale.fill_(-9.0)
    x, mean = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    log_prob = likelihood.log_prob(x, mean)
    torch.testing.assert_close(log_prob, gaussian_log_prob(x, mean, math.exp(-6)))
    (-log_prob).sum().backward()
    assert likelihood.log_scale.grad < 0  # descent raises it


@pytest.mark.parametrize("convert", ["bfloat16", "half"])
def test_the_numbers_of_a_likelihood_keep_their_precision_in_a_narrow_model(convert):
    for kind in (Gaussian, Laplace, DiscretizedLogistic):
        model = torch.nn.ModuleDict({"net": torch.nn.Linear(2, 2), "a": kind(scale=0.3), "b": kind(scale="learned")})
        getattr(model, convert)()
        assert model["net"].weight.dtype in (torch.bfloat16, torch.float16)
        assert model["a"].log_scale.item() == pytest.approx(math.log(0.3), rel=1e-6)
        assert model["b"].log_scale.dtype == torch.float32
        assert model["b"].log_scale.requires_grad
        assert model.double()["b"].log_scale.dtype == torch.float64


@pytest.mark.parametrize("scale", ["learnt", "0.3", 0.0, -1.0, math.nan])
def test_a_scale_that_is_none_is_refused_in_one_line(scale):
    with pytest.raises(ValueError, match=r"likelihood\.scale=") as caught:
        Gaussian(scale)
    assert "\n" not in str(caught.value)
    for kind in (Laplace, DiscretizedLogistic):
        with pytest.raises(ValueError, match=r"likelihood\.scale=.* > 0"):
            kind(scale=scale)


def test_a_learned_scale_of_laplace_descends_to_the_mean_absolute_error():
    x, location = randn(*SHAPE), randn(*SHAPE, seed=1)
    likelihood = Laplace("learned").double()
    optimiser = torch.optim.LBFGS(likelihood.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = -likelihood.log_prob(x, location).mean()
        value.backward()
        return value

    optimiser.step(loss)
    assert likelihood.log_scale.exp().item() == pytest.approx((x - location).abs().mean().item(), rel=1e-4)


@pytest.mark.parametrize("likelihood", [Laplace("learned"), DiscretizedLogistic(17), ContinuousBernoulli()])
def test_fused_runs_have_the_log_probabilities_and_gradients_of_each_alone(likelihood):
    x = (randn(2, *SHAPE).sigmoid() * 16).round().float() / 16
    parameters = randn(2, *SHAPE, seed=1).float()

    def loss(x: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        return likelihood.log_prob(x, parameters).mean()

    gradients, values = torch.func.vmap(torch.func.grad_and_value(loss, argnums=1))(x, parameters)
    for i in range(2):
        gradient, value = torch.func.grad_and_value(loss, argnums=1)(x[i], parameters[i])
        torch.testing.assert_close(values[i], value)
        torch.testing.assert_close(gradients[i], gradient)
