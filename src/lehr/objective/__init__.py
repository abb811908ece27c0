"""What is minimised: likelihoods, annealing schedules, the ELBO. Knows torch alone."""

from lehr.lazy import exports

__getattr__, __dir__ = exports(
    __name__,
    {
        "Annealing": "annealing",
        "Bernoulli": "likelihood",
        "Gaussian": "likelihood",
        "Likelihood": "likelihood",
        "Schedule": "annealing",
        "Terms": "elbo",
        "elbo_terms": "elbo",
    },
)
