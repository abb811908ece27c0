"""A trained autoencoder as a folder that `diffusers` loads: AutoencoderKL.from_pretrained(FOLDER)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from lehr.errors import ConfigError
from lehr.files import write_json
from lehr.models.autoencoder import Autoencoder
from lehr.models.first_stage.base import FirstStage
from lehr.run.factors import Factors
from lehr.run.published import CONFIG, DIFFUSERS
from lehr.tensors import write_tensors

_FACTORS = {
    "AutoencoderKL": ("scaling_factor", "shift_factor", "latents_mean", "latents_std"),
    "AutoencoderTiny": ("scaling_factor", "shift_factor"),
    "VQModel": ("scaling_factor",),
}
"""Which of the factors each class has in its configuration."""


def diffusers_config(model: Autoencoder, factors: Factors | None) -> dict[str, Any]:
    """config.json of the class of diffusers that has the same weights.

    Args:
        model: a first-stage model.
        factors: of its latents; what it has not, diffusers has its own for.

    Raises:
        ConfigError: in a line, if diffusers has no such model.
    """
    if not isinstance(model, FirstStage):
        raise ConfigError(f"{type(model).__name__}: diffusers has no such model")
    try:
        config: dict[str, Any] = model.diffusers_config()
    except ValueError as error:
        raise ConfigError(str(error)) from error
    known = {name: value for name, value in asdict(factors).items() if value != ()} if factors else {}
    return config | {name: known[name] for name in _FACTORS[config["_class_name"]] if name in known}


def write_diffusers(folder: Path, model: Autoencoder, factors: Factors | None = None) -> None:
    """Write config.json and the weights into `folder`, which is made if it is not there.

    Args:
        folder: where they go; files of these names in it are replaced.
        model: a first-stage model.
        factors: what its latents are scaled by, see `diffusers_config`.

    Raises:
        ConfigError: in a line, if diffusers has no such model.
    """
    config = diffusers_config(model, factors)
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / DIFFUSERS[0], {name: tensor.float() for name, tensor in model.state_dict().items()}, None)
    write_json(folder / CONFIG, config)
