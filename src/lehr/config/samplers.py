"""The registry of samplers: the names by which people choose where new latents come from.

Everything that has to know which there are asks here: the schema, help and completion, `lehr.load`, evaluation and the
clean-up of a run directory. It imports nothing, so that a mistake is answered at once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SamplerEntry:
    """A line of the registry.

    Attributes:
        target: the class, a `lehr.samplers.Sampler`.
        line: what its latents come from, for help.
    """

    target: str
    line: str


SAMPLERS = {
    "prior": SamplerEntry("lehr.samplers.given.PriorSampler", "p(z) as it was trained, N(0, I) by default"),
    "aggregate": SamplerEntry("lehr.samplers.given.AggregateSampler", "N(E[z], Var(z)), with independent latents"),
    "aggregate_full": SamplerEntry("lehr.samplers.given.AggregateFullSampler", "the same with the full covariance"),
    "mixture": SamplerEntry("lehr.samplers.mixture.MixtureSampler", "a Gaussian mixture fitted to q(z)"),
    "two_stage": SamplerEntry("lehr.samplers.two_stage.TwoStageSampler", "a second VAE fitted to q(z)"),
}
"""Name -> where it is defined; the name is also that of its files in `posterior/` of a run."""


def sampler_of(method: str, covariance: str) -> str:
    """The name of the sampler that a method and a covariance of q(z), "diag" or "full", stand for."""
    return "aggregate_full" if method == "aggregate" and covariance == "full" else method
