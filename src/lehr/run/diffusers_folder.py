"""A trained autoencoder as a folder that `diffusers` loads: AutoencoderKL.from_pretrained(FOLDER)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from lehr.errors import ConfigError
from lehr.files import write_json
from lehr.models.autoencoder import Autoencoder
from lehr.models.first_stage.base import FirstStage
from lehr.posterior.aggregate import AggregatePosterior
from lehr.tensors import write_tensors

WEIGHTS = "diffusion_pytorch_model.safetensors"
CONFIG = "config.json"


def write_diffusers(folder: Path, model: Autoencoder, statistics: AggregatePosterior | None = None) -> None:
    """Write config.json and the weights into `folder`, which is made if it is not there.

    Args:
        folder: where they go; files of these names in it are replaced.
        model: a first-stage model.
        statistics: of its latents, which give `scaling_factor` and `shift_factor`; without them diffusers has its own.

    Raises:
        ConfigError: in a line, if diffusers has no such model.
    """
    if not isinstance(model, FirstStage):
        raise ConfigError(f"{type(model).__name__}: diffusers has no such model")
    try:
        config: dict[str, Any] = model.diffusers_config()
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if statistics is not None and config["_class_name"] == "AutoencoderKL" and math.isfinite(statistics.scaling_factor):
        config |= {"scaling_factor": statistics.scaling_factor, "shift_factor": statistics.shift_factor}
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / WEIGHTS, {name: tensor.float() for name, tensor in model.state_dict().items()}, None)
    write_json(folder / CONFIG, config)
