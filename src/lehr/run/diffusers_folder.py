"""A trained autoencoder as a folder that `diffusers` loads: AutoencoderKL.from_pretrained(FOLDER)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from lehr.errors import ConfigError
from lehr.files import write_json
from lehr.models.autoencoder import Autoencoder
from lehr.models.first_stage.base import FirstStage
from lehr.objective.likelihood import Likelihood
from lehr.run.factors import Factors
from lehr.run.published import CONFIG, DIFFUSERS
from lehr.tensors import write_tensors

_FACTORS = {
    "AutoencoderKL": ("scaling_factor", "shift_factor", "latents_mean", "latents_std"),
    "AutoencoderTiny": ("scaling_factor", "shift_factor"),
    "VQModel": ("scaling_factor",),
}
"""Which of the factors each class has in its configuration."""
UPCAST = "force_upcast"
"""Under which config.json says whether a pipeline in float16 has to compute the autoencoder in float32."""
_GREY, _OFF = 0.5, 0.01
"""What is decoded to a pixel of middle grey where the decoder gives pixels; logits of 0.5 are 0.04 or more brighter."""


def require_pixels(likelihood: Likelihood, what: str) -> None:
    """Check that a decoder gives pixels, which layouts of weights alone take for granted.

    Args:
        likelihood: what the decoder's output means.
        what: is to be written.

    Raises:
        ConfigError: in a line, if it gives something else, such as logits.
    """
    grey = torch.tensor(_GREY)
    if abs(float(likelihood.mean(grey).detach()) - _GREY) > _OFF:
        raise ConfigError(
            f"{what}: {type(likelihood).__name__} takes what the decoder gives for logits, and others for pixels; "
            "train with likelihood=laplace or gaussian. format=onnx and format=torch_export write the pixels"
        )


def carried(said: Mapping[str, Any]) -> dict[str, Any]:
    """What a config.json says to pipelines, and is neither of the network nor of its latents: it goes with weights."""
    return {key: said[key] for key in (UPCAST,) if isinstance(said.get(key), bool)}


def diffusers_config(
    model: Autoencoder, factors: Factors | None, also: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """config.json of the class of diffusers that has the same weights.

    Args:
        model: a first-stage model.
        factors: of its latents; what it has not, diffusers has its own for.
        also: what is `carried`.

    Raises:
        ConfigError: in a line, if diffusers has no such model.
    """
    if not isinstance(model, FirstStage):
        raise ConfigError(f"{type(model).__name__}: diffusers has no such model")
    try:
        config: dict[str, Any] = model.diffusers_config()
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return config | said_factors(config["_class_name"], factors) | dict(also or {})


def said_factors(name: str, factors: Factors | None) -> dict[str, Any]:
    """What config.json of the class of this name says of the factors."""
    known = {key: value for key, value in asdict(factors).items() if value != ()} if factors else {}
    return {key: known[key] for key in _FACTORS[name] if key in known}


def write_diffusers(
    folder: Path, model: Autoencoder, factors: Factors | None = None, also: Mapping[str, Any] | None = None
) -> None:
    """Write config.json and the weights into `folder`, which is made if it is not there.

    Args:
        folder: where they go; files of these names in it are replaced.
        model: a first-stage model.
        factors, also: what its latents are scaled by, and more, see `diffusers_config`.

    Raises:
        ConfigError: in a line, if diffusers has no such model.
    """
    config = diffusers_config(model, factors, also)
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / DIFFUSERS[0], {name: tensor.float() for name, tensor in model.state_dict().items()}, None)
    write_json(folder / CONFIG, config)
