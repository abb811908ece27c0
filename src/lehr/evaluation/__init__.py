"""How good it is: statistics over whole data sets, and pictures of them."""

from lehr.lazy import exports

__getattr__, __dir__ = exports(
    __name__,
    {
        "AggregatePosteriorMetric": "aggregate",
        "ELBOMetric": "elbo",
        "Generation": "generation",
        "ImportanceWeighted": "importance",
        "MutualInformation": "mutual_information",
        "Reconstruction": "reconstruction",
        "choose_features": "features",
        "compare_features": "generation",
        "dci": "disentanglement.forests",
        "factor_vae_score": "disentanglement.votes",
        "feature_matrix": "features",
        "image_grid": "pictures",
        "importance_weighted": "importance",
        "linear_probe": "representation",
        "measure_reconstruction": "reconstruction",
        "mig": "disentanglement.gaps",
        "sap": "disentanglement.gaps",
    },
)
