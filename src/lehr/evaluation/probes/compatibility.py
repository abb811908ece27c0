"""Whether another autoencoder has the same latent space, as `lehr probe run=A other=B` asks."""

from __future__ import annotations

import torch

from lehr.evaluation.compatibility import compatibility
from lehr.evaluation.probes.probe import Probe, Probed, ProbeInputs


def _compatibility(inputs: ProbeInputs) -> Probed:
    assert inputs.other is not None
    first = inputs.images[0].shape
    images = torch.cat([batch for batch in inputs.images if batch.shape[1:] == first[1:]])
    found = compatibility(inputs, inputs.other, images)
    values = {
        "psnr_mapped": found.psnr_mapped,
        "psnr_mapped_3x3": found.psnr_mapped_3x3,
        "psnr_direct": found.psnr_direct,
        "psnr_own": found.psnr_own,
        "cka": found.cka,
        "r2": found.r2,
        "r2_3x3": found.r2_3x3,
    }
    return Probed(values, found.sentence, not (found.are_interchangeable or found.are_linearly_mapped), found.picture)


def _lacks(inputs: ProbeInputs) -> str | None:
    return None if inputs.other is not None else "say other=RUN, an autoencoder whose latents are compared with these"


COMPATIBILITY = Probe("compatibility", _compatibility, _lacks)
