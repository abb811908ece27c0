"""The ELBO of a linear VAE with a Gaussian likelihood, without sampling."""

from __future__ import annotations

from torch import Tensor

from lehr.models import Linear
from lehr.objective import Gaussian
from lehr.objective.elbo import Terms, elbo_terms


def exact_terms(x: Tensor, model: Linear, likelihood: Gaussian) -> Terms:
    """Terms of the ELBO of images `x` (b, c, h, w), the distortion averaged over q(z|x).

    E|x - Wz - m|^2 = |x - W E[z] - m|^2 + sum_j Var(z_j) |w_j|^2
    """
    posterior = model.encode(x)
    at_mean = elbo_terms(x, posterior, model.decode(posterior.mean), likelihood)
    spread = (posterior.var * model.decoder[0].weight.square().sum(0)).sum(1)
    return Terms(at_mean.distortion + 0.5 * spread * (-2 * likelihood.log_scale).exp(), at_mean.rate)
