"""LPIPS: how different two images look, by features of VGG16 (Zhang et al. 2018).

Nothing of it is trained, and nothing in it is random: the dropout of the `lpips` package was for its own training.
Shapes: b batch, c h w image.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lehr.errors import ConfigError, in_a_line
from lehr.limits import PathString, Text
from lehr.objective.terms.term import LossTerm, PerOfReconstruction, TermInputs, TermResult
from lehr.objective.terms.vgg import BLOCKS, LEAST_SIDE, VGG16
from lehr.weights import WeightsFile

VGG_FILE = WeightsFile(
    name="vgg16-397923af.pth",
    url="https://download.pytorch.org/models/vgg16-397923af.pth",
    instead="terms=laplacian",
)
_LINEAR_SHA256 = "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"  # of version 0.1
_LINEAR = "functional/image/lpips_models/vgg.pth"  # in torchmetrics
_EPS = 1e-8  # as torchmetrics has it; the lpips package divides by 0 where all features are


class Network(nn.Module):
    """VGG16 and the linear layers that weigh its channels.

    Args:
        vgg: of images of 3 channels.
        linear: (channels,) weights of each of its outputs, not negative.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, vgg: VGG16, linear: list[Tensor]) -> None:
        super().__init__()
        self.vgg = vgg
        for i, weight in enumerate(linear):
            self.register_buffer(f"linear{i}", weight.float())
        # the package's scaling layer, for pixels in [-1, 1]: about the mean and deviation of ImageNet
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188], dtype=torch.float32).view(3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450], dtype=torch.float32).view(3, 1, 1))

    def features(self, images: Tensor) -> list[Tensor]:
        """The outputs of `vgg`, of length 1 at each position, for images (b, c, h, w) in [0, 1] of 1 or 3 channels."""
        x = (2 * images.to(self.shift.dtype) - 1 - self.shift) / self.scale  # a grey one is repeated
        return [part / (part.square().sum(1, keepdim=True) + _EPS).sqrt() for part in self.vgg(x)]

    def forward(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        """(b,) in at least float32; the gradient is that of the reconstructions alone."""
        with torch.autocast(images.device.type, enabled=False):
            with torch.no_grad():
                targets = self.features(images)
            total = images.new_zeros(len(images), dtype=self.shift.dtype)
            for i, (x, y) in enumerate(zip(targets, self.features(reconstructions), strict=True)):
                weights = getattr(self, f"linear{i}").view(-1, 1, 1)
                total = total + ((x - y).square() * weights).sum(1).mean((1, 2))
        return total


class LPIPS(LossTerm):
    """LPIPS of images and reconstructions, with VGG16's features and the package's linear layers (version 0.1).

    The same as the `lpips` package gives, `net="vgg"`, to 1e-5. In float32 whatever the precision of the training. A
    grey image is shown as three equal channels.

    Args:
        image_shape: (c, h, w).
        weights: torchvision's file of VGG16; None for where torch.hub keeps it.
        sha256: hexadecimal digits that the SHA-256 of the file begins with.
        per: as of `LossTerm`; LDM adds LPIPS to the error of every pixel value.
        options: as of `LossTerm`.

    Raises:
        ConfigError: if the weights are missing or others, or such images cannot be looked at.
    """

    files = (VGG_FILE,)
    compares_images = True
    unit_of_value = "LPIPS"
    least_side = smallest_side = LEAST_SIDE

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        weights: PathString | None = None,
        sha256: Text = "397923af",
        per: PerOfReconstruction = "pixel",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.per = per
        c, h, w = image_shape
        if c not in (1, 3):
            raise ConfigError(f"terms.lpips: looks at images of 1 or 3 channels, and these have {c}; {_INSTEAD}")
        if min(h, w) < LEAST_SIDE:
            raise ConfigError(
                f"terms.lpips: these images, {h} x {w}, are less than {LEAST_SIDE} pixels wide; {_INSTEAD}"
            )
        values = {"weights": weights, "sha256": sha256}
        if problem := VGG_FILE.problem(values, "terms.lpips"):
            raise ConfigError(problem)
        path = VGG_FILE.path(values)
        try:
            vgg = VGG16.of(_tensors(path))
        except RuntimeError as error:
            raise ConfigError(f"terms.lpips: {path} does not hold VGG16 ({in_a_line(error)[:200]})") from error
        self.keep("network", Network(vgg, linear_layers()))

    def forward(self, inputs: TermInputs) -> TermResult:
        return TermResult(self.network(inputs.images, inputs.reconstruction))


_INSTEAD = f"use {VGG_FILE.instead}"


def linear_layers() -> list[Tensor]:
    """The weights (channels,) of each of VGG16's outputs, from the file that torchmetrics brings.

    Raises:
        ConfigError: if it brings it no longer, or another.
    """
    package = find_spec("torchmetrics")
    path = Path(package.origin or "").parent / _LINEAR if package else Path(_LINEAR)
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != _LINEAR_SHA256:
        raise ConfigError(f"terms.lpips: this torchmetrics has not the linear layers of LPIPS, {path}; {_INSTEAD}")
    tensors = _tensors(path)
    return [tensors[f"lin{i}.model.1.weight"].flatten() for i in range(len(BLOCKS))]


def _tensors(path: Path) -> Mapping[str, Tensor]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, KeyError, ValueError, TypeError, pickle.UnpicklingError) as error:
        raise ConfigError(f"terms.lpips: {path} holds no weights ({in_a_line(error)[:200]})") from error
