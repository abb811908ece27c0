"""What is maximised in training: the ELBO, or the importance-weighted bound (the `objective` group).

Shapes: b examples of this rank, k samples of z for each, `*latent` (d,) or (zc, zh, zw), c h w image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from lehr.limits import PositiveInt
from lehr.needs import RATE, Need
from lehr.objective.elbo import Terms, elbo_terms
from lehr.objective.likelihood import Likelihood
from lehr.posterior.density import LatentDensity
from lehr.posterior.posterior import Posterior


class Autoencoder(Protocol):
    """An encoder and a decoder."""

    def encode(self, x: Tensor) -> Posterior: ...

    def decode(self, z: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Draw:
    """A batch, encoded, sampled and decoded.

    Attributes:
        posterior: q(z|x).
        z: (b, *latent), the first sample of each.
        terms: of the ELBO (b,), averaged over the samples.
        weights: what the importance-weighted bound is made of; None for the ELBO.
    """

    posterior: Posterior
    z: Tensor
    terms: Terms
    weights: LogWeights | None = None


@dataclass(frozen=True)
class LogWeights:
    """log w = log p(x|z) + log p(z) - log q(z|x) of k samples an example.

    Attributes:
        z: (b, k, *latent)
        log_likelihood: (b, k) log p(x|z)
        log_ratio: (b, k) log q(z|x) - log p(z)
    """

    z: Tensor
    log_likelihood: Tensor
    log_ratio: Tensor

    @classmethod
    def of(
        cls, x: Tensor, q: Posterior, z: Tensor, model: Autoencoder, likelihood: Likelihood, prior: LatentDensity
    ) -> LogWeights:
        """At z (b, k, *latent), decoded all at once."""
        b, k = z.shape[:2]
        flat = z.flatten(0, 1)
        images = x.repeat_interleave(k, 0)
        log_likelihood = likelihood.log_prob(images, model.decode(flat))
        log_ratio = q.repeat_interleave(k).log_prob(flat) - prior.log_prob(flat)
        return cls(z, log_likelihood.view(b, k), log_ratio.view(b, k))

    def terms(self, posterior: Posterior, prior: LatentDensity) -> Terms:
        """The terms of the ELBO (b,), averaged over the samples; the rate is exact where it has a closed form."""
        kl = posterior.kl_to(prior)
        return Terms(-self.log_likelihood.mean(1), self.log_ratio.mean(1) if kl is None else kl)


class Objective:
    """Says how many samples of z an example gets, and what becomes of them.

    Args:
        samples: k >= 1.
    """

    provides: ClassVar[tuple[Need, ...]] = ()

    def __init__(self, samples: int) -> None:
        if samples < 1:
            raise ValueError(f"objective.samples={samples}: must be at least 1")
        self.samples = samples

    def noise_shape(self, b: int, latent_shape: tuple[int, ...]) -> tuple[int, ...]:
        """What noise `draw` wants: (b, *latent) for one sample, (b, k, *latent) for several."""
        return (b, *latent_shape) if self.samples == 1 else (b, self.samples, *latent_shape)

    def draw(self, x: Tensor, noise: Tensor, model: Autoencoder, likelihood: Likelihood, prior: LatentDensity) -> Draw:
        """Encode images (b, c, h, w), sample with `noise` and decode."""
        raise NotImplementedError


class ELBO(Objective):
    """The evidence lower bound, estimated by the mean over k samples of z (Kingma & Welling 2014, equation 7).

    Args:
        samples: k.
    """

    provides = (RATE,)

    def __init__(self, samples: PositiveInt = 1) -> None:
        super().__init__(samples)

    def draw(self, x: Tensor, noise: Tensor, model: Autoencoder, likelihood: Likelihood, prior: LatentDensity) -> Draw:
        posterior = model.encode(x)
        if self.samples == 1:
            z = posterior.sample(noise)
            return Draw(posterior, z, elbo_terms(x, posterior, model.decode(z), likelihood, z, prior))
        z = posterior.with_sample_dim().sample(noise)
        weights = LogWeights.of(x, posterior, z, model, likelihood, prior)
        return Draw(posterior, z[:, 0], weights.terms(posterior, prior))


class IWAE(Objective):
    """The importance-weighted bound log 1/k sum_i p(x, z_i) / q(z_i|x) (Burda et al. 2016, equation 8).

    With a KL weight w other than 1 the weights are p(x|z) (p(z) / q(z|x))^w, so that annealing works as for the ELBO.

    Args:
        samples: k.
        gradient: "dreg", the doubly reparameterised gradient of the encoder (Tucker et al. 2019, equation 8), whose
            signal does not vanish as k grows (Rainforth et al. 2018), or "standard", that of Burda et al. The
            gradient of the decoder is the same.
    """

    def __init__(self, samples: PositiveInt = 50, gradient: Literal["dreg", "standard"] = "dreg") -> None:
        super().__init__(samples)
        if gradient not in ("dreg", "standard"):
            raise ValueError(f"objective.gradient={gradient!r}: expected dreg or standard")
        self.gradient = gradient

    def noise_shape(self, b: int, latent_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (b, self.samples, *latent_shape)

    def draw(self, x: Tensor, noise: Tensor, model: Autoencoder, likelihood: Likelihood, prior: LatentDensity) -> Draw:
        posterior = model.encode(x)
        z = posterior.with_sample_dim().sample(noise)
        q = posterior.detach() if self.gradient == "dreg" else posterior  # then z alone leads back to the encoder
        weights = LogWeights.of(x, q, z, model, likelihood, prior)
        with torch.no_grad():
            terms = weights.terms(posterior, prior)
        return Draw(posterior, z[:, 0], terms, weights)

    def bound_loss(self, weights: LogWeights, kl_weight: float) -> Tensor:
        """-bound in nats, the sum over examples: a scalar whose gradient is the one that was asked for.

        To be called once, and before the backward pass.
        """
        log_w = weights.log_likelihood - kl_weight * weights.log_ratio
        bound = (log_w.logsumexp(1) - math.log(self.samples)).sum()
        if self.gradient == "standard":
            return -bound
        share = log_w.detach().softmax(1)
        if weights.z.requires_grad:
            # the decoder's gradient has each sample's share once, that of z, and so of the encoder, twice; the second
            # stands for the score of q, which is in the weights with the KL weight as its factor
            again = (1 - kl_weight + kl_weight * share).view(*share.shape, *[1] * (weights.z.ndim - 2))
            weights.z.register_hook(lambda gradient: gradient * again.to(gradient))
        surrogate = (share * log_w).sum()
        return -(surrogate + (bound - surrogate).detach())
