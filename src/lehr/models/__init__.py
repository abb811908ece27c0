"""The networks: encode(x) -> posterior, decode(z) -> likelihood parameters. Knows torch alone."""

from lehr.lazy import exports

__getattr__, __dir__ = exports(__name__, {"VAE": "vae", "MLP": "mlp", "Conv": "conv", "Linear": "linear"})
