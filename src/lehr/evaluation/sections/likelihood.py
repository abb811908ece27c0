"""ELBO, rate, distortion and the importance-weighted bound, in nats per example; bits per dimension."""

from __future__ import annotations

import math

import torch

from lehr import randomness
from lehr.evaluation.section import Inputs, Section, Table, lacks_density
from lehr.finite import require_finite
from lehr.objective.bits import BitsPerDim, bits_per_dim


def _measure(inputs: Inputs) -> Table:
    subject, weighted = inputs.subject, inputs.weighted
    bound = weighted.bound
    bits = bits_per_dim(subject.likelihood, subject.data.levels)
    nats = -float(weighted.elbo.mean())
    if bits.kind == "dequantized":
        nats = _dequantized_nats(inputs, bits) + float(weighted.rate.mean())
    bounds = {
        "elbo": float(weighted.elbo.mean()),
        "rate": float(weighted.rate.mean()),
        "distortion": float(weighted.distortion.mean()),
        "iwae": float(bound.mean()),
    }
    require_finite(f"likelihood of {len(bound):,} {inputs.plan.split} examples", bounds)
    return {
        **bounds,
        "iwae_standard_error": float(bound.std() / math.sqrt(len(bound))),
        "iwae_samples": weighted.samples,
        "ess": float(weighted.ess.mean()),
        "bits_per_dim": bits.bits(nats, math.prod(subject.model.image_shape)),
        "bits_per_dim_note": bits.reason,
    }


@torch.inference_mode()
def _dequantized_nats(inputs: Inputs, bits: BitsPerDim) -> float:
    """E[-log p(x'|z)] in nats per example of dequantised pixels x', with one sample of z and of the noise each."""
    subject, plan, encoded = inputs.subject, inputs.plan, inputs.encoded
    total = 0.0
    for batch in subject.batches(plan.split, plan.examples):
        rows, shape = (batch.start, batch.start + len(batch)), tuple(batch.images.shape[1:])
        noise = randomness.rows("uniform", plan.seed, f"dequantize/{plan.split}", *rows, shape, subject.device)
        parameters = subject.model.decode(encoded.z[slice(*rows)].to(subject.device))
        total -= float(subject.likelihood.log_prob(bits.pixels(batch.images, noise), parameters).double().sum())
    return total / len(encoded)


LIKELIHOOD = Section("likelihood", _measure, lacks=lacks_density)
