"""What is known of q(z|x) and q(z). Knows torch alone."""

from lehr.lazy import exports

__getattr__, __dir__ = exports(
    __name__,
    {
        "AggregatePosterior": "aggregate",
        "DiagonalGaussian": "gaussian",
        "Moments": "aggregate",
        "active_units": "collapse",
        "effective_rank": "collapse",
        "interpolate": "samplers",
        "moment_kl": "collapse",
        "sample_aggregate": "samplers",
    },
)
