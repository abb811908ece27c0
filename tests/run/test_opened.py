"""Autoencoders from wherever they lie: the model is worked out from its weights, and gives the same numbers."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from first_stages import TRUNK, made, write_layouts
from safetensors.torch import save_file

from lehr.config.command import choice_of, choices
from lehr.errors import CheckpointError
from lehr.models import Autoencoder, KLAutoencoder, TinyAutoencoder, VQAutoencoder
from lehr.models.first_stage.recognise import recognised, shapes_of
from lehr.run.diffusers_folder import write_diffusers
from lehr.run.load import Run
from lehr.run.model_files import build_model
from lehr.run.opened import open_autoencoder

MODELS: list[tuple[type[Autoencoder], dict[str, Any]]] = [
    (KLAutoencoder, {**TRUNK, "attention_levels": [1], "quant_conv": False, "latent_channels": 3}),
    (KLAutoencoder, {**TRUNK, "mid_attention": False, "layers": 2}),
    (VQAutoencoder, {**TRUNK, "codebook_size": 16, "latent_channels": 6}),
    (TinyAutoencoder, {"base_channels": 8, "blocks": [1, 2, 0], "latent_channels": 5}),
]


@torch.no_grad()
def require_same(one: Autoencoder, other: Autoencoder) -> None:
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(one.encode(x).mean, other.encode(x).mean, rtol=0, atol=1e-6)
    z = one.encode(x).mean
    torch.testing.assert_close(one.decode(z), other.decode(z), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("cls", "values"), MODELS)
def test_a_folder_of_diffusers_is_the_model_that_it_was_written_of(tmp_path, cls, values):
    model = made(cls, **values)
    write_diffusers(tmp_path / "vae", model)
    opened = open_autoencoder(tmp_path)  # as of a pipeline
    require_same(opened.model, model)
    assert {key: opened.config["model"][key] for key in values} == values
    assert opened.model.image_shape == ((3, 16, 16) if cls is not TinyAutoencoder else (3, 256, 256))
    assert opened.statistics is None


def test_weights_in_every_layout_are_the_model_that_they_were_written_of(tmp_path):
    model = made(KLAutoencoder, base_channels=32, channel_multipliers=[1, 1], layers=1)
    for source in write_layouts(tmp_path, model):
        opened = open_autoencoder(str(tmp_path / source))
        require_same(opened.model, model)
        assert opened.model.image_shape == (3, 256, 256), source


@pytest.mark.parametrize(
    "name", ["kl_f4", "kl_f8", "kl_f16", "kl_f32", "sd3", "vq_f8", "vq_f16", "tiny", "tiny_flux2", "kl_f16_small"]
)
def test_the_published_models_are_known_by_their_shapes(name):
    with torch.device("meta"):
        model = build_model({"model": choices("model")[name]}, (3, 256, 256))
    said = {"norm_num_groups": 8} if name.endswith("_small") else {}
    assert choice_of("model", recognised(shapes_of(model.state_dict()), said)) == name


def test_a_run_directory_is_its_run(finished_run):
    opened = open_autoencoder(finished_run)
    assert isinstance(opened, Run)
    assert opened.factors.scaling_factor == opened.statistics.scaling_factor


def test_what_the_folder_says_of_its_latents_is_kept(tmp_path):
    write_diffusers(tmp_path, made(MODELS[0][0], **MODELS[0][1]))
    config = json.loads((tmp_path / "config.json").read_text())
    said = {"scaling_factor": 0.3611, "shift_factor": 0.1159, "latents_mean": [0.1, 0.2, 0.3]}
    (tmp_path / "config.json").write_text(json.dumps({**config, **said}))
    opened = open_autoencoder(tmp_path)
    assert (opened.factors.scaling_factor, opened.factors.shift_factor) == (0.3611, 0.1159)
    assert (opened.factors.latents_mean, opened.factors.latents_std) == ((0.1, 0.2, 0.3), ())
    assert opened.convention == ((0.3611,), (0.1159,))


def test_a_published_mean_and_deviation_of_each_channel_are_applied_before_the_scaling_factor(tmp_path):
    """As by diffusers' StableDiffusionXLPipeline: latents * latents_std / scaling_factor + latents_mean are decoded."""
    write_diffusers(tmp_path, made(MODELS[0][0], **MODELS[0][1]))
    config = json.loads((tmp_path / "config.json").read_text())
    of_channels = {"latents_mean": [-1.5, 2.0, 0.25], "latents_std": [8.0, 4.0, 5.0]}
    (tmp_path / "config.json").write_text(json.dumps({**config, "scaling_factor": 0.5, **of_channels}))
    assert open_autoencoder(tmp_path).convention == ((0.0625, 0.125, 0.1), (-1.5, 2.0, 0.25))
    of_channels = {name: values[:2] for name, values in of_channels.items()}
    (tmp_path / "config.json").write_text(json.dumps({**config, "scaling_factor": 0.5, **of_channels}))
    assert open_autoencoder(tmp_path).convention is None  # it is of three channels


def test_what_was_measured_is_scaled_by_two_factors_though_channels_are_known(finished_run):
    run = open_autoencoder(finished_run)
    assert run.convention == ((run.factors.scaling_factor,), (run.factors.shift_factor,))
    assert len(run.factors.latents_std) > 1


def test_what_is_no_autoencoder_is_said_in_a_line(tmp_path):
    write_diffusers(tmp_path / "other", made(MODELS[0][0], **MODELS[0][1]))
    config = json.loads((tmp_path / "other" / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(json.dumps({**config, "_class_name": "AutoencoderDC"}))
    write_diffusers(tmp_path / "act", made(MODELS[0][0], **MODELS[0][1]))
    (tmp_path / "act" / "config.json").write_text(json.dumps({**config, "act_fn": "gelu"}))
    weights = made(MODELS[1][0], **MODELS[1][1]).state_dict()
    save_file(weights, tmp_path / "groups.safetensors")
    wide = made(KLAutoencoder, base_channels=32, channel_multipliers=[1, 1], layers=1).state_dict()
    nan = {**wide, "decoder.conv_in.bias": wide["decoder.conv_in.bias"] * torch.nan}
    save_file(nan, tmp_path / "nan.safetensors")
    save_file({n: t for n, t in wide.items() if "mid_block.resnets.1" not in n}, tmp_path / "less.safetensors")
    save_file({n: t for n, t in wide.items() if n != "decoder.conv_in.weight"}, tmp_path / "half.safetensors")
    (tmp_path / "empty").mkdir()
    problems = {
        "nowhere": "is no run directory and no autoencoder: there is no such file or folder",
        "empty": "is no run directory and no autoencoder: has no diffusion_pytorch_model.safetensors",
        "other": "is diffusers' AutoencoderDC; lehr has AutoencoderKL, AutoencoderTiny, VQModel",
        "act": "config.json says act_fn=gelu; lehr has act_fn=silu alone",
        "groups.safetensors": "a config.json of diffusers beside it has to say norm_num_groups",
        "nan.safetensors": "decoder.conv_in.bias has values that are no numbers",
        "less.safetensors": "is none of lehr's autoencoders: has no decoder.mid_block.resnets.1.conv1.bias and 15 more",
        "half.safetensors": "is no whole autoencoder: it has no decoder.conv_in.weight",
    }
    for name, problem in problems.items():
        with pytest.raises(CheckpointError) as raised:
            open_autoencoder(tmp_path / name)
        assert str(raised.value).startswith(f"{tmp_path / name}: "), name
        assert problem in str(raised.value), name
        assert "\n" not in str(raised.value)
