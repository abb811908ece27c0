"""The aggregate posterior q(z) = E_x[q(z|x)], by the law of total variance: Var(z) = E[Var(z|x)] + Var(E[z|x]).

`Moments` are exact running sums in float64 that merge in any order and any partition (Chan, Golub & LeVeque 1983);
`AggregatePosterior` is what they amount to. Var(E[z|x]) is the unbiased estimate, with n - 1.

Shapes: b batch, d number of latents, k number of channels (= d for a flat latent), s positions of a latent map.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from lehr.finite import require_finite_tensors
from lehr.posterior.posterior import Posterior


@dataclass(frozen=True)
class Moments:
    """Sums over n observations of vectors whose own mean and variance are known. All float64 but `n` (int64).

    Attributes:
        n: scalar, the number of observations.
        mean: (d,) mean of the means.
        scatter: sum of (mean_i - mean)(mean_i - mean)^T: (d, d), or its diagonal (d,).
        var: (d,) mean of the variances.
        kl: (d,) mean of KL(q(z_j|x_i) || N(0, 1)); NaN once there is an observation of which it is not known.
    """

    n: Tensor
    mean: Tensor
    scatter: Tensor
    var: Tensor
    kl: Tensor

    @classmethod
    def empty(cls, d: int, full: bool, device: torch.device | str = "cpu") -> Moments:
        zeros = torch.zeros(d, dtype=torch.float64, device=device)
        scatter = torch.zeros(d, d, dtype=torch.float64, device=device) if full else zeros
        return cls(torch.zeros((), dtype=torch.int64, device=device), zeros, scatter, zeros, zeros)

    @classmethod
    def of(cls, mean: Tensor, var: Tensor, kl: Tensor | None, full: bool) -> Moments:
        """Of one batch: `mean`, `var`, `kl` are (b, d), b >= 0; `full` asks for the scatter of all pairs."""
        kl = torch.full_like(mean, torch.nan) if kl is None else kl
        b, d = mean.shape
        if b == 0:
            return cls.empty(d, full, mean.device)
        mean, var, kl = mean.double(), var.double(), kl.double()
        centre = mean.mean(0)
        deviation = mean - centre
        scatter = deviation.T @ deviation if full else deviation.square().sum(0)
        return cls(torch.tensor(b, device=mean.device), centre, scatter, var.mean(0), kl.mean(0))

    def merge(self, other: Moments) -> Moments:
        """The moments of both sets of observations together."""
        n = self.n + other.n
        share = other.n.double() / n.clamp(min=1)  # integers alone would divide in float32
        delta = other.mean - self.mean
        between = delta.outer(delta) if self.scatter.ndim == 2 else delta.square()
        return Moments(
            n=n,
            mean=self.mean + share * delta,
            scatter=self.scatter + other.scatter + between * (self.n * share),
            var=self.var + share * (other.var - self.var),
            kl=self.kl + share * (other.kl - self.kl),
        )

    @property
    def known_kl(self) -> Tensor | None:
        """`kl`, or None where it is not known: NaN although each mean and variance is a number."""
        if self.kl.isnan().all() and self.mean.isfinite().all() and self.var.isfinite().all():
            return None
        return self.kl

    def to(self, device: torch.device | str) -> Moments:
        return Moments(*(getattr(self, field.name).to(device) for field in fields(self)))


def flat_moments(posterior: Posterior) -> Moments:
    """Moments of a batch of flat latents (b, d), with the scatter of all pairs."""
    return Moments.of(*_parts(posterior), full=True)


def element_moments(posterior: Posterior) -> Moments:
    """Moments of a batch of latent maps, every element by itself: d = k * s, diagonal scatter."""
    return Moments.of(*_parts(posterior.flat()), full=False)


def channel_moments(posterior: Posterior) -> Moments:
    """Moments of a batch of latent maps, channel by channel: each of the b * s positions is an observation."""

    def rows(part: Tensor) -> Tensor:
        return part.flatten(2).transpose(1, 2).flatten(0, 1)

    mean, var, kl = _parts(posterior)
    return Moments.of(rows(mean), rows(var), None if kl is None else rows(kl), full=True)


def _parts(posterior: Posterior) -> tuple[Tensor, Tensor, Tensor | None]:
    return posterior.mean, posterior.var, posterior.kl_per_dimension() if posterior.has_density else None


@dataclass(frozen=True)
class Split:
    """A mean and a variance, taken apart by the law of total variance. Scalars, or (zh, zw); float64.

    Attributes:
        mean: E[z].
        mean_of_var: E[Var(z|x)], the noise.
        var_of_mean: Var(E[z|x]), the signal: what z varies by where the mode of q(z|x) is taken in place of a sample.
    """

    mean: Tensor
    mean_of_var: Tensor
    var_of_mean: Tensor

    @classmethod
    def over(cls, of: AggregatePosterior, dims: tuple[int, ...], shape: tuple[int, ...]) -> Split:
        """Of latents taken together: those along `dims` of the vectors seen as `shape`.

        The spread of the latents' own means about their common mean is part of the variance.
        """
        mean, noise, signal = (part.view(shape) for part in (of.mean, of.mean_of_var, of.var_of_mean))
        return cls(mean.mean(dims), noise.mean(dims), signal.mean(dims) + mean.var(dims, correction=0))

    @property
    def var(self) -> Tensor:
        return self.mean_of_var + self.var_of_mean


class AggregatePosterior:
    """Mean and covariance of q(z), and what they are made of. Float64 throughout, never changed.

    For a latent map (zc, zh, zw) the vectors are per element, in the order of the flattened map, the covariance is
    diagonal only, and `channels` holds the same statistics per channel with the covariance of channels. Of maps of
    several sizes there are the statistics per channel alone, and the shape is (zc,).

    Attributes:
        n: the number of examples, each counted once.
        latent_shape: (d,) or (zc, zh, zw).
        mean: (d,) E[z].
        mean_of_var: (d,) E[Var(z|x)], the noise.
        var_of_mean: (d,) Var(E[z|x]), the signal (n - 1 in the denominator).
        kl: (d,) E_x[KL(q(z_j|x) || N(0, 1))] in nats; None where q(z|x) has no density.
        signal_covariance: (d, d) Cov(E[z|x]); None for a latent map.
        channels: the statistics per channel; None for a flat latent.
        usage: (K,) int64, how often each code of a codebook is used; None where there is none.
        extremes: (2, d) the least and the largest E[z|x] of any example; None where they were not looked for.
        tallies: what `Posterior.tallies` of all examples add up to, by name; None where they were not asked for.
    """

    # a plain class: torchmetrics would take a dataclass apart and squeeze the tensors of a one-dimensional latent

    def __init__(
        self,
        *,
        n: int,
        latent_shape: tuple[int, ...],
        mean: Tensor,
        mean_of_var: Tensor,
        var_of_mean: Tensor,
        kl: Tensor | None,
        signal_covariance: Tensor | None = None,
        channels: AggregatePosterior | None = None,
        usage: Tensor | None = None,
        extremes: Tensor | None = None,
        tallies: Mapping[str, float] | None = None,
    ) -> None:
        self.n = n
        self.latent_shape = latent_shape
        self.mean = mean
        self.mean_of_var = mean_of_var
        self.var_of_mean = var_of_mean
        self.kl = kl
        self.signal_covariance = signal_covariance
        self.channels = channels
        self.usage = usage
        self.extremes = extremes
        self.tallies = tallies

    @classmethod
    def from_moments(
        cls,
        moments: Moments,
        latent_shape: tuple[int, ...],
        channels: Moments | None = None,
        usage: Tensor | None = None,
    ) -> AggregatePosterior:
        """From the moments of all examples.

        Raises:
            ValueError: with fewer than 2 examples, whose variance is not defined.
            NonFinite: if a moment is NaN or infinite.
        """
        n = int(moments.n)
        if n < 2:
            raise ValueError(f"an aggregate posterior needs at least 2 examples, got {n}")
        known = {"the means": moments.mean, "their scatter": moments.scatter, "the variances": moments.var}
        if (kl := moments.known_kl) is not None:
            known["the KL to N(0, I)"] = kl
        require_finite_tensors(f"latents of {n:,} examples", known)
        scatter = moments.scatter / (n - 1)
        return cls(
            n=n,
            latent_shape=latent_shape,
            mean=moments.mean,
            mean_of_var=moments.var,
            var_of_mean=scatter.diagonal().clone() if scatter.ndim == 2 else scatter,
            kl=kl,
            signal_covariance=scatter if scatter.ndim == 2 else None,
            channels=None if channels is None else cls.from_moments(channels, (channels.mean.numel(),)),
            usage=usage,
        )

    @classmethod
    def of_several_sizes(cls, n: int, channels: Moments, usage: Tensor | None = None) -> AggregatePosterior:
        """Of `n` latent maps of several sizes, from the moments of their channels at all positions of all of them."""
        if n < 2:
            raise ValueError(f"an aggregate posterior needs at least 2 examples, got {n}")
        found = cls.from_moments(channels, (channels.mean.numel(),))
        found.channels, found.usage, found.n = cls.from_moments(channels, found.latent_shape), usage, n
        found.kl = None  # of an example it is a sum over positions, of which each has as many as it has
        return found

    @classmethod
    def of(cls, posterior: Posterior) -> AggregatePosterior:
        """From the posteriors of all examples (n, *latent), n >= 2."""
        shape = tuple(posterior.mean.shape[1:])
        if len(shape) == 1:
            return cls.from_moments(flat_moments(posterior), shape, usage=posterior.usage)
        return cls.from_moments(element_moments(posterior), shape, channel_moments(posterior), posterior.usage)

    @property
    def var(self) -> Tensor:
        """(d,) Var(z) = E[Var(z|x)] + Var(E[z|x])."""
        return self.mean_of_var + self.var_of_mean

    @property
    def signal(self) -> Tensor:
        """(d, d) Cov(E[z|x]), or for a latent map its diagonal (d,)."""
        return self.var_of_mean if self.signal_covariance is None else self.signal_covariance

    @property
    def covariance(self) -> Tensor | None:
        """(d, d) Cov(z) = diag(E[Var(z|x)]) + Cov(E[z|x]); None for a latent map."""
        if self.signal_covariance is None:
            return None
        return self.signal_covariance + torch.diag(self.mean_of_var)

    @property
    def kl_of_latents(self) -> Tensor | None:
        """(d,) `kl`, or for a latent map (k,) that of each channel, summed over its positions; None without a density.

        Over all latents it sums to E_x[KL(q(z|x) || N(0, I))] in nats, also where maps are of several sizes.
        """
        if self.channels is None or self.channels.kl is None:
            return self.kl
        return self.channels.kl * (self.channels.n / self.n)  # observations are positions of examples

    @property
    def whole(self) -> Split:
        """All latents of all examples taken together, scalars."""
        return Split.over(self, (0,), (-1,))

    @property
    def positions(self) -> Split | None:
        """(zh, zw) all channels at each position of a latent map taken together; None for a flat latent."""
        return Split.over(self, (0,), self.latent_shape) if len(self.latent_shape) == 3 else None

    @property
    def largest_deviation(self) -> Tensor | None:
        """(zh, zw) max over channels and examples of |E[z_j|x] - E[z_c]| / std(z_c) at each position, if known.

        Far larger at one position than at others, it is a bright spot. Mean and std are those of the channel c.
        """
        if self.extremes is None or self.channels is None or len(self.latent_shape) != 3:
            return None
        centre, std = (part.view(-1, 1, 1) for part in (self.channels.mean, self.channels.var.sqrt()))
        deviation = (self.extremes.view(2, *self.latent_shape) - centre).abs().amax(0) / std
        return deviation.nan_to_num(nan=0.0).amax(0)  # of a channel that does not vary there is none

    @property
    def shift_factor(self) -> float:
        """Mean over all latents, the `shift_factor` of latent diffusion: z' = (z - shift_factor) * scaling_factor."""
        return float(self.whole.mean)

    @property
    def scaling_factor(self) -> float:
        """1 / std over all latents and examples, the `scaling_factor` of latent diffusion (Rombach et al. 2022).

        The spread of the latents' own means about their common mean is part of the variance.
        """
        return float(1 / (self.var.mean() + self.mean.var(correction=0)).sqrt())
