"""The optimal scale of the Gaussian against its closed form."""

from __future__ import annotations

import math

import pytest
import torch
import torch.distributed as dist
from densities import SHAPE, gaussian_log_prob, randn

from lehr.objective.discretized_logistic import DiscretizedLogistic
from lehr.objective.likelihood import Gaussian, Laplace


def test_the_optimal_scale_is_the_root_mean_squared_error_of_the_training_batch():
    x, mean = randn(*SHAPE), randn(*SHAPE, seed=1)
    rmse = (x - mean).square().mean().sqrt().item()
    got = Gaussian("optimal").double().train().log_prob(x, mean)
    torch.testing.assert_close(got, gaussian_log_prob(x, mean, rmse))
    for other in (0.97 * rmse, 1.03 * rmse):  # no other scale is likelier
        assert got.sum() > gaussian_log_prob(x, mean, other).sum()


def test_the_optimal_scale_has_the_gradient_of_half_d_log_mse():
    x, d = randn(*SHAPE), math.prod(SHAPE[1:])
    mean = randn(*SHAPE, seed=1).requires_grad_()
    (ours,) = torch.autograd.grad(-Gaussian("optimal").double().log_prob(x, mean).mean(), mean)
    (theirs,) = torch.autograd.grad(0.5 * d * (x - mean).square().mean().log(), mean)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-14)


def batch_of_mse(mse: float, n: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.full((n, 1, 3, 3), math.sqrt(mse), dtype=torch.float64), torch.zeros(n, 1, 3, 3).double()


def test_in_evaluation_the_optimal_scale_is_the_running_mean_and_does_not_look_at_the_batch():
    likelihood = Gaussian("optimal").double().train()
    errors = [4.0, 1.0, 0.25, 2.0]
    for mse in errors:
        likelihood.log_prob(*batch_of_mse(mse))
    likelihood.eval()
    scale = math.sqrt(sum(errors) / len(errors))
    before = {name: value.clone() for name, value in likelihood.state_dict().items()}
    for x, mean in (batch_of_mse(100.0), batch_of_mse(1e-3)):
        expected = gaussian_log_prob(x, mean, scale)
        torch.testing.assert_close(likelihood.log_prob(x, mean), expected)
        apart = torch.cat([likelihood.log_prob(x[i : i + 1], mean[i : i + 1]) for i in range(len(x))])
        torch.testing.assert_close(apart, expected)
    for name, value in likelihood.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_running_mean_forgets_at_one_percent_after_the_first_hundred_batches():
    likelihood = Gaussian("optimal").double().train()
    errors = [1 + i % 7 for i in range(150)]
    running = 0.0
    for i, mse in enumerate(errors, start=1):
        likelihood.log_prob(*batch_of_mse(mse))
        running += (mse - running) * max(1 / i, 0.01)
    assert (2 * likelihood.log_scale).exp().item() == pytest.approx(running, rel=1e-6)


@pytest.mark.parametrize("mse", [1e-5, 1e-3, 1.0, 50.0])
def test_the_first_batch_sets_the_running_mean_whatever_its_size(mse):
    likelihood = Gaussian("optimal").train()
    x, mean = (t.float() for t in batch_of_mse(mse))
    likelihood.log_prob(x, mean)
    assert (2 * likelihood.log_scale).exp().item() == pytest.approx(mse, rel=1e-5)


def test_a_perfect_reconstruction_has_a_bounded_scale():
    likelihood = Gaussian("optimal").train()
    x = torch.rand(2, 1, 3, 3)
    log_prob = likelihood.log_prob(x, x)
    torch.testing.assert_close(log_prob, gaussian_log_prob(x, x, math.exp(-6)))
    torch.testing.assert_close(likelihood.eval().log_prob(x, x), gaussian_log_prob(x, x, math.exp(-6)))


def test_a_perfect_reconstruction_has_a_finite_gradient():
    x = torch.rand(2, 1, 3, 3)
    mean = x.clone()
    Gaussian("optimal").train().log_prob(x, mean.requires_grad_()).sum().backward()
    assert torch.equal(mean.grad, torch.zeros_like(mean))


def test_the_running_mean_survives_a_round_trip_of_the_state():
    trained = Gaussian("optimal").train()
    for seed in range(3):
        trained.log_prob(randn(*SHAPE, seed=seed).float(), torch.zeros(SHAPE))
    restored = Gaussian("optimal")
    restored.load_state_dict(trained.state_dict())
    x, mean = randn(*SHAPE, seed=9).float(), randn(*SHAPE, seed=10).float()
    assert torch.equal(restored.eval().log_prob(x, mean), trained.eval().log_prob(x, mean))
    for likelihood in (trained, restored):  # and the running mean goes on alike
        likelihood.train().log_prob(x, mean)
    assert torch.equal(restored.log_scale, trained.log_scale)
    assert restored.batches_seen == 4


def test_fused_runs_each_keep_their_own_optimal_scale():
    class Run(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.likelihood = Gaussian("optimal").double()

        def forward(self, x: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
            return self.likelihood.log_prob(x, mean).mean()

    runs = [Run().train() for _ in range(3)]
    x, mean = randn(3, *SHAPE), randn(3, *SHAPE, seed=1)
    _, buffers = torch.func.stack_module_state(runs)

    def loss(mean, buffers, x):
        return torch.func.functional_call(runs[0], ({}, buffers), (x, mean))

    for step in range(2):
        gradients, losses = torch.func.vmap(torch.func.grad_and_value(loss))(mean, buffers, x[:, step:])
        for i in range(3):
            alone = mean[i].clone().requires_grad_()
            value = runs[i](x[i, step:], alone)
            torch.testing.assert_close(losses[i], value)
            torch.testing.assert_close(gradients[i], torch.autograd.grad(value, alone)[0])
            torch.testing.assert_close(buffers["likelihood.log_scale"][i], runs[i].likelihood.log_scale)
        mean = mean[:, 1:]


def test_ranks_with_unequal_batches_share_one_optimal_scale(monkeypatch):
    x, mean = randn(5, 1, 4, 4), randn(5, 1, 4, 4, seed=1)
    squares = (x - mean).square()

    def add_the_other_rank(total: torch.Tensor) -> None:
        total += torch.tensor([squares[3:].sum(), squares[3:].numel()])

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "all_reduce", add_the_other_rank)
    got = Gaussian("optimal").double().train().log_prob(x[:3], mean[:3])
    rmse = squares.mean().sqrt().item()
    torch.testing.assert_close(got, gaussian_log_prob(x[:3], mean[:3], rmse))


def test_only_the_gaussian_has_an_optimal_scale():
    for kind in (Laplace, DiscretizedLogistic):
        with pytest.raises(ValueError, match="expected a number > 0 or 'learned'"):
            kind(scale="optimal")
