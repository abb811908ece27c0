"""The recipes of first-stage autoencoders: what is written of them is there, and the small ones train."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).parents[1]
SMALL = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*_small.yaml"))
FEW = ("trainer.limit_examples=16", "trainer.max_epochs=null", "trainer.max_steps=2", "data.eval_batch_size=16",
       "data.batch_size=4", "callbacks.samples=null")  # fmt: skip


def test_each_test_that_the_document_names_is_there():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "first_stage.md").read_text())
    assert len(named) > 15
    assert [f"{file}::{test}" for file, test in named if f"def {test}(" not in (ROOT / file).read_text()] == []


def test_each_recipe_has_a_line_in_the_document_and_a_small_form():
    text = (ROOT / "docs" / "first_stage.md").read_text()
    for name in SMALL:
        full = name.removesuffix("_small")
        assert f"| `{full}` |" in text
        assert (ROOT / "conf" / "experiment" / f"{full}.yaml").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SMALL if not name.startswith(("decoder_", "fp16_"))])
def test_a_small_recipe_trains_all_that_it_has(lehr, tmp_path, data_root, name):
    """Two steps, with the discriminator from the first one on."""
    run = tmp_path / "run"
    code, _, err = lehr("train", f"experiment={name}", f"dir={run}", *FEW, "terms.adversarial.start=0")
    assert code == 0, err
    history = (run / "history.jsonl").read_text()
    assert "train/discriminator" in history
    assert "val/psnr" in history
    assert all(tensor.isfinite().all() for tensor in load_file(run / "model" / "model.safetensors").values())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["decoder_ema_small", "decoder_mse_small"])
def test_a_decoder_that_is_trained_on_leaves_its_encoder_as_it_was(lehr, tmp_path, data_root, name):
    """Bit for bit, with an average of the weights; the average is what is exported."""
    run = tmp_path / "run"
    code, _, err = lehr("train", f"experiment={name}", f"dir={run}", *FEW)
    assert code == 0, err
    before, after = (load_file(path / "model" / "model.safetensors") for path in (run / "stages" / "whole", run))
    moved = {n.split(".")[1] for n in after if n.startswith("model.") and not torch.equal(before[n], after[n])}
    assert moved == {"decoder", "post_quant_conv"}
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert torch.equal(last["ema"]["model.decoder.conv_out.weight"], after["model.decoder.conv_out.weight"])
    assert not torch.equal(last["state_dict"]["model.decoder.conv_out.weight"], after["model.decoder.conv_out.weight"])
    assert not any("discriminator" in name for name in last["ema"])
