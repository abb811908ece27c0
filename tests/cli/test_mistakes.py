"""A mistake on the command line: one line each, all of them together, nothing written, no traceback."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lehr.config.registry import conf_dir

TWICE = "if the value is one string, quote it twice:"
MODELS = ", ".join(sorted(path.stem for path in (conf_dir() / "model").glob("[!_]*.yaml") if path.stem != "given"))


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        pytest.param(
            "foo=1 +unknown=1 ++zzz=1 kl.wieght=1 trainer.epochs=3 latent_dim=3 lr=1 warm_up=2 model.mlp=1 "
            "precision=16-mixed kl/weight=1 modle=mlp terms.lpips.weight=2 logger.csv.x=1 stages={a:1} +kl.foo=1 "
            "~data.batch_size ~likelihood",
            [
                "foo: unknown key",
                "unknown: unknown key",
                "zzz: unknown key",
                "kl.wieght: unknown key; did you mean kl.weight?",
                "trainer.epochs: unknown key; did you mean trainer.max_epochs?",
                "latent_dim: unknown key; did you mean model.latent_dim?",
                "lr: unknown key; did you mean optimizer.lr?",
                "warm_up: unknown key; did you mean kl.warmup?",
                "model.mlp: unknown key; there are: model._target_, model.activation, model.hidden, "
                "model.latent_dim, model.logvar_max, model.logvar_min",
                "precision: unknown key; did you mean trainer.precision?",
                "kl/weight: unknown key; did you mean kl.weight?",
                "modle: unknown key; did you mean model?",
                "terms.lpips.weight: there is no terms.lpips without terms=lpips",
                "logger.csv.x: there is no logger.csv without logger=[tensorboard,csv]",
                "stages={a:1}: must be a list; write stages=[...]",
                "kl.foo: unknown key; there are: kl.convention, kl.cycles, kl.hold, kl.shape, kl.unit, kl.warmup, "
                "kl.weight",
                "data.batch_size: is missing",
                "likelihood: is missing",
            ],
            id="keys",
        ),
        pytest.param(
            "model=cnov model.channels=[3] data=digitz kl=anealed likelihood=_common optimizer= trainer=null logger={} "
            "logger=1 callbacks=[default,mine] +data=mnist ++optimizer=adamw experiment=null experiment=[mnist,minst] "
            "model=[mlp,conv] hydra/launcher=nope seed=-1",
            [
                "model=cnov: there is no such choice; did you mean conv?",
                "data=digitz: there is no such choice; did you mean digits?",
                "kl=anealed: there is no such choice; did you mean anneal?",
                "likelihood=_common: there is no such choice; there are: bernoulli, continuous_bernoulli, "
                "discretized_logistic, gaussian, laplace",
                "optimizer=: there is no such choice; there are: adam, adamw",
                "trainer=null: must be one of default; its keys are set as trainer.KEY",
                "logger={}: must be one of csv, mlflow, none, tensorboard, wandb; its keys are set as logger.KEY",
                "logger=1: must be one of csv, mlflow, none, tensorboard, wandb; its keys are set as logger.KEY",
                "callbacks=mine: there is no such choice; there are: default",
                "+data=mnist: data has a choice already; say data=mnist",
                "++optimizer=adamw: optimizer has a choice already; say optimizer=adamw",
                "experiment=null: leave experiment out, there is none by default",
                "experiment=minst: there is no such choice; did you mean mnist?",
                f"model=['mlp', 'conv']: must be one of {MODELS}; its keys are set as model.KEY",
                "hydra/launcher=nope: there is no such choice; "
                "there are: basic, fused, joblib, pool, ray, submitit_local, submitit_slurm",
                "seed=-1: must be greater than or equal to 0",
            ],
            id="choices",
        ),
        # the limits of each value are the schema's, and tested there
        pytest.param(
            "seed=1.5 dir=null resume= model.latent_dim=0 kl.weight=-1 kl.warmup= kl.hold=1e400 data.batch_size=abc "
            "trust=lehr trainer.max_epochs=1e3",
            [
                "seed=1.5: must be an integer",
                "dir: is missing; say dir=PATH",
                "resume=: must not be empty",
                "model.latent_dim=0: must be greater than 0",
                "kl.weight=-1: must be greater than or equal to 0",
                "kl.warmup=: must be a number",
                "kl.hold=inf: must be a finite number",
                "data.batch_size=abc: must be an integer",
                "trust=lehr: must be a list",
                "trainer.max_epochs=1000.0: must be an integer",
            ],
            id="values",
        ),
        pytest.param("dir=", ["dir=: must not be empty"], id="empty"),
        pytest.param(
            "model.hidden={a:1}",
            ["model.hidden={a:1}: must be a list; write model.hidden=[...]"],
            id="dictionary",
        ),
        pytest.param(
            "kl.weight=${x}",
            ["kl.weight: Interpolation key 'x' not found"],
            id="interpolation",
        ),
        pytest.param(
            "kl.weight=${kl.weight}",
            ["kl.weight: Recursive interpolation detected"],
            id="recursion",
        ),
        pytest.param(
            "kl.weight:1 foo kl.weight=[1 =1 seed=1,2",
            [
                "kl.weight:1: is not key=value",
                "foo: is not key=value",
                f"kl.weight=[1: cannot be read (no viable alternative at input '[1'); {TWICE} kl.weight=\"'...'\"",
                "=1: is not key=value",
                "seed=1,2: has several values; for one run each, add -m; for a list, write [a,b]; "
                f"{TWICE} seed=\"'...'\"",
            ],
            id="unreadable",
        ),
        pytest.param("hydra=5", ["hydra=5: is a section; its keys are set as hydra.KEY"], id="hydra"),
    ],
)
def test_each_mistake_is_one_line_and_all_are_reported(refused, arguments, lines):
    assert sorted(refused("train", *arguments.split())) == sorted(lines)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("kl.warmup=100", "kl.hold=5 + kl.warmup=100 must be shorter than a training of 100 epochs"),
        ("kl.unit=fraction kl.hold=0.5 kl.warmup=0.6", "kl.hold=0.5 + kl.warmup=0.6 must be shorter than 1, the whole"),
        (
            "kl.unit=step kl.warmup=600 trainer.max_epochs=null trainer.max_steps=500",
            "kl.hold=5 + kl.warmup=600 must be shorter than a training of 500 steps",
        ),
        (
            "kl.cycles=20",
            "kl.warmup=5 must be shorter than a cycle, and 20 cycles after kl.hold=5 in a training of 100 epochs have "
            "4.75 epochs each",
        ),
        ("trainer.max_epochs=null", "trainer.max_epochs=null, trainer.max_steps=null: give one of them"),
        ("data=images", "data.path: is missing; say data.path=PATH"),
        ("data=images data.path=/nowhere", "data.path=/nowhere: there is no such file or folder"),
        ("trainer.devices=4096", "trainer.devices=4096: this machine has "),
        ("trainer.num_nodes=2", "trainer.num_nodes=2, trainer.devices=1: torchrun or srun has to start it, a "),
        ("model.logvar_min=20", "model: logvar_min=20 must be less than logvar_max=10"),
        ("kl=mmd kl.lambda_=0.25", "kl: alpha=0.5 and lambda_=0.25 must add up to 1 or more"),
        ("kl=mmd data.batch_size=1", "kl._target_=lehr.objective.MMD: compares the examples of a batch, and of one"),
        ("kl=beta_tc data.batch_size=1", "kl._target_=lehr.objective.BetaTC: compares the examples of a batch, and of"),
    ],
)
def test_an_impossible_combination_is_one_line(refused, arguments, line):
    (found,) = refused("train", *arguments.split())
    assert found.startswith(line)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU has these precisions")
def test_a_device_or_a_precision_that_there_is_not_is_refused_with_what_there_is(refused):
    cpu = "32-true, bf16-mixed, bf16-true, 64-true"
    (length, precision) = refused("train", "trainer.precision=16-mixed", "kl.warmup=500")
    assert length.startswith("kl.hold=5 + kl.warmup=500 must be shorter than a training of 100 epochs")
    assert precision == f"trainer.precision=16-mixed: needs a GPU; a CPU has {cpu}"
    assert refused("train", "trainer.accelerator=cuda", "trainer.precision=32-true") == [
        "trainer.accelerator=cuda: this machine has no CUDA GPU; use auto or cpu"
    ]


def test_a_target_that_must_not_be_built_is_refused_before_anything_is_read(refused):
    assert sorted(
        refused(
            "train",
            "model._target_=os.system",
            "data._target_=lehr.data.ImageDataModule",
            "likelihood._target_=lehr.objective.Bernouli",
            "+callbacks.mine._target_=subprocess.run",
            "+callbacks.other={}",
        )
    ) == [
        "callbacks.mine._target_=subprocess.run: package 'subprocess' is not trusted; if you trust it, "
        "say 'trust=[subprocess]'",
        "callbacks.other._target_=null: must name a class, such as lehr.training.Progress",
        "data._target_=lehr.data.ImageDataModule: is not a class for data; did you mean lehr.data.ImageFolder?",
        "likelihood._target_=lehr.objective.Bernouli: is not a class for likelihood; "
        "did you mean lehr.objective.Bernoulli?",
        "model._target_=os.system: package 'os' is not trusted; if you trust it, say 'trust=[os]'",
    ]
    assert sorted(
        refused(
            "train",
            "model._target_=torch.os.system",
            "data._target_=torch.nn.Linear",
            "likelihood._target_=lehr.nothing.Foo",
            "kl._target_=lehr.objective.annealing.Schedule",
            "optimizer._target_=torch.optim.adam",
            "logger.tensorboard._target_=torch.hub.load",
            "+callbacks.mine._target_=os.system",
            "+callbacks.other._target_=nowhere.Callback",
            "trust=[os,nowhere]",
        )
    ) == [
        "callbacks.mine._target_=os.system: is not a class of lehr, torch, lightning, diffusers, os, nowhere",
        "callbacks.other._target_=nowhere.Callback: there is no such class (No module named 'nowhere')",
        "data._target_=torch.nn.Linear: must be a subclass of lehr.data.module.ImageDataModule",
        "kl._target_=lehr.objective.annealing.Schedule: must be a subclass of lehr.objective.rate.RateTerm",
        "likelihood._target_=lehr.nothing.Foo: there is no such class (No module named 'lehr.nothing')",
        "logger.tensorboard._target_=torch.hub.load: is not a class of lehr, torch, lightning, diffusers, os, nowhere",
        "model._target_=torch.os.system: there is no such class (No module named 'torch.os')",
        "optimizer._target_=torch.optim.adam: there is no such class (module 'torch.optim' has no attribute 'adam')",
    ]


def test_a_class_without_a_schema_is_checked_against_its_signature(refused, trainings, lehr):
    assert [line.partition(";")[0] for line in refused("train", "optimizer._target_=torch.optim.SGD")] == [
        "optimizer.betas: unknown key of torch.optim.SGD",
        "optimizer.eps: unknown key of torch.optim.SGD",
    ]
    found = refused("train", "logger.tensorboard._target_=lightning.pytorch.loggers.CSVLogger")
    assert [line.partition(";")[0] for line in found] == [
        "logger.tensorboard.save_dir: is missing",
        "logger.tensorboard.projector: unknown key of lightning.pytorch.loggers.CSVLogger",
    ]
    sgd = ("optimizer._target_=torch.optim.SGD", "~optimizer.betas", "~optimizer.eps", "+optimizer.momentum=0.9")
    assert lehr("train", *sgd, "model._target_=lehr.models.mlp.MLP")[0] == 0
    assert len(trainings) == 1


def test_a_class_in_the_current_directory_is_found_once_it_is_trusted(refused, trainings, lehr):
    Path("own_in_cwd.py").write_text("from lehr.models import MLP\nclass Mine(MLP):\n    pass\n")
    (line,) = refused("train", "model._target_=own_in_cwd.Mine")
    assert line.endswith("package 'own_in_cwd' is not trusted; if you trust it, say 'trust=[own_in_cwd]'")
    assert lehr("train", "model._target_=own_in_cwd.Mine", "trust=[own_in_cwd]")[0] == 0
    assert trainings[0].trust == ("own_in_cwd",)


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--multirn"], "unrecognized arguments: --multirn"),
        (["-kl.weight=1"], "unrecognized arguments: -kl.weight=1"),
        (["--cfg"], "argument --cfg/-c: expected one argument"),
        (["--cfg", "jobs"], "argument --cfg/-c: invalid choice: 'jobs' (choose from 'job', 'hydra', 'all')"),
        (["--config-dir"], "argument --config-dir/-cd: expected one argument"),
        (["--config-dir", "nowhere"], "--config-dir nowhere: there is no such folder"),
        (
            ["--config-name", "nope"],
            "--config-name nope: there is no such configuration; there are: compare, describe, evaluate, export, "
            "groups, import, probe, sample, train",
        ),
        (["--config-path", "."], "--config-path and --experimental-rerun are not for lehr; there is --config-dir DIR"),
        (
            ["--experimental-rerun", "x"],
            "--config-path and --experimental-rerun are not for lehr; there is --config-dir DIR",
        ),
        (
            ["-m", "--cfg", "job"],
            "-m and --cfg: say only one of them; --cfg shows the configuration of a single run",
        ),
        (["--cfg", "job", "kl.wieght=1"], "kl.wieght: unknown key; did you mean kl.weight?"),
    ],
)
def test_a_flag_that_is_not_one_is_one_line(refused, flags, line):
    assert refused("train", *flags) == [line]


def test_hydra_full_error_gives_the_traceback(lehr, monkeypatch):
    wrong = ("train", "kl.weight=${x}")
    assert "Traceback" not in lehr(*wrong)[2]
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    code, _, err = lehr(*wrong)
    assert code == 2
    assert "Traceback" in err
    assert err.splitlines()[-1] == ("lehr train: kl.weight: Interpolation key 'x' not found")
    code, _, err = lehr("train", "resume=nowhere")
    assert code == 2
    assert "Traceback" in err


@pytest.mark.parametrize("how", ["debug=true", "HYDRA_FULL_ERROR"])
def test_debug_gives_the_traceback_of_a_mistake_in_the_data(lehr, monkeypatch, how):
    np.save("rank2.npy", np.zeros((60, 64), np.uint8))
    wrong = ["train", "dir=run", "data=arrays", "data.path=rank2.npy"]
    assert "Traceback" not in lehr(*wrong)[2]
    if how == "HYDRA_FULL_ERROR":
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    else:
        wrong.append(how)
    _, _, err = lehr(*wrong)
    assert "Traceback" in err
    assert "rank2.npy has shape (60, 64)" in err.splitlines()[-1]


def test_a_failure_that_is_nobody_s_mistake_is_one_line_too(lehr, monkeypatch):
    def train(*_, **__):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("lehr.training.session.train", train)
    assert lehr("train", "dir=run") == (1, "", "lehr train: RuntimeError: two lines (debug=true shows where)\n")
    _, _, err = lehr("train", "dir=run", "debug=true")
    assert "Traceback" in err
