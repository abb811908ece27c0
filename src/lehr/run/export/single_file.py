"""All weights of an autoencoder in one file: in the layout of latent diffusion, tiny ones in that of TAESD."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lehr.errors import ConfigError
from lehr.models.autoencoder import Autoencoder
from lehr.models.first_stage.layouts import diffusers_to_ldm, diffusers_to_taesd
from lehr.models.first_stage.residual import ResidualAutoencoder
from lehr.models.first_stage.tiny import TinyAutoencoder
from lehr.run.diffusers_folder import diffusers_config, said_factors
from lehr.run.factors import Factors
from lehr.run.published import SAID
from lehr.tensors import save_tensors

_TINY = "AutoencoderTiny"


def write_single_file(
    path: Path, model: Autoencoder, factors: Factors | None, also: Mapping[str, Any] | None = None
) -> None:
    """Write the weights, in float32.

    What a config.json of diffusers would say stands in the file too, as text: the groups of the norms, which are in no
    weight, and what the latents are scaled by. Other programs pass over it.

    Raises:
        ConfigError: in a line, if neither latent diffusion nor TAESD has such a model.
    """
    if isinstance(model, TinyAutoencoder):
        rename = diffusers_to_taesd
        try:
            said = diffusers_config(model, factors, also)
        except ConfigError:  # that for FLUX.2 diffusers has not, and all else of it is in the weights
            said = {"_class_name": _TINY, **said_factors(_TINY, factors), **(also or {})}
    elif isinstance(model, ResidualAutoencoder):
        rename = diffusers_to_ldm
        said = diffusers_config(model, factors, also)
    else:
        raise ConfigError(f"{type(model).__name__}: latent diffusion has no such model")
    weights = {name: t.detach().float().cpu().contiguous() for name, t in rename(model.state_dict()).items()}
    save_tensors(path, weights, {SAID: json.dumps(said)})
