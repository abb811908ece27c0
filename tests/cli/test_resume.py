"""What `resume=DIR` refuses, in one line, without touching the run; and what it takes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml


@pytest.fixture
def run(finished_run) -> Path:
    """A copy of the finished run, of four epochs, in the current directory."""
    shutil.copytree(finished_run, "run")
    return Path("run")


def edit(run: Path, **changes) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | changes))


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ("", ["resume=run: the run is finished; to go on raise trainer.max_epochs"]),
        ("debug=true overwrite=true", ["resume=run: the run is finished; to go on raise trainer.max_epochs"]),
        (
            "foo=1 +bar=2 kl.wieght=2 experiment=mnist model=conv seed=3 dir=x ~kl.weight kl.hold=1,2",
            [
                "foo: unknown key of the resumed run",
                "bar: unknown key of the resumed run",
                "kl.wieght: unknown key of the resumed run; did you mean kl.weight?",
                "experiment: unknown key of the resumed run",
                "model=conv: a resumed run keeps its own model",
                "seed=3: a resumed run keeps its own seed",
                "dir=x: a resumed run keeps its own dir",
                "~kl.weight: nothing can be removed from a resumed run",
                "kl.hold=1,2: has several values; for one run each, add -m; for a list, write [a,b]; if the value is "
                "one string, quote it twice: kl.hold=\"'...'\"",
            ],
        ),
        (
            "kl.weight=-1 trust=5 trainer.max_epochs=x",
            [
                "trust=5: must be a list",
                "trainer.max_epochs=x: must be an integer",
                "kl.weight=-1: must be greater than or equal to 0",
            ],
        ),
        (
            "kl.warmup=9",
            [
                "kl.hold=0 + kl.warmup=9 must be shorter than a training of 4 epochs: the target would never be "
                "reached; say kl.hold=0 kl.warmup=2, or train for longer"
            ],
        ),
        ("kl.weight=${x}", ["kl.weight: Interpolation key 'x' not found"]),
        ("optimizer._target_=torch.os.system", ["optimizer._target_=torch.os.system: there is no such class (No module "
                                                "named 'torch.os')"]),
    ],
)  # fmt: skip
def test_a_refused_resume_leaves_the_run_bit_identical(run, refused, arguments, lines):
    assert sorted(refused("train", "resume=run", *arguments.split())) == sorted(lines)


def test_a_run_is_resumed_alone(run, refused):
    assert refused("train", "-m", "resume=run", "kl.weight=1,2") == ["resume: a run is resumed by itself, without -m"]


def test_a_sweep_is_not_begun_anew(refused):
    assert refused("train", "-m", "overwrite=true", "kl.weight=1,2") == [
        "overwrite: is of a single run; of a sweep remove the folders of the runs to be trained anew"
    ]


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("nowhere", "resume=nowhere: there is no such directory"),
        ("run/config.yaml", "resume=run/config.yaml: there is no such directory"),
        ("run/samples", "run/samples: is not a run directory: it has no config.yaml"),
    ],
)
def test_what_is_no_run_cannot_be_resumed(run, refused, place, line):
    assert refused("train", f"resume={place}") == [line]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"", "is not a configuration"),
        (b"[]", "is not a configuration"),
        (b"just words", "is not a configuration"),
        (b"a: [", "cannot be read (while parsing a flow node"),
        (b"\xff\xfe\x00", "cannot be read ("),
    ],
)
def test_a_config_that_is_garbage_is_one_line(run, refused, text, line):
    (run / "config.yaml").write_bytes(text)
    (found,) = refused("train", "resume=run", "trainer.max_epochs=6")
    assert found.startswith(f"run/config.yaml: {line}")
    (found,) = refused("sample", "run=run")
    assert found.startswith(f"run/config.yaml: {line}")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"seed": None}, "seed=null: must be an integer"),
        ({"kl": []}, "kl=[]: must be a dictionary"),
        ({"model": {}}, "model._target_=null: must name a class, such as lehr.models.MLP"),
        ({"model": {"_target_": "os.system"}}, "package 'os' is not trusted"),
        # what the directory says about trust is not believed
        ({"model": {"_target_": "os.system"}, "trust": ["os"]}, "package 'os' is not trusted"),
        ({"extra": 1}, "extra: unknown key"),
        ({"callbacks": {"a": 5}}, "callbacks.a=5: must be a dictionary"),
        ({"compile": "${x}"}, "Interpolation key 'x' not found"),
    ],
)
def test_an_edited_config_is_checked_like_a_command_line(run, refused, changes, line):
    edit(run, **changes)
    assert line in refused("train", "resume=run", "trainer.max_epochs=6")[0]


def test_a_run_without_a_checkpoint_cannot_be_resumed(run, refused):
    (run / "checkpoints" / "last.ckpt").unlink()
    assert refused("train", "resume=run", "trainer.max_epochs=6") == [
        "resume=run: has no checkpoints/last.ckpt to go on from; say resume_from=best"
    ]
    (run / "checkpoints" / "best.ckpt").unlink()
    assert refused("train", "resume=run", "trainer.max_epochs=6") == [
        "resume=run: has no checkpoints/last.ckpt to go on from; start again with dir=run overwrite=true"
    ]
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps(status | {"state": "interrupted"}))
    assert refused("train", "resume=run", "trainer.max_epochs=6") == [
        "resume=run: has no checkpoints/last.ckpt to go on from; start again with dir=run"
    ]


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path("exploded"),)


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (truncated, "is damaged, or is no checkpoint"),
        (lambda path: path.write_bytes(b""), "is damaged, or is no checkpoint"),
        (lambda path: path.write_text("hello"), "is damaged, or is no checkpoint"),
        (lambda path: torch.save({"state_dict": {}}, path), "is not a checkpoint of lehr's"),
        (lambda path: torch.save(Bomb(), path), "is not a checkpoint of lehr's: it holds more than tensors"),
    ],
    ids=["truncated", "empty", "text", "foreign", "pickle"],
)
def test_a_damaged_or_foreign_checkpoint_is_one_line_and_the_run_is_untouched(run, lehr, damage, line):
    damage(run / "checkpoints" / "last.ckpt")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    code, out, err = lehr("train", "resume=run", "trainer.max_epochs=6")
    assert code != 0
    assert (out, err) == ("", f"lehr train: run/checkpoints/last.ckpt: {line}\n")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert not Path("exploded").exists()


def test_a_checkpoint_of_another_model_is_one_line_and_the_run_is_untouched(run, lehr):
    edit(run, model={**yaml.safe_load((run / "config.yaml").read_text())["model"], "latent_dim": 5})
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    code, out, err = lehr("train", "resume=run", "trainer.max_epochs=6")
    assert code != 0
    assert out == ""
    assert err.startswith("lehr train: run/checkpoints/last.ckpt: is of another model: model.encoder.")
    assert err.count("\n") == 1
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_the_configuration_of_a_resumed_run_can_be_looked_at(run, lehr, trainings):
    code, out, _ = lehr("train", "resume=run", "kl.weight=2", "--cfg", "job")
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert code == 0
    assert yaml.safe_load(out) == saved | {"kl": saved["kl"] | {"weight": 2}, "dir": str(run.absolute())}
    assert trainings == []


def test_a_resumed_run_keeps_its_configuration_but_for_what_is_said(run, lehr, trainings):
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert lehr("train", "resume=nowhere", "resume=run", "trainer.max_epochs=6", "trust=[mine]")[0] == 0
    (training,) = trainings
    assert training.resume
    assert training.path == run
    assert training.trust == ("mine",)
    assert training.config == saved | {
        "dir": str(run.absolute()),
        "trust": ["mine"],
        "trainer": saved["trainer"] | {"max_epochs": 6},
    }
