"""A Gaussian mixture fitted to q(z), the mean of q(z|x) over the training set.

One latent is drawn from q(z|x) for each example: the mixture is to be like q(z), and means alone would leave out the
noise. The number of components is the one under which latents that were held out are the likeliest.

Shapes: n examples, d numbers in a latent, k components.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lehr import randomness
from lehr.errors import ConfigError
from lehr.posterior.density import GaussianMixture
from lehr.posterior.posterior import Posterior
from lehr.samplers.sampler import FittedDensity, FittedSampler, Report

if TYPE_CHECKING:
    from numpy import ndarray

COMPONENTS = (1, 2, 5, 10, 20, 50, 100)
"""Numbers of components that are tried, in this order, until one is worse than the one before."""

MAX_EXAMPLES = 20_000
MAX_LATENTS = 512
_MAX_FULL = 64  # latents above which covariances are diagonal: full ones have too many numbers for the examples
_PER_LATENT = 10  # examples a latent, below which they are diagonal too
_HELD_OUT = 5  # one example in so many
_REGULARISER = 1e-4  # variance added to every component, as a share of the variance of the latent
_ITERATIONS = 60
_TOLERANCE = 1e-2  # EM stops when an iteration gains fewer nats per example; held-out nats gain nothing from 1e-3


class MixtureSampler(FittedSampler[GaussianMixture]):
    """A Gaussian mixture, kept in float64."""

    def _fit(self, latents: Posterior, seed: int, progress: Report | None) -> FittedDensity[GaussianMixture]:
        return fit_mixture(latents, seed, progress=progress)

    def _tensors(self, density: GaussianMixture) -> dict[str, Tensor]:
        return {"weights": density.weights, "means": density.means, "covariances": density.covariances}

    def _density(self, tensors: dict[str, Tensor], latent_shape: tuple[int, ...]) -> GaussianMixture:
        weights, means, covariances = (tensors[name] for name in ("weights", "means", "covariances"))
        k, d = len(weights), math.prod(latent_shape)
        if means.shape != (k, d) or covariances.shape not in ((k, d), (k, d, d)):
            raise ValueError("its tensors do not belong together")
        return GaussianMixture(weights, means, covariances, latent_shape)

    def _description(self, density: GaussianMixture) -> dict[str, Any]:
        kind = "full" if density.covariances.ndim == 3 else "diagonal"
        return {"components": len(density.weights), "covariance": kind, "weights": density.weights.tolist()}


def fit_mixture(
    latents: Posterior,
    seed: int = 0,
    components: tuple[int, ...] = COMPONENTS,
    max_examples: int = MAX_EXAMPLES,
    progress: Report | None = None,
) -> FittedDensity[GaussianMixture]:
    """The mixture for the posteriors `latents` (n, *latent) of the training examples, a function of `seed`.

    Covariances are full for up to 64 latents, else diagonal. Once their number is chosen, the components are fitted
    to the held-out examples too.

    Args:
        latents: q(z|x) of each training example.
        seed: of the noise, the choice of examples and where EM starts.
        components: numbers of components to try.
        max_examples: how many examples to use at most.
        progress: told in a few words what has been done.

    Returns:
        The mixture in float64, with the held-out nats per example of each number of components tried.

    Raises:
        ConfigError: for more latents than can be fitted, or too few examples.
    """
    n, *shape = latents.mean.shape
    d = math.prod(shape)
    if d > MAX_LATENTS:
        raise ConfigError(
            f"samplers=mixture: {d} latents are too many, at most {MAX_LATENTS} can be fitted; leave it out"
        )
    if n < 2 * _HELD_OUT:
        raise ConfigError(f"samplers=mixture: {n} training examples are too few, at least {2 * _HELD_OUT} are needed")
    z = latents.sample(randomness.rows("normal", seed, "mixture/z", 0, n, latents.noise_shape, latents.mean.device))
    z = z.flatten(1)[randomness.permutation(seed, "mixture/order", 0, n)[:max_examples].to(z.device)].double().cpu()
    mean, std = z.mean(0), z.std(0).clamp(min=1e-12)
    white = ((z - mean) / std).numpy()
    held = len(white) // _HELD_OUT
    kind = "full" if d <= _MAX_FULL and len(white) >= _PER_LATENT * d else "diag"

    fits: dict[int, Any] = {}
    held_out: dict[int, float] = {}
    for k in components:
        if k > len(white) - held:
            break
        fits[k] = _fit(white[held:], k, kind, seed)
        held_out[k] = float(fits[k].score(white[:held]) - std.log().sum())
        if progress:
            progress(f"mixture of {k}: {held_out[k]:.3f} nats per held-out latent")
        if held_out[k] < max(held_out.values()):
            break
    k = max(held_out, key=lambda k: held_out[k])
    fit = _fit(white, k, kind, seed, start=fits[k])
    weights, means, covariances = (torch.from_numpy(a) for a in (fit.weights_, fit.means_, fit.covariances_))
    covariances = covariances * (std.outer(std) if kind == "full" else std.square())
    return FittedDensity(GaussianMixture(weights, mean + std * means, covariances, tuple(shape)), held_out, k)


def _fit(x: ndarray, k: int, kind: str, seed: int, start: Any = None) -> Any:
    """scikit-learn's mixture of `k` components for `x` (n, d); EM starts from k-means, or where `start` ended."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture as Mixture

    names = () if start is None else ("weights", "means", "precisions")
    first = {f"{name}_init": getattr(start, f"{name}_") for name in names}
    mixture = Mixture(
        k,
        covariance_type=kind,
        reg_covar=_REGULARISER,
        max_iter=_ITERATIONS,
        tol=_TOLERANCE,
        random_state=seed,
        **first,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of iterations bounds the time, no more
        return mixture.fit(x)
