"""Priors that are learned with the model: mixtures, of the posteriors of learned images or of free Gaussians.

Shapes: k components, c h w image, `*latent` (d,) or (zc, zh, zw), taken as one vector of d numbers.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from lehr import randomness
from lehr.limits import PositiveInt, check_word
from lehr.needs import DENSITY
from lehr.objective.prior import Encode, Prior
from lehr.posterior.density import GaussianMixture
from lehr.posterior.gaussian import bound

Weights = Literal["learned", "equal"]


class VampPrior(Prior):
    """1/k sum of q(z|u) over k pseudo-inputs u, learned images in [0, 1] (Tomczak & Welling 2018).

    Until it is started at images they are noise, drawn from torch's generator as the weights of a layer are.

    Args:
        latent_shape: (d,) or (zc, zh, zw).
        image_shape: (c, h, w).
        components: k.
    """

    needs = (DENSITY,)

    def __init__(
        self, latent_shape: tuple[int, ...], image_shape: tuple[int, int, int], components: PositiveInt = 100
    ) -> None:
        super().__init__(latent_shape, image_shape)
        self.raw = nn.Parameter(torch.rand(components, *self.image_shape, dtype=torch.float32))

    @property
    def pseudo_inputs(self) -> Tensor:
        """(k, c, h, w) in [0, 1]; a pixel at a bound keeps the gradients that lead back inside."""
        return bound(self.raw, 0.0, 1.0)

    @torch.no_grad()
    def start_at(self, images: Tensor) -> None:
        """Start at images evenly spaced among `images`; where these are too few, at some of them more than once."""
        k, n = len(self.raw), len(images)
        chosen = images[torch.arange(k, device=images.device) * n // k]
        # a little apart, as the authors' code has it: two equal ones would stay equal for ever
        noise = randomness.normal(0, "pseudo-inputs", 0, tuple(self.raw.shape), images.device)
        self.raw.copy_(chosen + 0.01 * noise)

    def density(self, encode: Encode) -> GaussianMixture:
        posterior = encode(self.pseudo_inputs).normal()
        mean, logvar = posterior.mean.flatten(1), posterior.logvar.flatten(1)
        return GaussianMixture.diagonal(mean.new_zeros(len(mean)), mean, logvar, self.latent_shape)


class MixturePrior(Prior):
    """A mixture of k Gaussians with learned means and diagonal covariances.

    Starts with the mean and the variances of N(0, I), half of them from the spread of the means, which are drawn from
    torch's generator as the weights of a layer are; a single component starts at N(0, I).

    Args:
        latent_shape: (d,) or (zc, zh, zw).
        image_shape: (c, h, w).
        components: k.
        weights: of the components: "learned", or "equal".
    """

    needs = (DENSITY,)

    def __init__(
        self,
        latent_shape: tuple[int, ...],
        image_shape: tuple[int, int, int],
        components: PositiveInt = 100,
        weights: Weights = "learned",
    ) -> None:
        super().__init__(latent_shape, image_shape)
        check_word("prior.weights", weights, Weights)
        d = math.prod(self.latent_shape)
        means = torch.randn(components, d, dtype=torch.float32)
        means = means - means.mean(0)
        var = 1.0
        if components > 1:
            means = means * (0.5 / means.square().mean(0)).sqrt()
            var = 0.5
        self.means = nn.Parameter(means)
        self.logvars = nn.Parameter(torch.full((components, d), math.log(var), dtype=torch.float32))
        self.log_weights = nn.Parameter(torch.zeros(components, dtype=torch.float32), weights == "learned")

    def density(self, encode: Encode) -> GaussianMixture:
        return GaussianMixture.diagonal(self.log_weights, self.means, self.logvars, self.latent_shape)
