"""Trainings of a second or two, from data to samples, of models with latent maps and with codes."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from lehr.models import KLAutoencoder
from lehr.run.load import load

TINY = (
    "data=digits", "likelihood=laplace", "likelihood.scale=0.5", "kl=constant", "trainer.max_epochs=null",
    "trainer.max_steps=3", "trainer.limit_examples=40", "data.batch_size=10", "logger=none", "model.base_channels=8",
)  # fmt: skip
TRUNK = ("model.channel_multipliers=[1,2]", "model.layers=1", "model.norm_groups=4")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("model=kl_f8_small", *TRUNK, "trainer.precision=bf16-mixed"),
        ("model=kl_f8_small", *TRUNK, "model.posterior=fixed", "model.fourier_features=1"),
        ("model=vq_f16_small", *TRUNK, "model.attention_levels=[1]", "model.codebook_size=16"),
        ("model=tiny_small", "model.blocks=[1,1]"),
    ],
    ids=["bf16", "fixed", "codes", "point"],
)
def test_a_training_ends_in_a_model_that_is_loaded_evaluated_and_sampled(lehr, tmp_path, words):
    run_dir = tmp_path / "run"
    code, _, err = lehr("train", f"dir={run_dir}", *TINY, *words)
    assert code == 0, err
    assert "latent" not in err  # no complaint of a map
    run = load(run_dir)
    x = torch.rand(2, 1, 8, 8)
    q = run.encode(x)
    assert q.latent_shape == run.model.latent_shape
    assert q.mean.dtype == torch.float32
    assert run.decode(q.mean).shape == x.shape
    assert run.decode(run.encode(torch.rand(1, 1, 12, 20)).mean).shape == (1, 1, 12, 20)
    assert json.loads((run_dir / "metrics.json").read_text())["test/distortion"] > 0
    assert lehr("evaluate", f"run={run_dir}", "level=quick")[0] == 0
    for method in ("aggregate", "prior", "interpolate"):
        assert lehr("sample", f"run={run_dir}", f"method={method}", f"out={tmp_path / method}.png", "n=4")[0] == 0


@pytest.mark.slow
def test_a_training_begins_with_the_weights_that_it_is_given_and_ends_without_their_file(lehr, tmp_path):
    torch.manual_seed(3)
    weights = tmp_path / "kl.safetensors"
    model = KLAutoencoder((1, 8, 8), base_channels=8, channel_multipliers=(1, 2), layers=1, norm_groups=4)
    save_file(model.state_dict(), weights)
    words = ("model=kl_f8_small", *TRUNK, f"model.pretrained={weights}", "optimizer.lr=1e-30")
    assert lehr("train", f"dir={tmp_path / 'run'}", *TINY, *words)[0] == 0
    weights.unlink()
    trained = load(tmp_path / "run").model.state_dict()
    torch.testing.assert_close(dict(trained), dict(model.state_dict()), atol=1e-20, rtol=0)
    code, _, err = lehr("train", f"dir={tmp_path / 'other'}", *TINY, *words)
    assert code == 2, err
    assert f"model.pretrained={weights}: there is no such file or folder" in err
