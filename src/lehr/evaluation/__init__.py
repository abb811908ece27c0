"""How good it is: statistics over whole data sets, and pictures of them."""

from lehr.lazy import exports

__getattr__, __dir__ = exports(
    __name__, {"AggregatePosteriorMetric": "aggregate", "ELBOMetric": "elbo", "image_grid": "pictures"}
)
