"""What belongs to one trained model says so, and is not taken for another's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

import lehr as library
from lehr import CheckpointError
from lehr.run import finish
from lehr.tensors import read_id
from lehr.training.checkpoint import read_checkpoint

QUICK = ("level=full", "examples=20", "samplers=[aggregate,mixture]", "features=pca", "iwae_samples=2")


@pytest.fixture
def run(finished_run, tmp_path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def of_another_model(path: Path) -> None:
    """Let a file of tensors say that it belongs to another model."""
    save_file(load_file(path), path, {"model": "0" * 32})


def test_every_file_that_was_made_of_a_model_has_its_id(run, lehr):
    assert lehr("evaluate", f"run={run}", *QUICK)[0] == 0
    assert lehr("sample", f"run={run}", "n=4", "method=mixture")[0] == 0
    assert lehr("sample", f"run={run}", "method=interpolate")[0] == 0
    model = library.load(run).model_id
    ids = {path.name: read_id(path) for path in run.rglob("*.safetensors")}
    ids |= {path.name: json.loads(path.read_text())["model"] for path in run.glob("posterior/*.json")}
    ids |= {path.name: json.loads(path.read_text())["model"] for path in (run / "evaluation.json", run / "status.json")}
    for path in (*run.rglob("*.png"), *run.rglob("*.gif")):
        with Image.open(path) as picture:
            ids[path.name] = picture.info.get("model") or picture.info["comment"].decode().removeprefix("model ")
    assert set(ids.values()) == {model}
    assert {
        "mixture.safetensors",
        "mixture.json",
        "statistics.json",
        "prior.png",
        "mixture-seed0.png",
        "interpolate-0-1.gif",
    } < ids.keys()


def test_a_finished_run_stopped_in_its_second_end_is_whole_or_refused(run, lehr, monkeypatch):
    before = library.load(run).model_id

    def stopped(*_):
        raise KeyboardInterrupt

    longer = ("train", f"resume={run}", "trainer.max_epochs=5")
    with monkeypatch.context() as patch:  # in its test, after the statistics have been measured
        patch.setattr(finish, "measure_split", stopped)
        assert lehr(*longer)[0] == 130
    assert library.load(run).model_id == before
    with monkeypatch.context() as patch:  # between two files
        patch.setattr(finish, "write_model", stopped)
        assert lehr(*longer)[0] == 130
    line = f"{run}/posterior/statistics.safetensors: belongs to another model than the weights in model/; "
    line += f"lehr train resume={run} finishes what was stopped between"
    with pytest.raises(CheckpointError) as refused:
        library.load(run)
    assert str(refused.value) == line
    for command in ("sample", "evaluate"):
        assert lehr(command, f"run={run}") == (2, "", f"lehr {command}: {line}\n")
    assert lehr("train", f"resume={run}")[0] == 0
    state = read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]
    weights = load_file(run / "model" / "model.safetensors")
    assert all(weights[name].equal(state[name]) for name in weights)
    assert library.load(run).model_id != before


def test_a_sampler_of_another_model_is_refused_and_fitted_anew(run, lehr):
    assert lehr("evaluate", f"run={run}", *QUICK)[0] == 0
    sampler = run / "posterior" / "mixture.safetensors"
    of_another_model(sampler)
    code, _, err = lehr("sample", f"run={run}", "method=mixture")
    assert (code, err.count("\n")) == (2, 1)
    assert "belongs to another model than the weights in model/" in err
    assert f"lehr evaluate run={run} samplers=[mixture] fits it anew" in err
    assert lehr("evaluate", f"run={run}", *QUICK)[0] == 0
    assert read_id(sampler) == library.load(run).model_id


def test_weights_that_are_not_those_that_were_written_are_damaged(run):
    of_another_model(run / "model" / "model.safetensors")
    of_another_model(run / "posterior" / "statistics.safetensors")
    with pytest.raises(CheckpointError, match=r"model: is damaged \(the weights are not those that were written\)"):
        library.load(run).to("cpu").model_id  # noqa: B018


def test_a_full_evaluation_of_another_model_does_not_keep_its_place(run, lehr):
    for other, place in (("0" * 32, "evaluation.json"), (None, "evaluation-quick.json")):
        (run / "evaluation.json").write_text(json.dumps({"lehr": "0.1.0", "level": "full", "model": other}))
        assert lehr("evaluate", f"run={run}", "level=quick", "examples=20", "iwae_samples=2")[0] == 0
        assert json.loads((run / place).read_text())["level"] == "quick"


def test_without_statistics_and_pictures_none_of_an_earlier_model_stay(run, lehr):
    off = ("callbacks.aggregate=null", "callbacks.samples=null")
    assert lehr("train", f"resume={run}", "trainer.max_epochs=5", *off)[0] == 0
    left = {path.name for folder in ("posterior", "samples") for path in (run / folder).glob("*")}
    assert left == set()
