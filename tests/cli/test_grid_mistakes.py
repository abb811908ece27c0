"""What is wrong with a grid, or with the ends of a space to search: one line each, and few questions to Hydra."""

from __future__ import annotations

from pathlib import Path

import pytest
from grids import SEARCH, compositions, found, problems_of, slow

from lehr.compose.grid import MOST_LINES


@pytest.mark.parametrize(
    ("typed", "lines"),
    [
        (
            "seed=1,-2 kl.weight=0.1,abc model=mlp,mpl foo=1,2",
            [
                "seed=-2: must be greater than or equal to 0",
                "kl.weight=abc: must be a number",
                "model=mpl: there is no such choice; did you mean mlp?",
                "foo: unknown key",
            ],
        ),
        (
            "seed=range(0,0) kl.weight=interval(0,1) model=glob(*) optimizer=interval(0,1) dir=x resume=y "
            "pool.workers=0 pool.gpus=-1 pool.gpus_per_run=1.5 +pool.x=1 sweep.retry=all hydra.sweep.dir=file/x "
            "pool.per_gpu=1,2 hydra/launcher=basic,joblib hydra.job.name=a,b "
            "trainer.devices=1,2 logger=none,tensorboard callbacks.samples.n=1,2",
            [
                "seed=range(0,0): has no values",
                "kl.weight=interval(0,1): write out the values, as in kl.weight=a,b or kl.weight=range(1,5)",
                "optimizer=interval(0,1): write out the values, as in optimizer=a,b or optimizer=range(1,5)",
                "model=glob(*): write out the values, as in model=a,b or model=range(1,5)",
                "dir: is of a single run; say hydra.sweep.dir=DIR, each run of a sweep has a folder in it",
                "resume: a run is resumed by itself, without -m",
                "pool.workers=0: must be greater than 0 or 'auto'",
                "pool.gpus=-1: must be greater than or equal to 0 or 'auto'",
                "pool.gpus_per_run=1.5: must be an integer",
                "pool.x: unknown key; there are: pool.fused, pool.gpus, pool.gpus_per_run, pool.per_gpu, pool.workers",
                "sweep.retry=all: must be 'none' or 'failed'",
                "hydra.sweep.dir=file/x: file is a file, not a directory",
                "pool.per_gpu=1,2: is of the whole sweep; give one value",
                "hydra/launcher=basic,joblib: is of the whole sweep; give one value",
                "hydra.job.name=a,b: is of the whole sweep; give one value",
                "trainer.devices=1,2: no number of a run depends on trainer.devices; give one value",
                "logger=none,tensorboard: no number of a run depends on logger; give one value",
                "callbacks.samples.n=1,2: no number of a run depends on callbacks.samples.n; give one value",
            ],
        ),
        (
            "model=conv,mlp model.channels=[8],[9] model.latent_dim=0,1 hydra.sweep.dir=",
            [
                "hydra.sweep.dir=: must not be empty",
                "model.channels: unknown key; there are: model._target_, model.activation, model.hidden, "
                "model.latent_dim, model.logvar_max, model.logvar_min "
                "(in model=mlp model.channels=[8] model.latent_dim=0 and 3 more)",
                "model.latent_dim=0: must be greater than 0",
            ],
        ),
        ("seed=range(0,1000) kl.weight=range(0,101)", ["-m: these are 101,000 runs; a sweep may have 100,000"]),
        (
            "seed=range(-25,0)",
            [*(f"seed={seed}: must be greater than or equal to 0" for seed in range(-25, -5)), "and 5 more"],
        ),
        slow(
            "model=mlp,conv ++model.channels=[8],[9]",
            ["model.channels: unknown key; there are: model._target_, model.activation, model.hidden, "
             "model.latent_dim, model.logvar_max, model.logvar_min"],
        ),
        slow(
            "kl.weight='${x}',2 data.split_seed=3",
            ["kl.weight: Interpolation key 'x' not found (in kl.weight='${x}')"],
        ),
        slow(
            "model.hidden={a:1},[2]",
            ["Error merging override model.hidden={a:1} "
             "(model.hidden: Cannot merge DictConfig with ListConfig)"],
        ),
    ],
)  # fmt: skip
def test_whatever_is_wrong_with_any_point_is_a_line_each(typed, lines):
    Path("file").write_text("x")
    assert sorted(problems_of(*typed.split())) == sorted(lines)
    assert len(lines) <= MOST_LINES + 1


def test_hydra_is_not_asked_about_thousands_of_points_that_it_refuses(monkeypatch):
    monkeypatch.setattr("lehr.compose.grid.MOST_LINES", 3)
    asked = compositions(monkeypatch)
    assert problems_of("kl.weight=${x}", "seed=range(0,100)") == ["kl.weight: Interpolation key 'x' not found"]
    assert len(asked) < 10


def test_a_combination_that_cannot_work_is_found_where_one_value_makes_it():
    (line,) = problems_of("trainer.max_epochs=5,50", "kl.hold=0", "kl.warmup=2,10")
    assert line.startswith("kl.hold=0 + kl.warmup=10 must be shorter than a training of 5 epochs")
    (line,) = problems_of("objective=elbo,iwae", "kl=geco", "seed=0,1,2")
    assert line.startswith("kl._target_=lehr.objective.GECO: needs a rate by itself, which this objective has not")


def test_a_component_of_the_user_s_own_is_looked_at_in_each_point(tmp_path, monkeypatch):
    Path("mine_in_a_grid.py").write_text("from lehr.models import MLP\nclass Mine(MLP):\n    pass\n")
    typed = ("model._target_=lehr.models.MLP,mine_in_a_grid.Mine", "seed=0,1")
    assert problems_of(*typed) == [
        "model._target_=mine_in_a_grid.Mine: package 'mine_in_a_grid' is not trusted; if you trust it, say "
        "'trust=[mine_in_a_grid]'"
    ]
    monkeypatch.syspath_prepend(".")
    assert len(found(*typed, "trust=[mine_in_a_grid]").points) == 4


def test_the_ends_of_a_space_are_checked_before_a_search_starts():
    assert sorted(
        problems_of(*SEARCH, "kl.weight=interval(-1,1)", "model.latent_dim=interval(2,8)", "seed=range(-2,9)",
                    "optimizer.lr=0.1,abc")
    ) == [
        "kl.weight=-1.0: must be greater than or equal to 0",
        "model.latent_dim=2.0: must be an integer",
        "model.latent_dim=8.0: must be an integer",
        "optimizer.lr=abc: must be a number",
        "seed=-2: must be greater than or equal to 0",
    ]  # fmt: skip
