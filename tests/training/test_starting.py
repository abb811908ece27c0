"""A run that begins with the weights of another."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lehr.models import KLAutoencoder, TinyAutoencoder
from lehr.objective import Bernoulli, StandardNormalPrior
from lehr.run.directory import RunDirectory
from lehr.run.model_files import WEIGHTS
from lehr.run.status import Status
from lehr.training.beginning import _differences
from lehr.training.module import VAEModule
from lehr.training.starting import Start, started_from

SMALL = ("kl=constant", "model.hidden=[32]", "trainer.max_epochs=null", "trainer.max_steps=1", "evaluate=none",
         "callbacks.samples=null", "callbacks.aggregate=null", "logger=none")  # fmt: skip


@pytest.fixture
def at_first(monkeypatch):
    """The weights that runs begin with, in turn, as they are when the first step is taken."""
    found = []
    start = VAEModule.on_fit_start

    def watched(module):
        found.append({name: t.clone() for name, t in module.state_dict().items()})
        start(module)

    monkeypatch.setattr(VAEModule, "on_fit_start", watched)
    return found


def test_a_run_begins_with_the_weights_that_another_has_ended_in(lehr, finished_run, tmp_path, at_first):
    run = tmp_path / "run"
    code, _, err = lehr("train", f"dir={run}", f"start_from={finished_run}", "likelihood=gaussian", *SMALL)
    assert code == 0, err
    before = load_file(finished_run / "model" / WEIGHTS)
    begun = {name: t for name, t in at_first[0].items() if name.startswith("model.")}
    assert begun.keys() == {name for name in before if name.startswith("model.")}
    assert all(torch.equal(t, before[name]) for name, t in begun.items())
    of = json.loads((finished_run / "status.json").read_text())["model"]
    assert json.loads((run / "status.json").read_text())["started_from"] == {"run": str(finished_run), "model": of}


def test_what_a_likelihood_has_learnt_goes_on_and_what_was_configured_counts(lehr, tmp_path, at_first):
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    gaussian = (*SMALL, "likelihood=gaussian", "optimizer.lr=0.1")
    assert lehr("train", f"dir={first}", "likelihood.scale=learned", *gaussian)[0] == 0
    learnt = load_file(first / "model" / WEIGHTS)["likelihood.log_scale"]
    assert lehr("train", f"dir={second}", f"start_from={first}", "likelihood.scale=learned", *gaussian)[0] == 0
    assert lehr("train", f"dir={third}", f"start_from={first}", "likelihood.scale=0.5", *gaussian)[0] == 0
    begun, fixed = (weights["likelihood.log_scale"] for weights in at_first[1:])
    assert torch.equal(begun, learnt)
    assert learnt != at_first[0]["likelihood.log_scale"]
    assert fixed.exp() == pytest.approx(0.5)


def test_weights_of_another_shape_are_refused_in_a_line(lehr, finished_run, tmp_path):
    code, _, err = lehr("train", f"dir={tmp_path / 'run'}", f"start_from={finished_run}", *SMALL, "model.hidden=[16]")
    (line,) = [line for line in err.splitlines() if "start_from" in line]
    assert code == 1
    assert "is of another model: encoder." in line
    assert "is (32, 64) there, (16, 64) here; and " in line


def test_what_cannot_be_started_from_is_said_before_anything_begins(lehr, finished_run, tmp_path):
    unfinished, run = tmp_path / "unfinished", tmp_path / "run"
    shutil.copytree(finished_run, unfinished, ignore=shutil.ignore_patterns("model"))
    for start, said in ((tmp_path / "nowhere", "there is no such directory"), (unfinished, "has no model/")):
        code, _, err = lehr("train", f"dir={run}", f"start_from={start}", *SMALL)
        assert code == 2
        assert f"start_from={start}: {said}" in err
    code, _, err = lehr("train", "-m", f"start_from={start}", *SMALL, "seed=0,1")
    assert code == 2
    assert f"start_from={start}: {said}" in err
    assert not run.exists()


def test_a_run_that_is_gone_on_with_needs_what_it_began_with_no_more(lehr, finished_run, tmp_path):
    start, run = tmp_path / "start", tmp_path / "run"
    shutil.copytree(finished_run, start)
    assert lehr("train", f"dir={run}", f"start_from={start}", *SMALL)[0] == 0
    shutil.rmtree(start)
    begun = json.loads((run / "status.json").read_text())["started_from"]
    code, _, err = lehr("train", f"resume={run}", "trainer.max_steps=2")
    assert code == 0, err
    assert json.loads((run / "status.json").read_text())["started_from"] == begun
    code, _, err = lehr("train", f"resume={run}", "trainer.max_steps=3", "start_from=null")
    assert code == 2
    assert "start_from=null: a resumed run keeps its own" in err


def test_a_posterior_of_another_kind_says_its_variance_whatever_the_weights_said():
    small = {"base_channels": 32, "channel_multipliers": (1,), "layers": 1, "mid_attention": False}
    learnt, fixed = (KLAutoencoder((1, 4, 4), **small, **kind) for kind in ({}, {"posterior": "fixed", "std": 0.2}))
    module = SimpleNamespace(model=fixed, likelihood=Bernoulli(), prior=StandardNormalPrior((4, 4, 4), (1, 4, 4)))
    start = Start(
        Path("run"), {f"model.{name}": t for name, t in learnt.state_dict().items()}, {"likelihood": "", "prior": ""}
    )
    start.give(module, {"likelihood": {"_target_": "a"}, "prior": {"_target_": "b"}})
    assert torch.equal(fixed.quant_conv.weight[:4], learnt.quant_conv.weight[:4])
    assert fixed.quant_conv.bias[4:].tolist() == pytest.approx([2 * math.log(0.2)] * 4)
    assert not fixed.quant_conv.weight[4:].any()


def test_a_run_goes_on_without_the_pretrained_weights_that_it_began_with(lehr, tmp_path):
    torch.manual_seed(0)
    np.save(tmp_path / "images.npy", torch.randint(256, (20, 16, 16, 3), dtype=torch.uint8).numpy())
    common = (
        *(
            "model=tiny_small",
            "model.base_channels=4",
            "model.blocks=[1,1]",
            "data=arrays",
            f"data.path={tmp_path / 'images.npy'}",
            "likelihood=gaussian",
            "kl=constant",
        ),
        *("trainer.max_epochs=null", "trainer.max_steps=1", "evaluate=none", "callbacks.samples=null", "logger=none"),
        "callbacks.aggregate=null",
    )
    before, run = tmp_path / "before", tmp_path / "run"
    assert lehr("train", f"dir={before}", *common)[0] == 0
    code, _, err = lehr("train", f"dir={run}", *common, f"model.pretrained={before}")
    assert code == 0, err
    before.rename(tmp_path / "elsewhere")
    code, _, err = lehr("train", f"dir={tmp_path / 'other'}", *common, f"model.pretrained={before}")
    assert code == 2
    assert "there is no such file or folder" in err
    code, _, err = lehr("train", f"resume={run}", "trainer.max_steps=2")
    assert code == 0, err
    code, _, err = lehr("train", f"resume={run}", "trainer.max_steps=3", f"model.pretrained={tmp_path / 'elsewhere'}")
    assert code == 2
    assert err == (
        f"lehr train: model.pretrained={tmp_path / 'elsewhere'}: a resumed run keeps its own "
        f"model.pretrained={before}: it has begun with what that says; a new run (dir=OTHER) can begin with other "
        "weights\n"
    )


def test_pretrained_weights_are_known_by_what_they_hold_and_not_by_where_they_lie(tmp_path, monkeypatch):
    def weights(folder, value):
        folder.mkdir(exist_ok=True)
        tensors = {name: torch.full_like(t, value) for name, t in model.state_dict().items()}
        save_file(tensors, folder / "diffusion_pytorch_model.safetensors")
        return str(folder)

    monkeypatch.chdir(tmp_path)  # whose names are long, and would be cut in messages
    model = TinyAutoencoder((3, 16, 16), base_channels=8, blocks=(1, 1))
    node = {"_target_": "lehr.models.TinyAutoencoder", "base_channels": 8, "blocks": [1, 1]}
    old, moved = weights(Path("old"), 0.5), weights(Path("moved"), 0.5)
    config, run = {"overwrite": False, "trust": []}, RunDirectory(tmp_path / "run")
    config = {**config, "model": {**node, "pretrained": old}}
    started = started_from(config, run, resume=False)
    assert started["pretrained"] == old
    run.path.mkdir()
    run.write_config(config)
    Status(run.status).start(started_from=started)
    same, elsewhere = config, {**config, "model": {**node, "pretrained": moved}}
    assert _differences(same, run) == _differences(elsewhere, run) == ""
    weights(Path("old"), 0.25)
    weights(Path("moved"), 0.25)
    assert _differences(same, run) == f"model.pretrained={old} there, (other weights now) {old} here"
    assert _differences(elsewhere, run) == f"model.pretrained={old} there, {moved} here"
    Status(run.status).start(started_from=None)  # as an earlier version wrote it: known by where they lie
    assert _differences(same, run) == ""
    assert _differences(elsewhere, run) == f"model.pretrained={old} there, {moved} here"
