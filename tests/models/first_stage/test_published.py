"""The configurations are those that were published: as many parameters, under diffusers' names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from lehr.config.build import build
from lehr.config.registry import conf_dir
from lehr.models import Autoencoder

PARAMETERS = {
    "kl_f4": 55_312_063, "kl_f8": 83_653_863, "sdxl": 83_653_863, "sd3": 83_819_683, "flux": 83_819_683,
    "tiny": 1_222_532 + 1_222_531, "tiny_flux2": 1_338_528 + 1_338_499,
}  # fmt: skip


def values(name: str) -> dict[str, Any]:
    """Of a file in conf/model and of those that it begins with."""
    found = yaml.safe_load((Path(conf_dir()) / "model" / f"{name}.yaml").read_text())
    base = next((one for one in found.pop("defaults", []) if one != "_self_"), None)
    return (values(base) if base else {}) | found


def shaped(name: str, size: int = 256) -> Autoencoder:
    with torch.device("meta"):
        return build(values(name), Autoencoder, key="model", image_shape=(3, size, size))


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", PARAMETERS)
def test_models_have_as_many_parameters_as_published(name):
    assert count(shaped(name)) == PARAMETERS[name]


def test_the_parts_have_as_many_parameters_as_published():
    f8, without = shaped("kl_f8"), {**values("kl_f8"), "mid_attention": False}
    assert (count(f8.encoder), count(f8.decoder)) == (34_163_592, 49_490_179)
    with torch.device("meta"):
        assert count(build(without, Autoencoder, key="model", image_shape=(3, 8, 8))) == 81_550_567
    tiny, flux2 = shaped("tiny"), shaped("tiny_flux2")
    assert (count(tiny.encoder), count(tiny.decoder)) == (1_222_532, 1_222_531)
    assert (count(flux2.encoder), count(flux2.decoder)) == (1_338_528, 1_338_499)


@pytest.mark.parametrize(
    ("name", "latents", "attention"),
    [
        ("kl_f16", (16, 16, 16), (4,)),
        ("kl_f32", (64, 8, 8), (4, 5)),
        ("vq_f8", (4, 32, 32), (3,)),
        ("vq_f16", (256, 16, 16), (4,)),
    ],
)
def test_models_with_attention_in_their_levels_are_diffusers_by_name_and_shape(name, latents, attention):
    from diffusers import AutoencoderKL, VQModel

    said, model = values(name), shaped(name)
    assert model.latent_shape == latents
    levels = range(len(said["channel_multipliers"]))
    blocks = ["Attn" if level in attention else "" for level in levels]
    others: dict[str, Any] = {"num_vq_embeddings": said.get("codebook_size")} if name.startswith("vq") else {}
    with torch.device("meta"):
        theirs = (VQModel if name.startswith("vq") else AutoencoderKL)(
            down_block_types=[f"{block}DownEncoderBlock2D" for block in blocks],
            up_block_types=[f"{block}UpDecoderBlock2D" for block in reversed(blocks)],
            block_out_channels=[128 * m for m in said["channel_multipliers"]],
            layers_per_block=2,
            latent_channels=latents[0],
            **others,
        )
    ours = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    assert ours == {key: tuple(tensor.shape) for key, tensor in theirs.state_dict().items()}


def test_where_diffusers_is_not_installed_the_extra_is_named(lehr, monkeypatch):
    monkeypatch.setattr("lehr.training.preflight._is_installed", lambda package: package != "diffusers")
    code, _, err = lehr("train", "model=sdxl", "dir=x")
    assert code == 2
    assert "model: needs diffusers, not installed here; pip install 'lehr[images]'" in err
