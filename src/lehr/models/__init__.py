"""The networks: encode(x) -> posterior, decode(z) -> likelihood parameters. Knows torch alone."""

from lehr.lazy import exports

__getattr__, __dir__ = exports(
    __name__,
    {
        "Autoencoder": "autoencoder",
        "Components": "components",
        "Conv": "conv",
        "GivenModule": "given",
        "KLAutoencoder": "first_stage.kl",
        "Linear": "linear",
        "MLP": "mlp",
        "TinyAutoencoder": "first_stage.tiny",
        "VAE": "vae",
        "VQAutoencoder": "first_stage.vq",
        "wrap": "wrapped",
    },
)
