"""What may be asked of q(z|x), whatever its kind: `DiagonalGaussian`, `FixedVariance`, `Point`, `Codes`.

Code that uses a posterior asks it, and does not look at what it is. What a kind has not it refuses with `NoDensity`;
`has_density` says so beforehand.

Shapes: b batch, k samples; `*latent` is (d,) for a flat latent and (zc, zh, zw) for a latent map.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor

from lehr.errors import NoDensity

TALLIES = ("latents", "bounded", "clamped_low", "clamped_high", "lost_in_bfloat16", "lost_in_float16")
"""What `Posterior.tallies` may hold: latents that have noise; log-variances that have bounds, and how many of them lay
below and above; of how many the noise rounds away, see `lost_share`."""

if TYPE_CHECKING:  # both are made of posteriors
    from lehr.posterior.density import LatentDensity
    from lehr.posterior.gaussian import NormalPosterior


def at_least_float32(x: Tensor) -> Tensor:
    """`x` in float32, or in its own type where that is wider: what every likelihood and statistic is computed in."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


class Posterior(ABC):
    """q(z|x) for a batch. Never changed: what changes it gives another one.

    A kind is a class with a constructor of its own, whose tensors are named in `_of_examples` and `_of_all`; all that
    picks, joins or moves examples is then done here.

    Attributes:
        mean: (b, *latent) E[z|x], at least float32.
        has_density: whether there are `log_prob`, `kl`, `kl_per_dimension`, `kl_to` and `rate`.
    """

    has_density: ClassVar[bool] = False
    _of_examples: ClassVar[tuple[str, ...]] = ("mean",)
    """Attributes that are tensors with a row for each example, or None."""
    _of_all: ClassVar[tuple[str, ...]] = ()
    """Attributes that all examples share; those that are tensors move with the others."""

    mean: Tensor

    @property
    @abstractmethod
    def var(self) -> Tensor:
        """(b, *latent) Var(z|x)."""

    @abstractmethod
    def sample(self, noise: Tensor) -> Tensor:
        """z ~ q(z|x), (b, *latent), differentiable: a function of `noise` (b, *noise_shape), which is N(0, 1)."""

    @abstractmethod
    def standardised(self, mean: Tensor, std: Tensor) -> Posterior:
        """That of (z - mean) / std, for `mean` and `std` (*latent)."""

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return tuple(self.mean.shape[1:])

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Of the noise that `sample` takes for one example: that of the latent, or (0,) where nothing is drawn."""
        return self.latent_shape

    def __len__(self) -> int:
        return len(self.mean)

    # what only kinds with a density have

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z|x) in nats, summed over latents: (b,) for `z` (b, *latent).

        Raises:
            NoDensity: if the kind has none; as all of these.
        """
        raise self._no_density("log_prob")

    def log_prob_of_noise(self, noise: Tensor) -> Tensor:
        """log q(z|x) in nats at z = sample(noise): (..., b) for `noise` (..., b, *noise_shape).

        Exact also where the variance is so small that z - mean would cancel.
        """
        raise self._no_density("log_prob_of_noise")

    def kl_per_dimension(self) -> Tensor:
        """KL(q(z_j|x) || N(0, 1)) in nats for each latent j: (b, *latent), never negative up to rounding."""
        raise self._no_density("kl_per_dimension")

    def kl(self) -> Tensor:
        """KL(q(z|x) || N(0, I)) in nats, summed over latents: (b,)."""
        return self.kl_per_dimension().flatten(1).sum(1)

    def kl_to(self, prior: LatentDensity) -> Tensor | None:
        """KL(q(z|x) || p(z)) in nats, (b,), where it has a closed form; None where it has to be estimated."""
        raise self._no_density("kl_to")

    def rate(self, prior: LatentDensity, z: Tensor) -> Tensor:
        """KL(q(z|x) || p(z)) in nats, (b,): exact, or else its estimate log q(z|x) - log p(z) at `z` (b, *latent)."""
        kl = self.kl_to(prior)
        return self.log_prob(z) - prior.log_prob(z) if kl is None else kl

    def normal(self) -> NormalPosterior:
        """This posterior, if it is a normal distribution with a diagonal covariance: `mean` and `logvar` are all."""
        raise self._no_density("normal")

    def _no_density(self, asked: str) -> NoDensity:
        return NoDensity(
            f"{type(self).__name__}.{asked}: posteriors of this kind have no density, and so no KL or rate"
        )

    # what a kind may have

    def charges(self) -> dict[str, Tensor]:
        """What the loss is to hold beside distortion and rate, by name: (b,) each, to be added as it is."""
        return {}

    @property
    def usage(self) -> Tensor | None:
        """(K,) int64: how often each code of a codebook is used, to be added up over batches; None without one."""
        return None

    def tallies(self) -> dict[str, Tensor]:
        """What is counted over the latents of all examples, scalars in float64 by names of `TALLIES`; they add up."""
        return {}

    def diagnostics(self) -> dict[str, Tensor]:
        """Numbers of this batch that are worth watching in training, by name: scalars."""
        return {}

    # examples picked, joined, moved: the same for every kind

    def __getitem__(self, rows: slice | Tensor | list[int]) -> Self:
        """The posteriors of these examples."""
        return self._with(lambda tensor: tensor[rows])

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """The posteriors of all `parts`, of one kind, in their order; what all examples share is that of the first."""
        first = parts[0]
        if any(type(part) is not type(first) for part in parts):
            raise ValueError(f"posteriors of several kinds: {', '.join(sorted({type(p).__name__ for p in parts}))}")
        new = first._copy()
        for name in first._of_examples:
            tensors = [getattr(part, name) for part in parts]
            vars(new)[name] = None if any(tensor is None for tensor in tensors) else torch.cat(tensors)
        return new

    def repeat_interleave(self, k: int) -> Self:
        """Each example `k` times: (b k, *latent)."""
        return self._with(lambda tensor: tensor.repeat_interleave(k, 0))

    def with_sample_dim(self) -> Self:
        """With a dimension for samples, (b, 1, *latent), to be sampled with noise (b, k, *noise_shape) and no more."""
        return self._with(lambda tensor: tensor[:, None])

    def flat(self) -> Self:
        """With latent maps as vectors: (b, d)."""
        return self._with(lambda tensor: tensor.flatten(1) if tensor.ndim > 2 else tensor)

    def detach(self) -> Self:
        """Without gradients."""
        return self._with(Tensor.detach, *self._of_all)

    def clone(self) -> Self:
        """With tensors of its own, which in inference mode others could not be trained on."""
        return self._with(Tensor.clone, *self._of_all)

    def to(self, target: torch.dtype | torch.device | str) -> Self:
        """On another device, or in another floating-point type; whole numbers stay what they are."""
        if isinstance(target, torch.dtype):
            return self._with(lambda t: t.to(target) if t.is_floating_point() else t, *self._of_all)
        return self._with(lambda t: t.to(target), *self._of_all)

    def _with(self, change: Callable[[Tensor], Tensor], *also: str) -> Self:
        """A posterior of the same kind, every tensor of examples (and of `also`) changed."""
        new = self._copy()
        for name in (*self._of_examples, *also):
            if isinstance(value := getattr(self, name), Tensor):
                vars(new)[name] = change(value)
        return new

    def _copy(self) -> Self:
        new = object.__new__(type(self))
        vars(new).update(vars(self))
        return new
