"""E[x|z] against x as the model saw it, at the mean of q(z|x) and at a sample of it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lehr.evaluation.defects import Defects
from lehr.evaluation.reconstruction import measure_reconstruction
from lehr.evaluation.section import Inputs, Section, Table


@torch.inference_mode()
def _measure(inputs: Inputs) -> Table:
    defects = Defects()
    mean = measure_reconstruction(defects.watching(_pairs(inputs, inputs.encoded.posterior.mean)))
    sampled = measure_reconstruction(_pairs(inputs, inputs.encoded.z))
    return {
        "psnr": mean.psnr,
        "ssim": mean.ssim,
        "mse": mean.mse,
        "psnr_sampled": sampled.psnr,
        "ssim_sampled": sampled.ssim,
        "mse_sampled": sampled.mse,
        "ssim_window": mean.window,
        **defects.means(),
    }


def _pairs(inputs: Inputs, latents: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches (b, c, h, w) of images and of what `latents` (n, *latent) are decoded to."""
    subject, plan = inputs.subject, inputs.plan
    for batch in subject.batches(plan.split, plan.examples):
        z = latents[batch.start : batch.start + len(batch)].to(subject.device)
        yield batch.images, subject.likelihood.mean(subject.model.decode(z))


RECONSTRUCTION = Section("reconstruction", _measure)
