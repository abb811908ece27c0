"""The evidence lower bound: log p(x) >= E_q[log p(x|z)] - KL(q(z|x) || p(z)) = -(distortion + rate).

Kingma & Welling 2014, equation 3; rate and distortion after Alemi et al. 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lehr.objective.likelihood import Likelihood
from lehr.posterior.density import LatentDensity
from lehr.posterior.posterior import Posterior


@dataclass(frozen=True)
class Terms:
    """The terms of the ELBO in nats per example, each (b,).

    Attributes:
        distortion: -log p(x|z), summed over pixels.
        rate: KL(q(z|x) || p(z)), summed over latents.
    """

    distortion: Tensor
    rate: Tensor

    @property
    def elbo(self) -> Tensor:
        """(b,) -(distortion + rate), whatever the KL weight in training is."""
        return -(self.distortion + self.rate)

    def loss(self, kl_weight: float) -> Tensor:
        """(b,) distortion + kl_weight * rate (Higgins et al. 2017, equation 4)."""
        return self.distortion + kl_weight * self.rate


def elbo_terms(
    x: Tensor,
    posterior: Posterior,
    parameters: Tensor,
    likelihood: Likelihood,
    z: Tensor | None = None,
    prior: LatentDensity | None = None,
) -> Terms:
    """Terms of the ELBO of images `x` (b, c, h, w), for the decoder's output `parameters` at z ~ `posterior`.

    The rate is exact for the prior N(0, I), which is meant where none is given. Where it has no closed form it is its
    estimate log q(z|x) - log p(z) at `z` (b, *latent).
    """
    distortion = -likelihood.log_prob(x, parameters)
    if prior is None:
        return Terms(distortion, posterior.kl())
    assert z is not None
    return Terms(distortion, posterior.rate(prior, z))
