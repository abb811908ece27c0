"""The mutual information I_q(x; z) between images and latents, as an interval, and what it says of q(z).

I = E[ln q(z|x) - ln q(z)], and the rate is I + KL(q(z) || p(z)) (Hoffman & Johnson 2016). q(z) is a mixture of one
component for each image there could be; from m of them there are two bounds (Poole et al. 2019):

- lower: z's own component is one of the m of the mixture. It cannot exceed ln m (van den Oord et al. 2018).
- upper: it is left out, which makes the estimate of q(z) unbiased and so, by Jensen, that of ln q(z) too low. Where
  posteriors hardly overlap this measures the distance to the nearest other one, not information.

Shapes: m posteriors, n latents, `*latent` is (d,) or (zc, zh, zw).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lehr import randomness
from lehr.errors import ConfigError, DataError
from lehr.finite import wrong_among
from lehr.posterior.density import LatentDensity, StandardNormal
from lehr.posterior.posterior import Posterior

NEAR_CAP = 1.0
"""Nats below ln m within which the lower bound is saturated."""

APART = 2.0
"""Nats between the bounds from which on they are no measurement: the middle could be off by half of it."""

_VALUES, _VALUES_CPU = 2**22, 2**18  # log-densities at once: 32 MB, and 2 that stay in the cache


@dataclass(frozen=True)
class MutualInformation:
    """I_q(x; z) in nats, between two bounds that hold in expectation.

    Attributes:
        m: the number of posteriors.
        lower: with the own component; at most `cap`.
        upper: without the own component; of large variance where posteriors hardly overlap.
        rate: E[KL(q(z|x) || p(z))] over the same posteriors.
        log_q: E[ln q(z)] in nats with q(z) the mixture of the m posteriors: the negative entropy of the latents.
    """

    m: int
    lower: float
    upper: float
    rate: float
    log_q: float

    @property
    def cap(self) -> float:
        """ln m: the most that m posteriors can show."""
        return math.log(self.m)

    @property
    def saturated(self) -> bool:
        """Whether m is too small for the information: the lower bound is near the cap, or the bounds are far apart.

        On Gaussian channels of 2 to 25 nats with 20 latents and m from 50 to 5000, each lower bound that is off by more
        than a nat is flagged (bounds of 8.0 and 12 for true 10 nats at m = 5000), and none that is off by less than
        half a nat (1.8 and 2.2 for true 2 at m = 50).
        """
        return not (self.lower <= self.cap - NEAR_CAP and self.upper - self.lower <= APART)

    @property
    def marginal_kl_lower(self) -> float:
        """KL(q(z) || p(z)) = rate - I is at least this, never below 0. Where I is saturated it says nothing."""
        return _not_negative(self.rate - self.upper)

    @property
    def marginal_kl_upper(self) -> float:
        """KL(q(z) || p(z)) = rate - I is at most this. Where I is saturated it measures m, not the mismatch."""
        return _not_negative(self.rate - self.lower)

    @property
    def problem(self) -> str | None:
        """Why nothing is known, if so: an estimate that is not finite, of posteriors that hardly have a variance."""
        wrong = wrong_among({"lower bound": self.lower, "upper bound": self.upper, "rate": self.rate})
        return wrong and f"the information in the latents is not known: {wrong}"


def _not_negative(kl: float) -> float:
    return kl if math.isnan(kl) else max(0.0, kl)


@torch.no_grad()
def mutual_information(
    posterior: Posterior,
    *,
    seed: int = 0,
    samples: int = 1,
    prior: LatentDensity | None = None,
    advance: Callable[[int], None] | None = None,
) -> MutualInformation:
    """I_q(x; z) from the posteriors of m images, with `samples` latents of each. Takes time m^2 d.

    Args:
        posterior: of m >= 2 images, (m, *latent).
        seed: of the latents; those of image i are a function of (seed, i).
        samples: latents drawn of each posterior, to lower the variance; the bias depends on m alone.
        prior: p(z), against which the rate is; N(0, I) if None. For another the rate is estimated at the same latents.
        advance: told after every few latents how many were done, of m * samples in all.

    Raises:
        DataError: with fewer than 2 images.
        ConfigError: if `samples` is below 1.
        NoDensity: for posteriors that have none.
    """
    m = len(posterior)
    if m < 2:
        raise DataError(f"mutual information needs at least 2 images, got {m}")
    if samples < 1:
        raise ConfigError(f"samples={samples}: mutual information needs at least 1 latent of each posterior")
    posterior = posterior.to(torch.float64)
    kl = posterior.kl()
    known = kl if prior is None else posterior.kl_to(prior)
    log_own, log_others, surplus, rates = [], [], [], []
    for sample in range(samples):
        stream = f"mutual_information/{sample}"
        noise = randomness.rows("normal", seed, stream, 0, m, posterior.noise_shape, posterior.mean.device)
        z = posterior.sample(noise.double())
        own = posterior.log_prob(z)
        if known is None and prior is not None:
            rates.append(own - prior.log_prob(z.to(torch.float32)).double())
        surplus.append(own - StandardNormal(tuple(z.shape[1:])).log_prob(z) - kl)
        for start, log_density in _log_densities(z, posterior):
            here = torch.arange(len(log_density), device=z.device)
            log_density[here, start + here] = -torch.inf
            log_others.append(log_density.logsumexp(1))
            if advance:
                advance(len(here))
        log_own.append(own)
    own, others = torch.cat(log_own), torch.cat(log_others)
    log_q, log_q_without = torch.logaddexp(own, others) - math.log(m), others - math.log(m - 1)
    noise_of_latents = torch.cat(surplus)
    return MutualInformation(
        m,
        lower=_mean(own - log_q, noise_of_latents),
        upper=_mean(own - log_q_without, noise_of_latents),
        rate=_mean(torch.cat(rates), noise_of_latents) if known is None else float(known.mean()),
        log_q=float(log_q.mean()),
    )


def _mean(values: Tensor, zero: Tensor) -> float:
    """The mean of `values`, with less noise by what is known to have mean zero and goes with them (a control variate).

    Without it the information would now and then exceed the rate where both are small.
    """
    spread = zero.square().mean()
    if spread < 1e-12:
        return float(values.mean())
    return float(values.mean() - (values * (zero - zero.mean())).mean() / spread * zero.mean())


@torch.no_grad()
def aggregate_log_prob(z: Tensor, posterior: Posterior) -> Tensor:
    """ln q(z) in nats with q(z) the mixture of the m posteriors: (n,) float64 for latents `z` (n, *latent).

    A latent drawn from one of these posteriors finds it in the mixture: ln q(z) is then too high, by up to ln m.
    """
    return torch.cat([block.logsumexp(1) for _, block in _log_densities(z, posterior)]) - math.log(len(posterior.mean))


def _log_densities(z: Tensor, posterior: Posterior) -> Iterator[tuple[int, Tensor]]:
    """Blocks (rows, m) of ln q(z_i|x_j) and the i each starts at, as matrix products.

    sum_d (z - mu)^2 / v = z^2 . 1/v - 2 z . mu/v + mu^2 . 1/v cancels, by about 1e-16 z^2 / v in float64; so the
    latents are taken about their centre.
    """
    q = posterior.normal()
    mean, logvar = q.mean.double().flatten(1), q.logvar.double().flatten(1)
    centre = mean.mean(0)
    mean, z = mean - centre, z.double().flatten(1) - centre
    precision = (-logvar).exp()
    factors = torch.cat([precision, -2 * mean * precision], 1).T
    constant = (mean.square() * precision + logvar + math.log(2 * math.pi)).sum(1)
    rows = max(1, (_VALUES_CPU if z.device.type == "cpu" else _VALUES) // len(mean))
    for start in range(0, len(z), rows):
        block = z[start : start + rows]
        yield start, (torch.cat([block.square(), block], 1) @ factors).add_(constant).mul_(-0.5)
