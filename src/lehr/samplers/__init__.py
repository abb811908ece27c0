"""Where new latents come from: the prior, q(z) as a Gaussian, and densities that are fitted to q(z)."""

from lehr.lazy import exports

__getattr__, __dir__ = exports(
    __name__,
    {
        "FittedDensity": "sampler",
        "FittedSampler": "sampler",
        "Sampler": "sampler",
        "TwoStage": "two_stage",
        "find_sampler": "sampler",
        "fit_mixture": "mixture",
        "fit_two_stage": "two_stage",
    },
)
