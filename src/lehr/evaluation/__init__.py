"""How good it is: statistics over whole data sets, and pictures of them."""

from lehr.lazy import exports

__getattr__, __dir__ = exports(
    __name__,
    {
        "AggregatePosteriorMetric": "aggregate",
        "ELBOMetric": "elbo",
        "ImportanceWeighted": "importance",
        "MutualInformation": "mutual_information",
        "dci": "disentanglement",
        "factor_vae_score": "disentanglement",
        "image_grid": "pictures",
        "importance_weighted": "importance",
        "linear_probe": "representation",
        "mig": "disentanglement",
        "sap": "disentanglement",
    },
)
