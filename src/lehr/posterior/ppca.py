"""What the linear VAE is at its optimum: probabilistic PCA, in closed form, to check trained models against.

Model: p(z) = N(0, I), p(x|z) = N(W z + m, s^2 I), q(z|x) = N(V x + a, diag(v)), on data whose covariance has the
eigenvalues l_1 >= ... >= l_d. With tau = kl_weight * s^2, the columns of W at the optimum are the first eigenvectors,
of squared length l_i - tau where l_i > tau, and 0 where not: those latents are collapsed, and that is the optimum.
Tipping & Bishop 1999 (equations 7 and 8); Lucas, Tucker, Grosse & Norouzi 2019; here with a KL weight.

Shapes: d pixels, k latents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LinearOptimum:
    """The global optimum of the linear VAE: the same for every solution, up to the order of the latents.

    Attributes:
        distortion: E[-log p(x|z)] in nats per example.
        rate: E[KL(q(z|x) || p(z))] in nats per example.
        active: the number of latents that are not collapsed.
        var_of_mean: (k,) Var(E[z|x]) = 1 - tau / l_i, the signal; 0 for a collapsed latent. float64, descending.
        mean_of_var: (k,) E[Var(z|x)] = tau / l_i, the noise; 1 for a collapsed latent.
        kl: (k,) E[KL(q(z_i|x) || p(z_i))] = ln(l_i / tau) / 2 in nats.
        scale: the standard deviation s of p(x|z).
        kl_weight: the weight of the rate in the loss that is at its minimum.
    """

    distortion: float
    rate: float
    active: int
    var_of_mean: Tensor
    mean_of_var: Tensor
    kl: Tensor
    scale: float
    kl_weight: float

    @property
    def loss(self) -> float:
        """distortion + kl_weight * rate. At weight 1 it is -E[log p(x)]: q(z|x) is the exact posterior."""
        return self.distortion + self.kl_weight * self.rate


def linear_vae_optimum(
    eigenvalues: Tensor, latent_dim: int, scale: float | str = "learned", kl_weight: float = 1.0
) -> LinearOptimum:
    """The optimum of a linear VAE with `latent_dim` latents and a Gaussian likelihood.

    Args:
        eigenvalues: (d,) of the covariance of the flattened images, with 1/n, in any order.
        latent_dim: k >= 1.
        scale: the standard deviation of p(x|z), or "learned" for the one that minimises the loss.
        kl_weight: > 0.

    Raises:
        ValueError: if the loss has no minimum, which is so with a learned scale where the latents can hold all
            the variance there is.
    """
    spectrum = eigenvalues.detach().double().clamp(min=0).sort(descending=True).values
    d, first = len(spectrum), spectrum[:latent_dim]
    variance = _learned_variance(spectrum, latent_dim, kl_weight) if isinstance(scale, str) else scale**2
    tau = kl_weight * variance
    active = int((first > tau).sum())
    noise = torch.ones(latent_dim, dtype=torch.float64)
    noise[:active] = tau / first[:active]
    kl = -0.5 * noise.log()
    unexplained = tau * active + float(spectrum[active:].sum())
    return LinearOptimum(
        distortion=0.5 * d * math.log(2 * math.pi * variance) + 0.5 * unexplained / variance,
        rate=float(kl.sum()),
        active=active,
        var_of_mean=1 - noise,
        mean_of_var=noise,
        kl=kl,
        scale=math.sqrt(variance),
        kl_weight=kl_weight,
    )


def _learned_variance(spectrum: Tensor, latent_dim: int, kl_weight: float) -> float:
    """s^2 with dL/ds^2 = 0, for the sorted spectrum (d,): at weight 1 the mean of the discarded eigenvalues.

    2 s^4 dL/ds^2 = (d - kl_weight * active) s^2 - (the sum of the others) is continuous and convex in s^2, so it has
    one root, and a latent is active if this derivative is positive where its own threshold lies, at l_i / kl_weight.
    """
    d = len(spectrum)
    rest = spectrum.flip(0).cumsum(0).flip(0)  # l_i + ... + l_d
    before = torch.arange(d, dtype=torch.float64)
    derivative = (d - kl_weight * before) * spectrum / kl_weight - rest
    active = int((derivative[:latent_dim] > 0).sum())
    discarded = float(spectrum[active:].sum())
    if active == d or discarded <= 0 or d <= kl_weight * active:
        raise ValueError(
            f"latent_dim={latent_dim} latents can hold all the variance of the data: a learned scale would go to 0"
        )
    return discarded / (d - kl_weight * active)
