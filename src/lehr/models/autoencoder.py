"""What every model is: `encode` images to a posterior, `decode` latents to likelihood parameters.

Images are in [0, 1]. What the numbers that `decode` gives mean is for the likelihood to say.

Shapes: b batch, c h w image; `*latent` is (d,) for a flat latent and (zc, zh, zw) for a latent map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lehr.posterior.posterior import Posterior


def dtype_of(module: nn.Module) -> torch.dtype:
    """The precision of the weights of a module; float32 if it has none."""
    # asked twice a step, and `parameters()` walks the whole model before it gives its first
    return next((p.dtype for m in module.modules() for p in m._parameters.values() if p is not None), torch.float32)


def last_weight(module: object) -> Tensor | None:
    """The last matrix or kernel of a module; None if it has none, or is no module."""
    weights = [p for p in module.parameters() if p.ndim > 1] if isinstance(module, nn.Module) else []
    return weights[-1] if weights else None


def can_be_wrapped(cls: type) -> bool:
    """Whether modules of this class encode and decode, which is all that `wrap` asks of them."""
    return issubclass(cls, nn.Module) and all(callable(getattr(cls, name, None)) for name in ("encode", "decode"))


class Autoencoder(nn.Module):
    """An encoder and a decoder of any kind.

    Args:
        image_shape: (c, h, w).
        latent_shape: (d,) or (zc, zh, zw).

    Attributes:
        codebook_size: how many codes there are where posteriors are `Codes`, else 0.
        revive, revive_decay: of a model that has a `codebook` (K, k), a parameter, and `Codes`: which of its codes a
            training has begin anew, see `VQAutoencoder`; 0 for none.
        encoder_input: what the network that encodes is given for pixels of 0 and of 1.
        note: what there is to say before a training, a line, or nothing.
        any_size: whether images and latent maps of other heights and widths may be encoded and decoded.
    """

    codebook_size = 0
    revive = 0.0
    revive_decay = 0.99
    any_size = False
    encoder_input: tuple[float, float] = (0.0, 1.0)
    note = ""
    accepted = "a torch.nn.Module with encode and decode"
    """What `accepts` takes besides, in words."""

    @classmethod
    def accepts(cls, other: type) -> bool:
        """Whether a configuration may name `other` where it is to name a class like this one."""
        return cls is Autoencoder and can_be_wrapped(other)

    def __init__(self, image_shape: tuple[int, int, int], latent_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.latent_shape = tuple(latent_shape)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights; inputs are converted to it."""
        return dtype_of(self)

    @property
    def last_layer(self) -> Tensor | None:
        """The weight that gives pixels, which losses are balanced at; None where that is not known.

        Here the last matrix or kernel of `decoder`, if there is such a part.
        """
        return last_weight(getattr(self, "decoder", None))

    def encode(self, x: Tensor) -> Posterior:
        """q(z|x) for images (b, c, h, w) in [0, 1]; its tensors are (b, *latent_shape), at least float32."""
        raise NotImplementedError

    def decode(self, z: Tensor) -> Tensor:
        """Likelihood parameters (b, c, h, w) for latents (b, *latent_shape)."""
        raise NotImplementedError

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Posterior, Tensor]:
        """Encode, draw z with `noise` (b, *noise_shape), decode: the posterior and the likelihood parameters."""
        posterior = self.encode(x)
        return posterior, self.decode(posterior.sample(noise))

    def start_at(self, parameters: Tensor) -> None:
        """Let the decoder give about `parameters` (c, h, w), those of the mean image, before it has learnt anything.

        Called before the training of new weights. A model that has learnt something already leaves them as they are,
        and so does this one.
        """

    def start_codes(self, images: Tensor, seed: int) -> None:
        """Let the codes, where there are some, begin at what the encoder gives for `images` (n, c, h, w) in [0, 1].

        Called before the training of new weights, and never of those that have learnt something. Here nothing.
        """

    def compile_networks(self) -> None:
        """torch.compile what encodes and decodes."""
        self.encode = torch.compile(self.encode)  # type: ignore[method-assign]
        self.decode = torch.compile(self.decode)  # type: ignore[method-assign]
