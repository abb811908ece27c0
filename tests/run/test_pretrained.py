"""`model.pretrained`: what diffusers, latent diffusion and TAESD write is read; what does not fit is said in a line."""

from __future__ import annotations

from types import SimpleNamespace

import first_stages
import pytest
import torch
from first_stages import TRUNK, write_layouts
from safetensors.torch import save_file

from lehr.errors import ConfigError
from lehr.models import Autoencoder, KLAutoencoder, TinyAutoencoder, VQAutoencoder
from lehr.models.first_stage.layouts import diffusers_to_ldm, ldm_to_diffusers
from lehr.posterior import AggregatePosterior
from lehr.run.diffusers_folder import write_diffusers
from lehr.run.factors import Factors
from lehr.run.pretrained import Pretrained

TARGETS = {KLAutoencoder: TRUNK, VQAutoencoder: TRUNK, TinyAutoencoder: {"base_channels": 8, "blocks": [1, 1]}}


def made(cls: type[Autoencoder] = KLAutoencoder, **values) -> Autoencoder:
    return first_stages.made(cls, **{**TARGETS[cls], **values})


def given(pretrained, cls: type[Autoencoder] = KLAutoencoder, **values) -> Autoencoder:
    """A model with other weights of its own, once it has been given those that a configuration names."""
    said = {**TARGETS[cls], **values, "pretrained": str(pretrained)}
    found = Pretrained.of({"model": {"_target_": f"lehr.models.{cls.__name__}", **said}})
    model = cls((3, 16, 16), **said)
    found.give(SimpleNamespace(model=model), {})
    return model


def same(one: Autoencoder, other: Autoencoder) -> bool:
    weights = other.state_dict()
    return all(torch.equal(tensor, weights[name]) for name, tensor in one.state_dict().items())


def test_weights_are_read_from_every_layout(tmp_path):
    model = made(attention_levels=[1])
    for source in ("", *write_layouts(tmp_path, model)):
        assert same(given(tmp_path / source, attention_levels=[1]), model), source


@pytest.mark.parametrize("levels", [[], [0, 1]])
def test_the_names_of_latent_diffusion_are_those_that_diffusers_turns_into_its_own(levels):
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    weights = made(attention_levels=levels).state_dict()
    ldm = diffusers_to_ldm(weights)
    back = ldm_to_diffusers(ldm)
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in weights.items())
    assert all(tensor.ndim == 4 for name, tensor in ldm.items() if name.endswith(("q.weight", "proj_out.weight")))
    if levels:
        assert {"encoder.down.0.attn.0.norm.weight", "decoder.up.1.attn.1.proj_out.bias"} <= ldm.keys()
    else:  # diffusers passes over attention in levels
        theirs = convert_ldm_vae_checkpoint(ldm, {"down_block_types": [0, 1], "up_block_types": [0, 1]})
        assert theirs.keys() == weights.keys()
        assert all(torch.equal(theirs[name], tensor) for name, tensor in weights.items())


def test_the_two_files_of_taesd_are_read(tmp_path):
    model = made(TinyAutoencoder, global_branch=True)
    for part, shift in (("encoder", 0), ("decoder", 1)):
        found = getattr(model, part).layers.state_dict().items()
        half = {f"{int(name.partition('.')[0]) + shift}.{name.partition('.')[2]}": t for name, t in found}
        torch.save(half, tmp_path / f"taesd_{part}.pth")
    assert same(given(tmp_path, TinyAutoencoder, global_branch=True), model)


def test_codebooks_are_read(tmp_path):
    model = made(VQAutoencoder, codebook_size=16)
    torch.save({"state_dict": diffusers_to_ldm(model.state_dict())}, tmp_path / "vq.ckpt")
    assert same(given(tmp_path / "vq.ckpt", VQAutoencoder, codebook_size=16), model)


def test_a_posterior_without_variances_keeps_its_own_in_the_weights(tmp_path):
    save_file(made().state_dict(), tmp_path / "kl.safetensors")
    model = given(tmp_path / "kl.safetensors", posterior="fixed", std=0.5)
    assert model._encoded(torch.rand(1, 3, 16, 16))[:, 4:].exp().unique().item() == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"latent_channels": 16}, "the weights have 4 latent channels; model.latent_channels=16"),
        ({"base_channels": 16}, "the weights have 8 channels at first; model.base_channels=16"),
        ({"quant_conv": False}, "the weights have 1x1 convolutions; say model.quant_conv=true"),
        ({"fourier_features": 1}, "the weights take 3 channels, and the encoder is given 9"),
        ({"layers": 2}, "has no decoder.up_blocks.0.resnets.2.conv1.bias and 31 more; choose the model that it is of"),
        ({"channel_multipliers": [1, 3]}, ", and in this model (24, 8, 3, 3); choose the model that it is of"),
    ],
)
def test_weights_of_another_model_are_refused_in_a_line(tmp_path, values, problem):
    save_file(made().state_dict(), tmp_path / "kl.safetensors")
    with pytest.raises(ConfigError) as raised:
        given(tmp_path / "kl.safetensors", **values)
    assert problem in str(raised.value)
    assert "\n" not in str(raised.value)


def test_weights_of_another_kind_of_network_are_not_said_to_lack_a_value(tmp_path):
    save_file(made(TinyAutoencoder).state_dict(), tmp_path / "t.safetensors")
    with pytest.raises(ConfigError, match=r"has no decoder\.conv_in\.bias and .* choose the model that it is of"):
        given(tmp_path / "t.safetensors")


def test_what_holds_no_weights_is_refused_in_a_line(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "broken.ckpt").write_bytes(b"PK\x03\x04 no")
    (tmp_path / "pickle.pth").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    (tmp_path / "empty").mkdir()
    problems = {
        "nowhere": "there is no such file or folder",
        "other.safetensors": "holds no autoencoder of a known layout (diffusers, latent diffusion, TAESD): a ...",
        "broken.ckpt": "cannot be read",
        "pickle.pth": "holds more than tensors, or is damaged; save it as .safetensors",
        "empty": "has no diffusion_pytorch_model.safetensors, no model/model.safetensors and no files of",
    }
    for name, problem in problems.items():
        with pytest.raises(ConfigError) as raised:
            given(tmp_path / name)
        assert problem in str(raised.value), name
        assert "\n" not in str(raised.value)


def test_a_hub_that_cannot_be_reached_is_said_with_what_to_do(monkeypatch):
    def unreachable(*_):
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable)
    with pytest.raises(
        ConfigError, match=r"a/b: there is no such folder here, and the hub cannot be reached \(OSError\)"
    ):
        given("a/b")


def test_the_published_weights_of_taef2_are_read_as_they_are(data_root):
    from lehr.run.published import read_published

    weights = read_published(str(data_root / "taef2")).weights
    with torch.device("meta"):
        model = TinyAutoencoder((3, 256, 256), latent_channels=32, global_branch=True)
    assert {n: t.shape for n, t in weights.items()} == {n: t.shape for n, t in model.state_dict().items()}


@pytest.mark.parametrize(("cls", "name"), [(KLAutoencoder, "KL"), (VQAutoencoder, "VQ"), (TinyAutoencoder, "Tiny")])
def test_a_folder_of_diffusers_is_read_and_written_as_it_was(tmp_path, cls, name):
    import diffusers

    theirs = getattr(diffusers, {"KL": "AutoencoderKL", "VQ": "VQModel", "Tiny": "AutoencoderTiny"}[name])
    model = made(cls, **({"attention_levels": [1]} if cls is KLAutoencoder else {}))
    write_diffusers(tmp_path / "one", model)
    loaded = theirs.from_pretrained(tmp_path / "one")
    assert same(model, loaded)
    loaded.save_pretrained(tmp_path / "two")
    values = {"attention_levels": [1]} if cls is KLAutoencoder else {}
    again = given(tmp_path / "two", cls, **values)
    assert same(again, model)
    write_diffusers(tmp_path / "three", again)
    three = theirs.from_pretrained(tmp_path / "three")
    of_files = {"_name_or_path": "", "_diffusers_version": ""}
    assert {**three.config, **of_files} == {**loaded.config, **of_files}
    assert same(three, loaded)


def test_the_folder_has_the_factors_of_the_latents(tmp_path):
    from diffusers import AutoencoderKL

    model = made()
    with torch.no_grad():
        statistics = AggregatePosterior.of(model.encode(torch.rand(8, 3, 16, 16)))
    write_diffusers(tmp_path, model, Factors.measured(statistics))
    config = AutoencoderKL.from_pretrained(tmp_path).config
    assert config["scaling_factor"] == pytest.approx(statistics.scaling_factor)
    assert config["shift_factor"] == pytest.approx(statistics.shift_factor)
    assert config["latents_mean"] == pytest.approx(statistics.channels.mean.tolist())
    assert config["latents_std"] == pytest.approx(statistics.channels.var.sqrt().tolist())
    with pytest.raises(ConfigError, match=r"model.fourier_features=1: diffusers has no such encoder"):
        write_diffusers(tmp_path, made(fourier_features=1))
