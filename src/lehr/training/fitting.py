"""The weights that a run begins with, rescaled so that their activations fit in float16."""

from __future__ import annotations

import math

from lehr.data.module import ImageDataModule
from lehr.errors import ConfigError
from lehr.evaluation.half import fit_for_half
from lehr.models.autoencoder import Autoencoder
from lehr.models.first_stage.rescale import rescalable
from lehr.objective.likelihood import Likelihood

_IMAGES = 8


def fit_weights(model: Autoencoder, likelihood: Likelihood, data: ImageDataModule) -> str:
    """Rescale a model in place by its activations on some training images: what there is to say of it, a line.

    The same on every rank, which has the same weights and the same images.

    Raises:
        ConfigError: if the model has no residual stream, or activations that are not finite.
    """
    if problem := rescalable(model):
        raise ConfigError(f"fit_half=true: {problem}")
    images = [batch.images for batch in data.evaluation_loader("train", "cpu", limit=_IMAGES)]
    was_training = model.training
    model.eval()
    try:
        found = fit_for_half(model, images, to_images=likelihood.mean)
    except ValueError as error:
        raise ConfigError(f"fit_half=true: {error}") from error
    finally:
        model.train(was_training)
    if not found.stretches:
        return f"fit_half: the largest activation is {found.before:,.4g}; nothing had to be rescaled"
    names = ", ".join(f"{stretch.name} by 2^{math.log2(stretch.factor):.0f}" for stretch in found.stretches)
    return (
        f"fit_half: activations up to {found.before:,.4g} are now up to {found.after:,.4g}; rescaled from {names}; "
        f"images are within {min(found.psnr, 200):.0f} dB of those before"
    )
