"""A run with the weights of one of its checkpoints: loaded, and evaluated into files of their own."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

import lehr as package
from lehr.cli.main import main
from lehr.errors import CheckpointError
from lehr.run.checkpoint_file import read_checkpoint
from lehr.tensors import read_id

RUN = (
    "kl=constant", "model.hidden=[16]", "model.latent_dim=4", "callbacks.samples=null", "trainer.max_epochs=12",
    "trainer.check_val_every_n_epoch=1", "optimizer.lr=0.05", "ema.decay=0.9", "export.weights=ema",
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with an average of its weights, whose best validation was not its last. Not to be changed; copy it."""
    path = tmp_path_factory.mktemp("trained") / "run"
    assert main(["train", *RUN, f"dir={path}"]) == 0
    best, last = (read_checkpoint(path / "checkpoints" / f"{name}.ckpt") for name in ("best", "last"))
    assert best["global_step"] < last["global_step"]
    return path


def contents(run):
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def read(path):
    return json.loads(path.read_text())


def test_each_checkpoint_has_its_weights_and_its_own_statistics(trained):
    best, last = (read_checkpoint(trained / "checkpoints" / f"{name}.ckpt") for name in ("best", "last"))
    own = package.load(trained)
    expected = {"best": best["ema"], "last": last["state_dict"], "ema": last["ema"]}
    loaded = {name: package.load(trained, weights=name) for name in expected}
    for name, weights in expected.items():
        state = loaded[name].model.state_dict()
        assert all(torch.equal(value, weights[f"model.{key}"]) for key, value in state.items()), name
        assert not loaded[name].model.training
    assert loaded["ema"].model_id == own.model_id
    assert torch.equal(loaded["ema"].posterior.var, own.posterior.var)
    assert len({run.model_id for run in loaded.values()}) == 3
    # the statistics are of these weights: of what they make of the training set
    assert not torch.equal(loaded["best"].posterior.var, own.posterior.var)
    assert loaded["best"].sample(3).shape == (3, 1, 8, 8)


def test_a_checkpoint_is_evaluated_into_files_of_its_own(trained, tmp_path, lehr):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    assert lehr("evaluate", f"run={run}", "samplers=[mixture]", "iwae_samples=2", "features=pca", "examples=50")[0] == 0
    before = contents(run)
    tables = {}
    for weights in ("best", "last", "ema"):
        code, out, _ = lehr(
            "evaluate", f"run={run}", f"weights={weights}", "samplers=[mixture]", "iwae_samples=2", "features=pca",
            "examples=50",
        )  # fmt: skip
        assert code == 0
        tables[weights] = read(run / f"evaluation-{weights}.json")
        assert f"evaluation-{weights}.json" in out
        assert tables[weights]["weights"] == weights
    after = contents(run)
    assert {path: after[path] for path in before} == before
    assert {path.name for path in after.keys() - before.keys()} == {f"evaluation-{name}.json" for name in tables}
    # those of the average are those that the run has ended in, down to the sampler that is fitted to them
    own = read(run / "evaluation.json")
    assert {**tables["ema"], "weights": None} == {**own, "weights": None}
    assert tables["ema"]["model"] == read_id(run / "model" / "model.safetensors")
    assert tables["best"]["likelihood/elbo"] != own["likelihood/elbo"] != tables["last"]["likelihood/elbo"]
    best = read_checkpoint(run / "checkpoints" / "best.ckpt")["evaluated"]
    assert lehr("evaluate", f"run={run}", "weights=best", "split=val", "level=quick")[0] == 0
    assert read(run / "evaluation-best-val.json")["likelihood/rate"] == pytest.approx(best["val/rate"], rel=1e-5)


def test_the_evaluations_of_checkpoints_go_when_the_run_is_trained_further(trained, tmp_path, lehr):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    for path in (
        "evaluation-best.json",
        "evaluation-last-val.json",
        "evaluation-ema-quick.json",
        "evaluation-mine.json",
    ):
        (run / path).write_text("{}")
    assert lehr("train", f"resume={run}", "trainer.max_epochs=13", "evaluate=none")[0] == 0
    assert [path.name for path in run.glob("evaluation*")] == ["evaluation-mine.json"]


def test_what_is_not_there_is_said_in_a_line(finished_run, tmp_path, lehr):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    last, best = (run / "checkpoints" / f"{name}.ckpt" for name in ("last", "best"))
    code, _, err = lehr("evaluate", f"run={run}", "weights=ema")
    assert (code, err) == (
        2, f"lehr evaluate: {last}: has no average of the weights; the run was trained without ema\n",
    )  # fmt: skip
    best.unlink()
    code, _, err = lehr("evaluate", f"run={run}", "weights=best")
    assert (code, err) == (2, f"lehr evaluate: {best}: there is no such checkpoint\n")
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="is damaged, or is no checkpoint"):
        package.load(run, weights="last")
    with pytest.raises(package.ConfigError, match="weights=first: must be best, last, ema or None"):
        package.load(run, weights="first")
