"""What is known of q(z|x) and q(z). Knows torch alone."""

from lehr.lazy import exports

__getattr__, __dir__ = exports(
    __name__,
    {
        "AggregatePosterior": "aggregate",
        "Codes": "codes",
        "DiagonalGaussian": "gaussian",
        "FixedVariance": "gaussian",
        "GaussianMixture": "density",
        "LatentDensity": "density",
        "LinearOptimum": "ppca",
        "Moments": "aggregate",
        "Normal": "density",
        "NormalPosterior": "gaussian",
        "Point": "point",
        "Posterior": "posterior",
        "StandardNormal": "density",
        "active_units": "collapse",
        "collapsed_units": "collapse",
        "count_uninformed": "collapse",
        "effective_rank": "collapse",
        "interpolate": "interpolation",
        "linear_vae_optimum": "ppca",
        "moment_kl": "collapse",
        "moment_kls": "collapse",
        "participation_ratio": "collapse",
        "total_correlation": "collapse",
    },
)
