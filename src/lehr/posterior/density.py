"""Densities over latents: what samples are drawn from, and what the probability of held-out latents is taken under.

A density has tensors and no state: the same (seed, stream, counter) gives the same samples. Log-probabilities are
differentiable in z and in the tensors, so that a learned prior can build its density anew at every step.

Shapes: n latents, `*latent` is (d,) for a flat latent or (zc, zh, zw) for a latent map, taken as one vector of d
numbers; k components.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from lehr import randomness
from lehr.posterior.aggregate import AggregatePosterior
from lehr.posterior.collapse import covariance_problem
from lehr.posterior.posterior import at_least_float32

_LOG_2PI = math.log(2 * math.pi)
_ROWS = 8192  # latents whose log-probabilities are computed at once, which bounds the memory of a mixture


class LatentDensity(ABC):
    """p(z), to draw from and to evaluate.

    Attributes:
        latent_shape: (d,) or (zc, zh, zw).
        exact: whether `log_prob` is the log-density, not a lower bound of it.
        is_standard_normal: whether it is N(0, I), to which a posterior may have its KL in closed form.
    """

    exact: bool = True
    is_standard_normal: bool = False

    def __init__(self, latent_shape: tuple[int, ...]) -> None:
        self.latent_shape = tuple(latent_shape)

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats, summed over latents: (n,) for `z` (n, *latent), in the wider type of the two."""

    @abstractmethod
    def sample(
        self, n: int, seed: int, device: torch.device | str = "cpu", stream: str = "sample", counter: int = 0
    ) -> Tensor:
        """z ~ p(z), (n, *latent) in float32: a function of (n, seed, stream, counter)."""


class StandardNormal(LatentDensity):
    """N(0, I)."""

    is_standard_normal = True

    def log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * (at_least_float32(z).square() + _LOG_2PI).flatten(1).sum(1)

    def sample(
        self, n: int, seed: int, device: torch.device | str = "cpu", stream: str = "sample", counter: int = 0
    ) -> Tensor:
        return randomness.normal(seed, stream, counter, (n, *self.latent_shape), device)


class Normal(LatentDensity):
    """N(mean, covariance).

    Args:
        mean: (d,)
        covariance: (d,) variances, or (d, d).
        latent_shape: (d,) or (zc, zh, zw).

    Raises:
        ValueError: for a covariance (d, d) that is not positive definite.
    """

    def __init__(self, mean: Tensor, covariance: Tensor, latent_shape: tuple[int, ...]) -> None:
        super().__init__(latent_shape)
        self.mean = mean
        self.covariance = covariance
        self._scale = covariance.sqrt() if covariance.ndim == 1 else _cholesky(covariance)

    @classmethod
    def of(cls, aggregate: AggregatePosterior, full: bool = False) -> Normal:
        """N(agg_mean, agg_var), or with the full covariance.

        Raises:
            ValueError: `full` where there is no full covariance, see `covariance_problem`.
        """
        if not full:
            return cls(aggregate.mean, aggregate.var, aggregate.latent_shape)
        problem = covariance_problem(aggregate)
        if problem or aggregate.covariance is None:
            raise ValueError(f"{problem}; use covariance=diag")
        return cls(aggregate.mean, aggregate.covariance, aggregate.latent_shape)

    def log_prob(self, z: Tensor) -> Tensor:
        type_ = torch.promote_types(at_least_float32(z).dtype, self.mean.dtype)
        mean, scale = self.mean.to(z.device, type_), self._scale.to(z.device, type_)
        deviation = z.flatten(1).to(type_) - mean
        if scale.ndim == 1:
            white, diagonal = deviation / scale, scale
        else:
            white, diagonal = torch.linalg.solve_triangular(scale, deviation.T, upper=False).T, scale.diagonal()
        return -0.5 * (white.square() + _LOG_2PI).sum(1) - diagonal.log().sum()

    def from_noise(self, noise: Tensor) -> Tensor:
        """z = mean + L noise with L L^T the covariance, in the type and on the device of `noise` (n, *latent)."""
        flat = noise.flatten(1)
        mean, scale = self.mean.to(flat), self._scale.to(flat)
        return (mean + (scale * flat if scale.ndim == 1 else flat @ scale.T)).view_as(noise)

    @torch.no_grad()
    def sample(
        self, n: int, seed: int, device: torch.device | str = "cpu", stream: str = "sample", counter: int = 0
    ) -> Tensor:
        return self.from_noise(randomness.normal(seed, stream, counter, (n, *self.latent_shape), device))


class GaussianMixture(LatentDensity):
    """sum_c weights_c N(means_c, covariances_c), the weights normalised to sum to 1.

    Computed in float64 whatever the types of the tensors are: squares are expanded into matrix products, which
    would cancel in float32 where a variance is small; and autocast leaves float64 alone.

    Args:
        weights: (k,) none negative.
        means: (k, d)
        covariances: (k, d) variances, or (k, d, d).
        latent_shape: (d,) or (zc, zh, zw).

    Raises:
        ValueError: for a covariance (d, d) that is not positive definite.
    """

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor, latent_shape: tuple[int, ...]) -> None:
        super().__init__(latent_shape)
        self.weights = weights
        self.means = means
        self.covariances = covariances
        wide = covariances.double()
        self._scales = wide.sqrt() if wide.ndim == 2 else _cholesky(wide)

    @classmethod
    def diagonal(
        cls, log_weights: Tensor, means: Tensor, logvars: Tensor, latent_shape: tuple[int, ...]
    ) -> GaussianMixture:
        """From what a network gives: log-weights (k,) up to a constant, means and log-variances (k, d)."""
        weights = log_weights.double().softmax(0)
        return cls(weights, means.flatten(1), logvars.flatten(1).double().exp(), latent_shape)

    def log_prob(self, z: Tensor) -> Tensor:
        type_ = torch.promote_types(at_least_float32(z).dtype, self.means.dtype)
        weights, means, scales = (t.to(z.device).double() for t in (self.weights, self.means, self._scales))
        component = _diagonal_components if scales.ndim == 2 else _full_components
        log_weights = weights.log() - weights.sum().log()
        blocks = z.flatten(1).double().split(_ROWS)
        return torch.cat([(log_weights + component(block, means, scales)).logsumexp(1) for block in blocks]).to(type_)

    @torch.no_grad()
    def sample(
        self, n: int, seed: int, device: torch.device | str = "cpu", stream: str = "sample", counter: int = 0
    ) -> Tensor:
        shape = (n, *self.latent_shape)
        noise = randomness.normal(seed, stream, counter, shape, device).flatten(1).double()
        uniform = randomness.uniform(seed, f"{stream}/component", counter, (n,), device).double()
        weights, means, scales = (t.to(device).double() for t in (self.weights, self.means, self._scales))
        edges = weights.cumsum(0)
        chosen = torch.searchsorted(edges / edges[-1], uniform, right=True)
        if scales.ndim == 2:
            return (means[chosen] + scales[chosen] * noise).float().view(shape)
        z = torch.empty_like(noise)
        for c in chosen.unique().tolist():  # one product a component; gathered factors would take n d^2 numbers
            rows = chosen == c
            z[rows] = means[c] + noise[rows] @ scales[c].T
        return z.float().view(shape)


def _cholesky(covariance: Tensor) -> Tensor:
    factor, info = torch.linalg.cholesky_ex(covariance)
    if (info != 0).any():
        raise ValueError("a covariance is not positive definite")
    return factor


def _diagonal_components(z: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    """log N(z; mean_c, diag(scale_c^2)) for each latent and component: (n, k)."""
    precisions = scales.square().reciprocal()
    square = z.square() @ precisions.T - 2 * z @ (means * precisions).T + (means.square() * precisions).sum(1)
    return -0.5 * (square + z.shape[1] * _LOG_2PI) - scales.log().sum(1)


def _full_components(z: Tensor, means: Tensor, factors: Tensor) -> Tensor:
    """log N(z; mean_c, factor_c factor_c^T) for each latent and component: (n, k)."""
    squares = [
        torch.linalg.solve_triangular(factor, (z - mean).T, upper=False).square().sum(0)
        for mean, factor in zip(means, factors, strict=True)
    ]
    logdets = factors.diagonal(dim1=1, dim2=2).log().sum(1)
    return -0.5 * (torch.stack(squares, 1) + z.shape[1] * _LOG_2PI) - logdets
