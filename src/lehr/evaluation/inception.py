"""Features of Inception v3, those of FID (Heusel et al. 2017), by torchmetrics with the weights of torch-fidelity.

Never downloaded: the weights have to be at hand, and torch-fidelity installed (`pip install lehr[inception]`), which
itself needs torchvision.
"""

from __future__ import annotations

import pickle
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from lehr.errors import ConfigError, DataError, in_a_line

WEIGHTS_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)
_LAYER = "2048"


def default_weights() -> Path:
    """Where torch-fidelity keeps the weights it has downloaded: torch.hub's own cache."""
    return Path(torch.hub.get_dir(), "checkpoints", WEIGHTS_URL.rsplit("/", 1)[1])


def missing(weights: Path | None = None) -> str | None:
    """Why Inception cannot be had, in one line; None if it can. Importing torch-fidelity takes seconds."""
    path = weights or default_weights()
    if not path.is_file():
        return f"there are no Inception weights at {path}: get them from {WEIGHTS_URL}"
    try:
        import_module("torch_fidelity")
    except ModuleNotFoundError as error:
        return f"Inception needs torch-fidelity ({error}): pip install lehr[inception]"
    except (ImportError, OSError, RuntimeError) as error:  # a torchvision that was built for another torch
        return f"torch-fidelity cannot be imported: {' '.join(str(error).split())}"
    return None


class InceptionFeatures:
    """The 2,048 pooled features of Inception v3, as torchmetrics' FrechetInceptionDistance has them by default.

    Images are rounded to 8 bits and resized to 299x299 with antialiasing; grey ones are shown as RGB.

    Raises:
        ConfigError: if torch-fidelity or the weights are missing, or the weights are damaged.
    """

    name = "inception"
    note = "2048 features of Inception v3"

    def __init__(self, weights: Path | None = None, device: torch.device | str = "cpu") -> None:
        if reason := missing(weights):
            raise ConfigError(f"features: {reason}")
        self._device = device
        self._model = _load(weights or default_weights()).to(device)

    def features(self, images: Tensor) -> Tensor:
        if images.shape[1] not in (1, 3):
            raise DataError(f"features: Inception sees 1 or 3 channels, the images have {images.shape[1]}")
        levels = images.to(self._device).clamp(0, 1).mul(255).round().to(torch.uint8)
        with torch.inference_mode():
            return self._model(levels.expand(-1, 3, -1, -1)).cpu().double()


def _load(path: Path) -> nn.Module:
    from torchmetrics.image.fid import NoTrainInceptionV3

    try:
        # torch-fidelity would run whatever code a file holds: only what is tensors alone is handed on to it
        torch.load(path, map_location="cpu", weights_only=True)
        return NoTrainInceptionV3("inception-v3-compat", [_LAYER], str(path))
    except (OSError, EOFError, RuntimeError, KeyError, ValueError, TypeError, pickle.UnpicklingError) as error:
        reason = in_a_line(error)[:200]
        raise ConfigError(f"features: {path} does not hold the Inception weights ({reason})") from error
