"""A module of the user's own as an `Autoencoder`.

Shapes: b batch, c h w image; `*latent` is (d,) for a flat latent and (zc, zh, zw) for a latent map.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lehr.errors import in_a_line
from lehr.models.autoencoder import Autoencoder, can_be_wrapped, dtype_of, last_weight
from lehr.posterior.gaussian import DiagonalGaussian
from lehr.posterior.point import Point
from lehr.posterior.posterior import Posterior, at_least_float32

LOGVAR_MIN, LOGVAR_MAX = -20.0, 10.0
"""Bounds of a log-variance that a module gives beside its mean, the same as of `VAE`."""


def wrap(
    module: nn.Module, image_shape: tuple[int, int, int], latent_shape: tuple[int, ...] | None = None
) -> Autoencoder:
    """`module` as an `Autoencoder`; one that is an `Autoencoder` already is given back.

    It keeps its weights, and they are trained as they stand. One grey image is passed through it in evaluation mode,
    to see that shapes fit.

    Args:
        module: has `encode(x)` for images (b, c, h, w) in [0, 1] and `decode(z)` for latents (b, *latent), which
            gives likelihood parameters (b, c, h, w). What `encode` gives is a `Posterior`; a tensor (b, *latent), a
            `Point` then; or mean and log-variance, each (b, *latent), a `DiagonalGaussian` whose log-variance is
            bounded to [-20, 10].
        image_shape: (c, h, w).
        latent_shape: (d,) or (zc, zh, zw); what the module gives if None.

    Raises:
        ValueError: in one line, if it does not encode and decode images of this shape.
    """
    name = type(module).__name__
    if isinstance(module, Autoencoder):
        _require(name, "image_shape", tuple(module.image_shape), tuple(image_shape))
        _require(name, "latent_shape", module.latent_shape, latent_shape)
        return module
    if not can_be_wrapped(type(module)):
        raise ValueError(f"{name}: must have encode(x) and decode(z)")
    grey = torch.full((1, *image_shape), 0.5, device=next((p.device for p in module.parameters()), None))
    with evaluated(module):
        posterior = as_posterior(_tried(module, "encode", grey.to(dtype_of(module))), name)
        shape = posterior.latent_shape
        if len(posterior) != 1 or len(shape) not in (1, 3):
            found = tuple(posterior.mean.shape)
            raise ValueError(f"{name}.encode: expected latents (b, d) or (b, zc, zh, zw), got {found} of one image")
        _require(name, "latent_shape", shape, latent_shape)
        decoded = _tried(module, "decode", posterior.mean.to(dtype_of(module)))
    if not isinstance(decoded, Tensor) or decoded.shape != grey.shape:
        given = str(tuple(decoded.shape)) if isinstance(decoded, Tensor) else type(decoded).__name__
        raise ValueError(f"{name}.decode: expected {tuple(grey.shape)} of one latent, got {given}")
    wrapped = Wrapped(module, image_shape, shape)
    wrapped.codebook_size = 0 if posterior.usage is None else len(posterior.usage)
    return wrapped


def _require(name: str, what: str, found: tuple[int, ...], expected: tuple[int, ...] | None) -> None:
    if expected is not None and found != tuple(expected):
        raise ValueError(f"{name}: has {what}={found}, expected {tuple(expected)}")


def _tried(module: nn.Module, method: str, x: Tensor) -> Any:
    try:
        return getattr(module, method)(x)
    except Exception as error:
        where = f"{type(module).__name__}.{method}"
        raise ValueError(f"{where}: fails on a tensor of {tuple(x.shape)} ({in_a_line(error)})") from error


@contextmanager
def evaluated(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a moment, without gradients."""
    training = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in training.items():
            part.training = mode


class Wrapped(Autoencoder):
    """See `wrap`.

    Attributes:
        module: the user's own.
    """

    def __init__(self, module: nn.Module, image_shape: tuple[int, int, int], latent_shape: tuple[int, ...]) -> None:
        super().__init__(image_shape, latent_shape)
        self.module = module

    @property
    def last_layer(self) -> Tensor | None:
        """The module's own `last_layer` if it has one, else the last matrix or kernel of its `decoder`."""
        own = getattr(self.module, "last_layer", None)
        return own if isinstance(own, Tensor) else last_weight(getattr(self.module, "decoder", None))

    def encode(self, x: Tensor) -> Posterior:
        encoded = self.module.encode(x.to(self.dtype))  # type: ignore[operator]
        return as_posterior(encoded, type(self.module).__name__)

    def decode(self, z: Tensor) -> Tensor:
        return self.module.decode(z.to(self.dtype))  # type: ignore[operator]

    def start_at(self, parameters: Tensor) -> None:
        if callable(start := getattr(self.module, "start_at", None)):
            start(parameters)


def as_posterior(encoded: Any, name: str = "a model") -> Posterior:
    """What an encoder gives, as a posterior.

    Raises:
        ValueError: for anything but a posterior, a tensor, or a pair of tensors of the same shape.
    """
    if isinstance(encoded, Posterior):
        return encoded
    if isinstance(encoded, Tensor):
        return Point(at_least_float32(encoded))
    if isinstance(encoded, tuple | list) and len(encoded) == 2 and all(isinstance(part, Tensor) for part in encoded):
        mean, logvar = encoded
        if mean.shape != logvar.shape:
            shapes = f"{tuple(mean.shape)} and {tuple(logvar.shape)}"
            raise ValueError(f"{name}.encode: mean and log-variance differ in shape, {shapes}")
        return DiagonalGaussian.bounded(mean, logvar, LOGVAR_MIN, LOGVAR_MAX)
    given = type(encoded).__name__
    raise ValueError(f"{name}.encode: expected a posterior, a tensor, or mean and log-variance, got {given}")
