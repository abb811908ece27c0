"""What is minimised: likelihoods, annealing schedules, the ELBO. Knows torch alone."""

from lehr.lazy import exports

__getattr__, __dir__ = exports(
    __name__,
    {
        "AnnealedKL": "rate",
        "BetaTC": "beta_tc",
        "Capacity": "capacity",
        "ControlVAE": "controllers",
        "FreeBits": "free_bits",
        "GECO": "controllers",
        "MMD": "mmd",
        "MixturePrior": "learned_priors",
        "VampPrior": "learned_priors",
        "RateTerm": "rate",
        "Prior": "prior",
        "StandardNormalPrior": "prior",
        "Annealing": "annealing",
        "ELBO": "bounds",
        "IWAE": "bounds",
        "Objective": "bounds",
        "Bernoulli": "likelihood",
        "BitsPerDim": "bits",
        "ContinuousBernoulli": "continuous_bernoulli",
        "DiscretizedLogistic": "discretized_logistic",
        "Gaussian": "likelihood",
        "Laplace": "likelihood",
        "Likelihood": "likelihood",
        "bits_per_dim": "bits",
        "dequantize": "bits",
        "levels_problem": "bits",
        "Schedule": "annealing",
        "Terms": "elbo",
        "elbo_terms": "elbo",
    },
)
