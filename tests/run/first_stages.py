"""Small first-stage models, and their weights in the layouts in which such are published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from lehr.models import Autoencoder
from lehr.models.first_stage.layouts import diffusers_to_ldm

TRUNK: Mapping[str, Any] = {"base_channels": 8, "channel_multipliers": [1, 2], "layers": 1, "norm_groups": 4}


def made(cls: type[Autoencoder], **values: Any) -> Autoencoder:
    """A model of images of 3 x 16 x 16, always with the same weights."""
    torch.manual_seed(0)
    return cls((3, 16, 16), **values).eval()


def write_layouts(folder: Path, model: Autoencoder) -> list[str]:
    """Write the weights of a model into a folder in every layout; the names of the files, "vae" of a pipeline's."""
    weights = model.state_dict()
    ldm = diffusers_to_ldm(weights)
    whole = {f"first_stage_model.{name}": tensor for name, tensor in ldm.items()}
    (folder / "vae").mkdir()
    save_file(weights, folder / "vae" / "diffusion_pytorch_model.safetensors")
    save_file(_old_names(weights), folder / "old.safetensors")
    torch.save({"state_dict": {**ldm, "loss.logvar": torch.zeros(())}, "global_step": 3}, folder / "ldm.ckpt")
    save_file({**whole, "model.diffusion_model.x": torch.zeros(1)}, folder / "whole.safetensors")
    torch.save({"state_dict": {f"model.{name}": t for name, t in weights.items()}}, folder / "lehr.ckpt")
    return ["vae", "old.safetensors", "ldm.ckpt", "whole.safetensors", "lehr.ckpt"]


def _old_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of diffusers before 0.15, as Stable Diffusion's folder still has them."""
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for new, old in names.items():
        weights = {name.replace(f"attentions.0.{new}.", f"attentions.0.{old}."): t for name, t in weights.items()}
    return weights
