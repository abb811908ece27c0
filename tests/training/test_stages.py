"""Trainings in stages: what each begins with, what the same command does once more, and what is wrong with a list."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load_file

from lehr.config.stages import stage_of, with_last_stage
from lehr.run.directory import RunDirectory

COMMON = ("kl=constant", "model.hidden=[16]", "trainer.max_epochs=null", "trainer.max_steps=3", "evaluate=none",
          "callbacks.samples=null", "logger=none", "callbacks.checkpoints.every_seconds=0")  # fmt: skip
STAGES = ("stages=[{name:low,optimizer.lr:1e-2,trainer.max_steps:2},"
          "{name:decoder,optimizer:{freeze:[model.encoder.*]}},{name:all}]")  # fmt: skip


def weights(run) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "model.safetensors")


def stages_named(err: str) -> list[str]:
    return [line.split(", in ")[0] for line in err.splitlines() if line.startswith("stage ")]


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """The directory of a finished run of three stages. Not to be changed; copy it."""
    from lehr.cli.main import main

    path = tmp_path_factory.mktemp("staged") / "run"
    assert main(["train", f"dir={path}", *COMMON, STAGES]) == 0
    return path


def test_each_stage_begins_with_what_the_one_before_has_ended_in(staged, lehr, tmp_path):
    """By hand, with start_from, the same stages end in the same bits."""
    hand = [tmp_path / name for name in ("one", "two", "three")]
    own = (("optimizer.lr=1e-2", "trainer.max_steps=2"), ("optimizer.freeze=[model.encoder.*]",), ())
    before = "null"
    for run, words in zip(hand, own, strict=True):
        assert lehr("train", f"dir={run}", *COMMON, f"start_from={before}", *words)[0] == 0
        before = str(run)
    for ours, theirs in zip((staged / "stages" / "low", staged / "stages" / "decoder", staged), hand, strict=True):
        assert weights(ours).keys() == weights(theirs).keys()
        assert all(torch.equal(tensor, weights(theirs)[name]) for name, tensor in weights(ours).items())


def test_what_a_stage_freezes_is_bit_for_bit_what_it_was(staged):
    low, decoder, last = map(weights, (staged / "stages" / "low", staged / "stages" / "decoder", staged))
    encoder = [name for name in low if name.startswith("model.encoder.")]
    assert encoder
    assert all(torch.equal(low[name], decoder[name]) for name in encoder)
    assert not any(torch.equal(decoder[name], last[name]) for name in encoder)
    assert not torch.equal(low["model.decoder.0.weight"], decoder["model.decoder.0.weight"])


def test_the_directory_is_that_of_the_last_stage_and_knows_its_files(staged, tmp_path, lehr):
    config = yaml.safe_load((staged / "config.yaml").read_text())
    assert config["optimizer"]["freeze"] == []
    assert config["stages"][0] == {"name": "low", "optimizer.lr": 0.01, "trainer.max_steps": 2}
    assert config["stages"][2] == {"name": "all"}
    assert yaml.safe_load((staged / "stages" / "low" / "config.yaml").read_text())["stages"] == []
    run = shutil.copytree(staged, tmp_path / "run")
    RunDirectory(run).clear()
    assert list(run.iterdir()) == []


def test_the_same_command_goes_on_where_it_was_stopped(staged, tmp_path, lehr, monkeypatch):
    from lehr.training import session

    run, train = tmp_path / "run", session.train

    def stopped_in(name):
        def watched(config, directory, *arguments, **named):
            if directory.path.name == name:
                raise KeyboardInterrupt
            return train(config, directory, *arguments, **named)

        monkeypatch.setattr(session, "train", watched)

    stopped_in("decoder")
    code, _, err = lehr("train", f"dir={run}", *COMMON, STAGES)
    assert code == 130
    assert stages_named(err) == ["stage 1 of 3: low", "stage 2 of 3: decoder"]
    assert json.loads((run / "status.json").read_text())["state"] == "interrupted"
    assert "holds an unfinished run of other values" in lehr("train", f"dir={run}", *COMMON, STAGES, "seed=3")[2]
    other = STAGES.replace("trainer.max_steps:2", "trainer.max_steps:3", 1)
    (line,) = [line for line in lehr("train", f"dir={run}", *COMMON, other)[2].splitlines() if "unfinished" in line]
    assert "of other values (stages.low.trainer.max_steps=2 there, 3 here); resume=" in line
    (line,) = [line for line in lehr("train", f"dir={run}", *COMMON)[2].splitlines() if "unfinished" in line]
    assert "stages=[low, decoder, all] there, [] here" in line
    assert "'name'" not in line
    stopped_in("run")
    code, _, err = lehr("train", f"dir={run}", *COMMON, STAGES)
    assert stages_named(err) == ["stage 2 of 3: decoder", "stage 3 of 3: all"]
    assert "it goes on after stage low" in err
    monkeypatch.setattr(session, "train", train)
    code, _, err = lehr("train", f"resume={run}")
    assert code == 0, err
    assert stages_named(err) == ["stage 3 of 3: all"]
    assert all(torch.equal(tensor, weights(staged)[name]) for name, tensor in weights(run).items())
    code, _, err = lehr("train", f"dir={run}", *COMMON, STAGES)
    assert code == 2
    assert "holds a finished run" in err


def test_an_earlier_run_is_replaced_once_the_first_stage_can_start(staged, tmp_path, lehr):
    """All of its stages, and it may be what that stage begins with."""
    run = shutil.copytree(staged, tmp_path / "run")
    there = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    code, _, err = lehr("train", f"dir={run}", *COMMON, "overwrite=true", "stages=[{name:one,seed2:1},{name:two}]")
    assert code == 2
    assert "stages.one: seed2: unknown key" in err
    command = ("train", f"dir={run}", *COMMON, f"start_from={run}", "overwrite=true")
    code, _, err = lehr(*command, "model.hidden=[8]", "stages=[{name:low},{name:all}]")
    assert code == 1
    assert "is of another model" in err
    assert {path: path.read_bytes() for path in there} == there
    before = json.loads((run / "status.json").read_text())["model"]
    code, _, err = lehr(*command, "stages=[{name:low},{name:all}]")
    assert code == 0, err
    assert json.loads((run / "stages" / "low" / "status.json").read_text())["started_from"]["model"] == before
    assert [path.name for path in (run / "stages").iterdir()] == ["low"]
    assert not list(run.rglob(".claim*"))


def test_stages_of_different_models_are_refused_before_the_first(tmp_path, lehr):
    code, _, err = lehr(
        "train", f"dir={tmp_path / 'run'}", *COMMON, "stages=[{name:low,model.latent_dim:4},{name:all}]"
    )
    assert code == 1
    assert "stages.all: begins with the weights of low, and its model has others: encoder." in err
    assert "stage 1" not in err


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ("[{name:a,data.sise:3},{name:b}]", "stages.a: data.sise: unknown key; did you mean data."),
        pytest.param(
            "[{name:a,optimizer.lr:-1},{name:b}]",
            "stages.a: optimizer.lr=-1: must be greater than 0",
            marks=pytest.mark.slow,
        ),
        ("[{name:a},{name:a}]", "stages.a: there are two of this name"),
        ("[{optimizer.lr:1},3]", "stages.1: must be values and a name of letters"),
        pytest.param(
            "[{name:../a},{name:b}]", "stages.0: must be values and a name of letters", marks=pytest.mark.slow
        ),
        ("[{name:a,seed:3},{name:b}]", "stages.a: seed is of the whole run; say it outside of the stages"),
        pytest.param("3", "stages=3: must be a list", marks=pytest.mark.slow),
    ],
)
def test_a_list_that_is_wrong_is_said_before_anything_is_trained(tmp_path, lehr, stages, said):
    code, _, err = lehr("train", f"dir={tmp_path / 'run'}", "kl=constant", f"stages={stages}")
    assert code == 2
    assert said in err
    assert not (tmp_path / "run").exists()


def test_a_kept_list_gives_each_stage_what_it_was_told():
    """Whatever stages change, alone or in common, nested or dotted, and whatever they take away."""
    config = {"a": {"x": 1, "y": {"_target_": "A", "v": 1}}, "terms": {"gan": {"_target_": "G", "w": 1}}, "stages": [
        {"name": "one", "a": {"x": 2}, "terms.gan": None},
        {"name": "two", "a.y": {"_target_": "B"}},
        {"name": "three", "a.x": 3, "terms": {"gan": {"w": 5}}},
    ]}  # fmt: skip
    kept = with_last_stage(config)
    gan, own = config["terms"], config["a"]["y"]
    assert {key: kept[key] for key in ("a", "terms")} == {
        "a": {"x": 3, "y": own}, "terms": {"gan": {"_target_": "G", "w": 5}}
    }  # fmt: skip
    assert stage_of(kept, 0) == {"a": {"x": 2, "y": own}, "terms": {"gan": None}, "stages": []}
    assert stage_of(kept, 1) == {"a": {"x": 1, "y": {"_target_": "B"}}, "terms": gan, "stages": []}


@pytest.mark.slow
def test_a_sweep_trains_the_stages_of_each_point(lehr, tmp_path, staged):
    sweep = tmp_path / "sweep"
    code, _, err = lehr("train", "-m", f"hydra.sweep.dir={sweep}", *COMMON, STAGES, "seed=0,1", "pool.workers=2")
    assert code == 0, err
    runs = [path.parent for path in sweep.glob("*/point.json")]
    assert [sorted(path.name for path in (run / "stages").iterdir()) for run in runs] == [["decoder", "low"]] * 2
    (first,) = [run for run in runs if yaml.safe_load((run / "config.yaml").read_text())["seed"] == 0]
    assert all(torch.equal(tensor, weights(staged)[name]) for name, tensor in weights(first).items())


@pytest.mark.slow
def test_stages_that_are_killed_again_and_again_end_in_the_same_bits(staged, tmp_path, process):
    """Within the first stage, once its model is written and nothing says so yet, within the second and the third."""
    run = tmp_path / "run"
    moments = (("step", 0), ("export", 0), ("step", 1), ("step", 2), ("aggregate", 0))
    process.killed_and_resumed(run, moments, *COMMON, STAGES)
    for ours, theirs in ((run, staged), *((run / "stages" / n, staged / "stages" / n) for n in ("low", "decoder"))):
        assert all(torch.equal(tensor, weights(theirs)[name]) for name, tensor in weights(ours).items())
