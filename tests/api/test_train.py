"""`lehr.train` and `lehr.sweep` against their commands: the same directory, the same bits."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import lehr as library
from lehr.cli.main import main
from lehr.evaluation.catalogue import without_execution

KEYS = {
    "trainer.max_epochs": 4,
    "kl.hold": 0,
    "kl.warmup": 1,
    "trainer.check_val_every_n_epoch": 2,
    "model.hidden": [32],
}
"""As SMALL of conftest."""
SAME = (
    "model/model.safetensors", "model/config.json", "posterior/statistics.safetensors", "samples/aggregate.png",
    "samples/reconstruction.png", "data.json",
)  # fmt: skip


def numbers(path: Path) -> dict[str, float]:
    return without_execution(json.loads(path.read_text()))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return library.train(data="digits", model="mlp", dir=tmp_path_factory.mktemp("python") / "run", **KEYS)


def test_the_directory_is_that_of_the_command_to_the_bit(run, finished_run):
    for name in SAME:
        assert (run.path / name).read_bytes() == (finished_run / name).read_bytes(), name
    assert numbers(run.path / "metrics.json") == numbers(finished_run / "metrics.json")
    assert numbers(run.path / "evaluation.json") == numbers(finished_run / "evaluation.json")
    mine, theirs = (yaml.safe_load((path / "config.yaml").read_text()) for path in (run.path, finished_run))
    assert {**mine, "dir": None} == {**theirs, "dir": None}
    assert {path.relative_to(run.path).parts[0] for path in run.path.rglob("*") if "tfevents" not in path.name} == {
        path.relative_to(finished_run).parts[0] for path in finished_run.rglob("*") if "tfevents" not in path.name
    }


def test_all_mistakes_are_one_exception_without_hydras(tmp_path):
    with pytest.raises(library.ConfigError) as error:
        library.train(["data=digit"], **{"kl.weigth": 3, "model.latent_dim": -1})
    assert error.value.problems == (
        "data=digit: there is no such choice; did you mean digits?",
        "kl.weigth: unknown key; did you mean kl.weight?",
        "model.latent_dim=-1: must be greater than 0",
    )
    assert error.value.__suppress_context__
    assert error.value._render_traceback_() == [f"ConfigError: {line}" for line in error.value.problems]
    assert list(tmp_path.iterdir()) == []


def test_what_is_interrupted_can_be_gone_on_with(tmp_path, monkeypatch, run, capsys):
    from lehr.training.callbacks.progress import Progress

    original = Progress.on_train_batch_end

    def press(self, trainer, *rest):
        original(self, trainer, *rest)
        if trainer.global_step == 30:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_train_batch_end", press)
        with pytest.raises(KeyboardInterrupt, match=r"go on with lehr\.train"):
            library.train(dir="again", **KEYS)
    assert "note: interrupted by SIGINT; go on with lehr.train(resume='again')" in capsys.readouterr().err
    assert json.loads(Path("again/status.json").read_text())["state"] == "interrupted"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = library.train(resume="again")
    assert (again.path / SAME[0]).read_bytes() == (run.path / SAME[0]).read_bytes()


def test_a_finished_run_is_not_trained_again(run):
    with pytest.raises(library.ConfigError, match="holds a finished run; choose another directory"):
        library.train(dir=run.path, **KEYS)


@pytest.mark.slow
def test_a_sweep_is_that_of_the_command(capsys):
    keys = {**KEYS, "trainer.max_epochs": 2, "evaluate": "none", "logger": "none"}
    frame = library.sweep({"kl.weight": [1, 2], "seed": range(2)}, **keys)
    assert list(frame["kl.weight"]) == [1, 1, 2, 2]
    assert list(frame["state"]) == ["done"] * 4
    capsys.readouterr()
    typed = [
        "kl.weight=1,2",
        "seed=0,1",
        "trainer.max_epochs=2",
        "kl.hold=0",
        "kl.warmup=1",
        "trainer.check_val_every_n_epoch=2",
    ]
    assert main(["train", "-m", *typed, "model.hidden=[32]", "evaluate=none", "logger=none"]) == 0
    assert "4 runs: 4 done" in capsys.readouterr().err
    with pytest.raises(library.ConfigError) as error:
        library.sweep({"kl.weight": [-1, 2], "sed": [0, 1]})
    assert error.value.problems == (
        "sed: unknown key; did you mean seed?",
        "kl.weight=-1: must be greater than or equal to 0",
    )


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, (60, 8, 8), dtype=np.uint8) * 255


GIVEN = {"kl.hold": 0, "kl.warmup": 0, "trainer.max_epochs": 1, "model.hidden": [8], "data.batch_size": 30}


def test_images_in_place_of_a_name_are_trained_on_and_swept_over(images):
    run = library.train(data=images, labels=np.arange(60) % 3, dir="own", **GIVEN)
    assert run.config["data"]["source"] == "numpy.ndarray"
    assert run.status["state"] == "done"
    assert run.evaluate(level="quick", split="val")["level"] == "quick"
    frame = library.sweep({"kl.weight": [1, 2]}, data=images, **GIVEN)
    assert list(frame["state"]) == ["done", "done"]
    with pytest.raises(library.DataError, match=r"lehr\.train\(resume='own', data=images\) goes on with it"):
        library.train(resume="own", **{"trainer.max_epochs": 2})
    more = library.train(resume="own", data=images, labels=np.arange(60) % 3, **{"trainer.max_epochs": 2})
    assert more.status["state"] == "done"


@pytest.mark.parametrize(
    ("said", "lines"),
    [
        (
            {"kl.weigth": 3, "data.layout": "hwn"},
            ["kl.weigth: unknown key", "data.layout=hwn: must be 'auto', 'nhw', 'nhwc' or 'nchw'"],
        ),
        (
            {"model": 3, "kl.weight": object()},
            ["kl.weight: a object is no value", "model: got int"],
        ),
        ({"trainer.devices": 2}, ["trainer.devices: with data given from Python a run has one process, not 2; say 1"]),
        ({"data.layout": "nchw"}, ["data has shape (60, 8, 8), data.layout=nchw wants 4 axes"]),
    ],
)
def test_mistakes_with_given_images_are_one_exception(images, said, lines):
    with pytest.raises(library.LehrError) as error:
        library.train(data=images, dir="wrong", **said)
    assert len(error.value.problems) == len(lines)
    assert all(problem.startswith(line) for problem, line in zip(error.value.problems, lines, strict=True))
    assert not Path("wrong/config.yaml").exists()


def test_a_sweep_over_given_images_has_no_launcher_but_this_process(images):
    with pytest.raises(library.ConfigError, match="hydra/launcher=basic: only this process has the data that you give"):
        library.sweep({"kl.weight": [1, 2]}, data=images, **{**GIVEN, "hydra/launcher": "basic"})
