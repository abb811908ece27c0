"""What speaks against a batch being learnt, by what was seen in trying: the likeliest first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lehr.models.wrapped import evaluated
from lehr.training.freezing import named_parameters
from lehr.training.module import VAEModule
from lehr.training.opening import parts_of

_MOVED = 0.01  # of their norm: weights that have moved less have not been trained
_ACTIVE = 0.01  # variance of a latent's mean over the batch, from which on it counts as active
_STILL_RISING = 0.01  # of the variance, over the last quarter of the steps
_ALL = 0.95
_TOO_FAR = 10.0  # times their norm: no network is trained by moving its weights so far
_LITTLE = 0.1  # of the variance
_JUMPS = 0.1  # that what is explained was higher before


@dataclass(frozen=True)
class Evidence:
    """What was seen.

    Attributes:
        frozen: parts that have parameters and train none.
        idle: the names of trained parameters that the last step gave no gradient, or only zeros.
        trained: how many parameters are trained.
        moved: how far the trained weights are from their start, over the norm that they had.
        rate: the learning rate of the last step.
        curve: optimiser step, and the share of the variance that is explained after it.
        latents: how many there are.
        active: of how many the mean differs over the batch.
        linear: the share that as many principal components of the batch explain.
    """

    frozen: Sequence[str]
    idle: Sequence[str]
    trained: int
    moved: float
    rate: float
    curve: Sequence[tuple[int, float]]
    latents: int
    active: int
    linear: float

    @classmethod
    def of(
        cls,
        module: VAEModule,
        images: Tensor,
        start: Mapping[str, Tensor],
        curve: Sequence[tuple[int, float]],
    ) -> Evidence:
        """After the last step of training on `images` (b, c, h, w), from the weights `start`."""
        assert module.players is not None
        trained = {name: p for name, p in named_parameters(module.networks) if p.requires_grad}
        before = math.sqrt(sum(float(start[name].double().square().sum()) for name in trained))
        by = math.sqrt(sum(float((p.detach() - start[name]).double().square().sum()) for name, p in trained.items()))
        with evaluated(module.model):
            means = module.model.encode(images).mean.flatten(1)
        parts = {name: part for name, part in parts_of(module).items() if part}
        return cls(
            frozen=[name for name, part in parts.items() if not any(p.requires_grad for p in part)],
            idle=[name for name, p in trained.items() if p.grad is None or not bool(p.grad.any())],
            trained=len(trained),
            moved=by / before if before else math.inf,
            rate=next(iter(module.players.learning_rates().values())),
            curve=curve,
            latents=means.shape[1],
            active=int((means.var(0) > _ACTIVE).sum()),
            linear=principal_share(images, means.shape[1]),
        )


def principal_share(images: Tensor, components: int) -> float:
    """The share of the variance of `images` (b, c, h, w) about their mean image in so many principal components."""
    x = images.double().flatten(1).cpu()
    squares = torch.linalg.svdvals(x - x.mean(0)).square()
    return float(squares[:components].sum() / squares.sum())


def reasons(seen: Evidence) -> list[str]:
    """A line each."""
    found = []
    share = seen.curve[-1][1]
    rise = share - seen.curve[len(seen.curve) * 3 // 4][1]
    if seen.frozen:
        found.append(f"{' and '.join(seen.frozen)} frozen (optimizer.freeze): no weight there can follow the batch")
    if idle := _without_gradient(seen):
        found.append(idle)
    if seen.moved < _MOVED and len(seen.idle) < seen.trained:
        found.append(
            f"the weights have moved by {seen.moved:.2g} of their norm: optimizer.lr={seen.rate:g} is too small, or "
            "trainer.gradient_clip_val is"
        )
    elif (best := max(value for _, value in seen.curve)) > share + _JUMPS or share < -_JUMPS:
        found.append(
            f"it goes up and down ({best:.3f} at best): optimizer.lr={seen.rate:g} is too large; try {seen.rate / 10:g}"
        )
    elif rise > _STILL_RISING:
        found.append(f"it is still rising (by {rise:.3f} in the last quarter): say trainer.max_steps={_twice(seen)}")
    elif best < _LITTLE and not seen.idle and not seen.frozen:
        found.append(
            f"hardly anything was learnt, and the weights have moved by no more than {seen.moved:.2g} of their norm: "
            f"optimizer.lr={seen.rate:g} may be too small; try {seen.rate * 10:g}"
        )
    if not seen.active:
        found.append("no latent differs from image to image: the encoder does not reach the latents")
    elif seen.active == seen.latents and rise <= _STILL_RISING and seen.linear < min(_ALL, 2 * share):
        found.append(
            f"the latents may be too few: all {seen.latents} are in use, and as many principal components of the batch "
            f"explain {seen.linear:.3f} of it; raise model.latent_dim"
        )
    return found or ["nothing speaks against it but the network itself: look at what decode can give, and at its size"]


def _without_gradient(seen: Evidence) -> str:
    if not seen.idle:
        return ""
    first, *others = seen.idle
    more = f" and {len(others)} more" if others else ""
    rate = seen.rate  # steps that are too large kill units that were alive
    too_far = f"; optimizer.lr={rate:g} may have made them so, try {rate / 10:g}" if seen.moved > _TOO_FAR else ""
    return (
        f"no gradient reaches {first}{more}, of {seen.trained} trained tensors: units that are dead (ReLU below 0 for "
        f"every image), saturated, or cut off by detach(){too_far}"
    )


def _twice(seen: Evidence) -> int:
    return 2 * seen.curve[-1][0]
