"""How far a model is from another one that has learnt what is to be kept (the `terms` group)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from lehr.errors import ConfigError
from lehr.limits import NonNegativeFloat, PathString
from lehr.objective.terms.term import LossTerm, Per, TermInputs, TermResult


class Teacher(LossTerm):
    """Squared differences to a finished run: of its latents, and of the images that it decodes the same latents to.

    The mean over pixel values, in [-1, 1], plus `latents` times the mean over the latents of the posterior's mean. The
    teacher is not trained, and computes in float32.

    Args:
        image_shape: (c, h, w).
        latent_shape: of the model that is trained.
        load_model: the directory of a run -> its model, from those who know how it is kept.
        run: that directory.
        latents: what the latents' part is multiplied by.
        per: as of `LossTerm`.
        options: as of `LossTerm`.

    Raises:
        ConfigError: if its images or its latents have another shape.
    """

    unit_of_value = "squared pixel values"

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_shape: tuple[int, ...],
        load_model: Callable[[str], Any],
        run: PathString,
        latents: NonNegativeFloat = 1.0,
        per: Per = "pixel",
        **options: Any,
    ) -> None:
        super().__init__(per=per, **options)
        model = load_model(run)
        for what, own, other in (
            ("images", image_shape, model.image_shape), ("latents", latent_shape, model.latent_shape)
        ):  # fmt: skip
            if tuple(own) != tuple(other):
                theirs, ours = (" x ".join(map(str, shape)) for shape in (other, own))
                raise ConfigError(f"terms.teacher.run={run}: has {what} of {theirs}, and these are {ours}")
        self.latents = latents
        self.keep("teacher", model.float())

    def forward(self, inputs: TermInputs) -> TermResult:
        likelihood, mean = inputs.parts.likelihood, inputs.posterior.mean
        with torch.no_grad(), torch.autocast(mean.device.type, enabled=False):
            theirs = self.teacher.encode(inputs.images.float()).mean
            images = likelihood.mean(self.teacher.decode(inputs.z.detach().float()))
        of_images = (2 * (inputs.reconstruction - images)).square().flatten(1).mean(1)
        return TermResult(of_images + self.latents * (mean - theirs).square().flatten(1).mean(1))
