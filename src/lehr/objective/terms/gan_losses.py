"""What a discriminator and the autoencoder that it looks at are trained on.

Shapes: b examples, `*patches` of the logits of each, the more the more real.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Literal["hinge", "vanilla", "relativistic"]


def of_each(values: Tensor) -> Tensor:
    """(b,) means over the patches of values (b, *patches), at least float32."""
    return values.flatten(1).mean(1, dtype=torch.promote_types(values.dtype, torch.float32))


def discriminator_loss(loss: Loss, real: Tensor, fake: Tensor) -> Tensor:
    """(b,) what the discriminator minimises, of logits (b, *patches) of images and of their reconstructions.

    "hinge" (Lim & Ye 2017) and "vanilla" (Goodfellow et al. 2014) have the factor 1/2 of taming and latent diffusion;
    "relativistic" compares each image with its reconstruction (Jolicoeur-Martineau 2019; Huang et al. 2024, R3GAN).
    """
    if loss == "hinge":
        return 0.5 * of_each(F.relu(1 - real) + F.relu(1 + fake))
    if loss == "vanilla":
        return 0.5 * of_each(F.softplus(-real) + F.softplus(fake))
    return of_each(F.softplus(fake - real))


def generator_loss(loss: Loss, real: Tensor, fake: Tensor) -> Tensor:
    """(b,) what the autoencoder minimises; "vanilla" is the form whose gradient does not vanish."""
    if loss == "hinge":
        return -of_each(fake)
    if loss == "vanilla":
        return of_each(F.softplus(-fake))
    return of_each(F.softplus(real - fake))


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """(b,) squared norms of the gradient of the logits (b, *patches) with respect to the images (b, c, h, w).

    That of the sum over patches, divided by their number: the mean over patches of what each has, where they do not
    overlap, and that of Mescheder et al. 2018 where there is one. With gradients to the weights.
    """
    (gradient,) = torch.autograd.grad(logits.float().sum(), images, create_graph=True)
    return gradient.float().square().flatten(1).sum(1) / logits[0].numel()


def lecam(real: Tensor, fake: Tensor, mean_real: Tensor, mean_fake: Tensor) -> Tensor:
    """(b,) how far logits are beyond the running mean of those of the other kind (Tseng et al. 2021, equation 3).

    Of the squares those that the authors' code has: of real images above the mean of fake ones, of fake ones below
    that of real ones.
    """
    return of_each(F.relu(real - mean_fake).square() + F.relu(mean_real - fake).square())
