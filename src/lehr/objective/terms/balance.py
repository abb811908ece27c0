"""Gradients of parts of the loss at the decoder's last layer: what a term is weighed by (Esser et al. 2021).

Shapes: b examples of this rank, c h w image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lehr.objective.step import StepInputs

_NEVER_ZERO = 1e-4  # of latent diffusion, beside gradients of the loss of one example


def norms_at(losses: Sequence[Tensor], weight: Tensor, inputs: StepInputs) -> Tensor:
    """(n,) float32 norms of the gradients at `weight` of losses that are sums over this rank's examples.

    Of the means over the examples of all ranks, so that it does not matter how many ranks there are. The graph is kept.
    """
    found = [torch.autograd.grad(loss, weight, retain_graph=True, allow_unused=True)[0] for loss in losses]
    gradients = [torch.zeros_like(weight) if gradient is None else gradient for gradient in found]
    return inputs.mean(torch.stack(gradients).float()).flatten(1).norm(dim=1)


def adaptive_weight(fidelity: Tensor, adversarial: Tensor, most: float = 1e4) -> Tensor:
    """What makes the gradient of the adversarial term as large as that of the fidelity, of the norms of both.

    Between 0 and `most`; finite whatever the norms are.
    """
    return torch.nan_to_num(fidelity / (adversarial + _NEVER_ZERO), nan=0.0, posinf=most).clamp(0.0, most)


def of_gradient(reconstruction: Tensor, value: Tensor, inputs: StepInputs) -> tuple[Tensor, Tensor]:
    """The `value` (b,) as `through` gives it, and the factor that makes its gradient as large as that of |x - y|.

    That of |x - y|, summed over the c h w pixel values in [-1, 1], has a norm of (c h w)^1/2 at each reconstruction.
    The factor, a scalar, brings the root mean square of the norms over the examples of all ranks to it, so that the
    scale of a term does not matter (AuraEquiVAE's `gradnorm`, cloneofsimo 2024). It is 0 where there is no gradient.
    """
    (gradient,) = torch.autograd.grad(value.sum(), reconstruction)
    square = inputs.mean(gradient.float().square().sum())
    wanted = 2 * math.sqrt(math.prod(reconstruction.shape[1:]))  # of pixels in [0, 1], as they are here
    return _with_gradient(reconstruction, value, gradient), torch.nan_to_num(wanted / square.sqrt(), posinf=0.0)


def through(reconstruction: Tensor, value: Tensor) -> Tensor:
    """The `value` (b,) with a gradient that has been taken up to the `reconstruction` (b, c, h, w) already.

    It is asked for twice, to weigh the term and to train; what lies above, a discriminator say, is passed only once.
    """
    (gradient,) = torch.autograd.grad(value.sum(), reconstruction)
    return _with_gradient(reconstruction, value, gradient)


def _with_gradient(reconstruction: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
    change = (reconstruction - reconstruction.detach()) * gradient  # 0, with that gradient
    return value.detach() + change.flatten(1).sum(1)
