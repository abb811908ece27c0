"""A run that overflows in float16 is made to fit: rescaled before the first step, trained on, and its images stay."""

from __future__ import annotations

import shutil

import pytest
import torch

from lehr import load
from lehr.evaluation.half import measure_half
from lehr.evaluation.reconstruction import mse, psnr
from lehr.run.directory import RunDirectory
from lehr.run.model_files import WEIGHTS
from lehr.tensors import model_id, read_tensors, write_tensors

MODEL = ("model=kl_f8_small", "model.base_channels=8", "model.norm_groups=4", "model.channel_multipliers=[1,2]",
         "model.fit=pad", "likelihood=laplace", "likelihood.scale=0.5")  # fmt: skip
SHORT = (*MODEL, "data=digits", "trainer.max_epochs=null", "trainer.max_steps=2", "trainer.limit_examples=64",
         "data.batch_size=8", "callbacks.samples=null", "callbacks.aggregate=null",
         "evaluate=none", "kl=constant", "kl.weight=0")  # fmt: skip


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory):
    """A run whose last level adds numbers to the residual stream that float16 has not."""
    from lehr.cli.main import main

    path = tmp_path_factory.mktemp("fp16") / "run"
    assert main(["train", f"dir={path}", *SHORT]) == 0
    planted = shutil.copytree(path, path.with_name("planted"))
    file = RunDirectory(planted).model / WEIGHTS
    weights, _ = read_tensors(file)
    for name in weights:
        if name.startswith("model.decoder.up_blocks.1.resnets.") and ".conv2." in name:
            weights[name] = 1e6 * weights[name]
    write_tensors(file, weights, model_id(weights))
    return planted


@pytest.mark.slow
def test_the_recipe_makes_a_run_fit_and_keeps_its_images(overflowing, lehr, tmp_path):
    fixed = tmp_path / "fixed"
    words = [f"start_from={overflowing}", f"terms.teacher.run={overflowing}", "fit_half=true",
             "terms=[activation_limit,teacher]", "terms.teacher.weight=1000", "optimizer.lr=1e-6"]  # fmt: skip
    code, _, err = lehr("train", f"dir={fixed}", *SHORT, *words)
    assert code == 0, err
    assert "rescaled from decoder.up_blocks.1.resnets.0.conv_shortcut by 2^-" in err
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    before, after = load(overflowing), load(fixed)
    assert measure_half(before.model, [x]).broken_share > 0
    found = measure_half(after.model, [x])
    assert (found.broken_share, found.first_over) == (0, None)
    assert found.headroom > 2
    same = psnr(mse(before.decode(before.encode(x).mean), after.decode(after.encode(x).mean)))
    assert same.min() > 60
    assert "train/activation_largest" in (fixed / "history.jsonl").read_text()


def test_what_cannot_be_rescaled_is_said_in_a_line(lehr, tmp_path, finished_run):
    code, _, err = lehr("train", f"dir={tmp_path / 'run'}", "fit_half=true")
    assert code == 2
    assert "fit_half=true: is for weights that there are; say start_from=RUN or model.pretrained=FILE" in err
    words = [f"start_from={finished_run}", "fit_half=true", "model.hidden=[32]", "trainer.max_epochs=1",
             "kl.hold=0", "kl.warmup=0"]  # fmt: skip
    code, _, err = lehr("train", f"dir={tmp_path / 'run'}", *words)
    assert code != 0
    assert "fit_half=true: model: MLP has no residual stream" in err
