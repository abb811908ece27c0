from __future__ import annotations

from typing import Any, get_args

import pytest

from lehr.config.problems import did_you_mean, section_problems, train_problems
from lehr.config.schema import SampleConfig, TrainConfig, schema_of
from lehr.models.vae import ACTIVATIONS
from lehr.objective.annealing import RAMPS

NAN, INF = float("nan"), float("inf")


def put(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        values = values[section]
    values[last] = value


def test_the_shipped_default_has_no_problem(values):
    assert train_problems(values) == []


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("seed", -1, "seed=-1: must be greater than or equal to 0"),
        ("seed", 1.5, "seed=1.5: must be an integer"),
        ("seed", True, "seed=True: must be an integer"),
        ("seed", None, "seed=null: must be an integer"),
        ("dir", "", "dir=: must not be empty"),
        ("dir", None, "dir: is missing; say dir=PATH"),
        ("dir", 123, "dir=123: must be a string; if it is meant to be one, quote it twice: dir=\"'...'\""),
        ("dir", ["a"], "dir=['a']: must be a string"),
        ("resume", "", "resume=: must not be empty"),
        ("compile", "yes", "compile=yes: must be true or false"),
        ("compile", 1, "compile=1: must be true or false"),
        ("trust", "lehr", "trust=lehr: must be a list"),
        ("trust", None, "trust=null: must be a list"),
        ("model.latent_dim", 0, "model.latent_dim=0: must be greater than 0"),
        ("model.latent_dim", -3, "model.latent_dim=-3: must be greater than 0"),
        ("model.latent_dim", "", "model.latent_dim=: must be an integer"),
        ("model.latent_dim", "abc", "model.latent_dim=abc: must be an integer"),
        ("model.latent_dim", 2.0, "model.latent_dim=2.0: must be an integer"),
        ("model.hidden", 400, "model.hidden=400: must be a list"),
        ("model.hidden", [400, -1], "model.hidden.1=-1: must be greater than 0"),
        ("model.logvar_min", NAN, "model.logvar_min=nan: must be a finite number"),
        ("model.logvar_max", INF, "model.logvar_max=inf: must be a finite number"),
        ("model.logvar_max", -30.0, "model: logvar_min=-20 must be less than logvar_max=-30"),
        ("model._target_", None, "model._target_=null: must name a class, such as lehr.models.MLP"),
        ("model._target_", "", "model._target_=: must name a class, such as lehr.models.MLP"),
        ("model._target_", ".", "model._target_=.: must name a class, such as lehr.models.MLP"),
        ("model._target_", 5, "model._target_=5: must name a class, such as lehr.models.MLP"),
        ("kl.weight", -0.5, "kl.weight=-0.5: must be greater than or equal to 0"),
        ("kl.weight", NAN, "kl.weight=nan: must be a finite number"),
        ("kl.weight", INF, "kl.weight=inf: must be a finite number"),
        ("kl.weight", None, "kl.weight=null: must be a number"),
        ("kl.weight", "", "kl.weight=: must be a number"),
        ("kl.weight", True, "kl.weight=True: must be a number"),
        ("kl.weight", [1, 2], "kl.weight=[1, 2]: must be a number"),
        ("kl.cycles", 0, "kl.cycles=0: must be greater than 0"),
        ("kl.unit", "epochs", "kl.unit=epochs: must be 'epoch', 'step' or 'fraction'"),
        ("kl", None, "kl=null: must be a dictionary"),
        ("kl", 3, "kl=3: must be a dictionary"),
        ("optimizer.lr", 0, "optimizer.lr=0: must be greater than 0"),
        ("optimizer.betas", [0.9], "optimizer.betas=[0.9]: must have at least 2 values"),
        ("optimizer.betas", [0.9, 0.9, 0.9], "optimizer.betas=[0.9, 0.9, 0.9]: must have at most 2 values"),
        ("optimizer.betas", [0.9, 1.0], "optimizer.betas.1=1.0: must be less than 1"),
        ("data.batch_size", 0, "data.batch_size=0: must be greater than 0"),
        ("data.val_fraction", 0, "data.val_fraction=0: must be greater than 0"),
        ("data.val_fraction", 1, "data.val_fraction=1: must be less than 1"),
        ("trainer", None, "trainer=null: must be a dictionary"),
        ("trainer.max_epochs", 1000.0, "trainer.max_epochs=1000.0: must be an integer"),
        ("trainer.devices", 0, "trainer.devices=0: must be greater than 0 or 'auto'"),
        ("trainer.accelerator", "gpu", "trainer.accelerator=gpu: must be 'auto', 'cpu' or 'cuda'"),
        ("callbacks.samples", "foo", "callbacks.samples=foo: must be a dictionary"),
        ("callbacks.mine", {}, "callbacks.mine._target_=null: must name a class, such as lehr.training.Progress"),
        ("callbacks.samples.steps", 1, "callbacks.samples.steps=1: must be greater than or equal to 2"),
        ("callbacks.samples.stepz", 1, "callbacks.samples.stepz: unknown key; did you mean callbacks.samples.steps?"),
        ("kl.wieght", 1, "kl.wieght: unknown key; did you mean kl.weight?"),
        ("trainer.precison", "32", "trainer.precison: unknown key; did you mean trainer.precision?"),
        ("experiment", {}, "experiment: unknown key; a file in experiment/ begins with '# @package _global_'"),
    ],
)
def test_a_wrong_value_is_one_line_that_says_what_would_be_right(values, key, value, line):
    put(values, key, value)
    assert train_problems(values) == [line]


@pytest.mark.parametrize(
    ("key", "value"),
    [("logger", {}), ("logger", None), ("callbacks.samples", None), ("resume", None), ("kl.weight", 0)],
)
def test_what_may_be_left_out_may_be_null(values, key, value):
    put(values, key, value)
    assert train_problems(values) == []


def test_a_seed_that_the_data_take_over_is_reported_once_and_one_of_their_own_too(values):
    values["seed"] = values["data"]["seed"] = -1
    assert train_problems(values) == ["seed=-1: must be greater than or equal to 0"]
    values["seed"] = 0
    assert train_problems(values) == ["data.seed=-1: must be greater than or equal to 0"]


def test_all_mistakes_of_all_sections_are_reported_together(values):
    for key, value in {"seed": -1, "model.latent_dim": 0, "kl.weight": -1, "trainer.devices": "x"}.items():
        put(values, key, value)
    del values["optimizer"]["lr"]
    assert sorted(problem.partition("=")[0].partition(":")[0] for problem in train_problems(values)) == [
        "kl.weight",
        "model.latent_dim",
        "optimizer.lr",
        "seed",
        "trainer.devices",
    ]


def test_a_missing_section_is_missed(values):
    del values["model"]
    assert train_problems(values) == ["model: is missing"]


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("os.system", "package 'os' is not trusted; if you trust it, say 'trust=[os]'"),
        ("torchvision.models.VGG", "package 'torchvision' is not trusted; if you trust it, say 'trust=[torchvision]'"),
        ("lehr.models.MPL", "is not a class for model; did you mean lehr.models.MLP?"),
        ("lehr.models.VAE", "is not a class for model; did you mean lehr.models.MLP?"),
    ],
)
def test_a_target_that_is_not_allowed_is_refused_by_its_name_alone(values, target, line):
    values["model"] = {"_target_": target}
    assert train_problems(values) == [f"model._target_={target}: {line}"]


def test_a_component_of_a_trusted_package_has_no_schema(values):
    values["model"] = {"_target_": "mine.VAE", "depth": 3}
    values["trust"] = ["mine"]
    assert train_problems(values) == []


def test_a_trust_that_is_no_list_trusts_nothing(values):
    values["model"] = {"_target_": "mine.VAE"}
    values["trust"] = "mine"
    assert train_problems(values) == [
        "trust=mine: must be a list",
        "model._target_=mine.VAE: package 'mine' is not trusted; if you trust it, say 'trust=[mine]'",
    ]


def test_a_likelihood_s_scale_is_a_number_or_a_word():
    schema = schema_of("likelihood", "lehr.objective.Gaussian")
    node = {"_target_": "lehr.objective.Gaussian"}
    for scale in (0.1, 1, "learned", "optimal"):
        assert section_problems(schema, node | {"scale": scale}) == []
    words = "'learned' or 'optimal'"
    assert section_problems(schema, node | {"scale": 0}) == [f"scale=0: must be greater than 0 or {words}"]
    assert section_problems(schema, node | {"scale": "lerned"}) == [f"scale=lerned: must be a number or {words}"]


def test_a_path_that_must_be_given_is_asked_for():
    node = {"_target_": "lehr.data.Arrays", "path": None}
    assert "data.path: is missing; say data.path=PATH" in section_problems(
        schema_of("data", "lehr.data.Arrays"), node, "data"
    )


def test_sampling_has_its_own_schema():
    sample = {
        "run": "x",
        "method": "prior",
        "n": 1,
        "seed": 0,
        "out": None,
        "covariance": "diag",
        "from": 0,
        "to": 1,
        "steps": 2,
        "debug": False,
        "trust": [],
    }
    assert section_problems(SampleConfig, sample) == []
    wrong = sample | {"run": None, "method": "priro", "from": -1, "fron": 2}
    assert sorted(section_problems(SampleConfig, wrong)) == [
        "from=-1: must be greater than or equal to 0",
        "fron: unknown key; did you mean from?",
        "method=priro: must be 'prior', 'aggregate', 'aggregate_full', 'mixture', 'two_stage' or 'interpolate'",
        "run: is missing; say run=PATH",
    ]


@pytest.mark.parametrize(
    ("group", "target", "field", "there_are"),
    [
        ("model", "lehr.models.MLP", "activation", ACTIVATIONS),
        ("kl", "lehr.objective.AnnealedKL", "shape", RAMPS),
    ],
)
def test_the_words_a_value_may_be_are_those_that_the_code_knows(group, target, field, there_are):
    assert set(get_args(schema_of(group, target).model_fields[field].annotation)) == set(there_are)


def test_no_precision_is_named_that_lightning_does_not_have():
    from lightning.fabric.plugins.precision.precision import _PRECISION_INPUT_STR

    trainer = TrainConfig.model_fields["trainer"].annotation
    assert set(get_args(trainer.model_fields["precision"].annotation)) <= set(get_args(_PRECISION_INPUT_STR))


def test_a_hint_is_the_nearest_name_or_a_list_short_enough_to_read():
    assert did_you_mean("wieght", ["weight", "warmup"]) == "; did you mean weight?"
    assert did_you_mean("xyz", ["b", "a"]) == "; there are: a, b"
    assert did_you_mean("xyz", map(str, range(100))) == ""


def test_a_key_that_an_older_configuration_lacks_has_the_default_of_the_constructor(values):
    for key in ("kl.warmup", "optimizer.betas", "optimizer.decay", "model.hidden", "data.split_seed"):
        section, _, name = key.partition(".")
        del values[section][name]
    assert train_problems(values) == []
    del values["model"]["latent_dim"]
    assert train_problems(values) == ["model.latent_dim: is missing"]
