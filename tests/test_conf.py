"""Every file of conf/: it composes, passes the checks, builds, and says what each of its values is."""

from __future__ import annotations

import importlib
import inspect
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger

from lehr.cli.compose import Command, composed, conf_dir
from lehr.config.build import build, find_class
from lehr.config.problems import section_problems, train_problems
from lehr.config.schema import SCHEMAS, SampleConfig, TrainConfig
from lehr.data import ImageDataModule
from lehr.models import VAE
from lehr.objective import Likelihood, Objective, Prior, RateTerm
from lehr.run.model_files import build_likelihood, build_model, build_prior
from lehr.training.building import callbacks, player_plan
from lehr.training.preflight import combination_problems

CONF = Path(__file__).parents[1] / "conf"
FILES = sorted(path.relative_to(CONF).as_posix() for path in CONF.rglob("*.yaml"))
CHOICES = [name for name in FILES if "/" in name and "/_" not in name]
BASES: dict[str, Any] = {
    "data": ImageDataModule,
    "model": VAE,
    "likelihood": Likelihood,
    "kl": RateTerm,
    "prior": Prior,
    "objective": Objective,
    "optimizer": torch.optim.Optimizer,
    "callbacks": Callback,
    "logger": Logger,
}
OF_MANY_RUNS = ("sweep", "hydra/launcher", "hydra/sweeper")
SHIPPED = [(group, target) for group, schemas in SCHEMAS.items() for target in schemas]
GIVEN_BY_CODE = {
    "model": {"image_shape"},
    "prior": {"latent_shape", "image_shape"},
    "logger": {"save_dir", "purge_step"},
    "optimizer": {"params"},
}


@cache
def compose_with(choice: str) -> dict[str, Any]:
    """What `lehr train` composes with a choice; not to be changed."""
    group, _, name = choice.removesuffix(".yaml").rpartition("/")
    overrides = [f"{group}={name}"]
    if choice in ("data/arrays.yaml", "data/images.yaml", "experiment/capacity_sprites.yaml"):
        overrides.append("data.path=/")
    if choice == "likelihood/discretized_logistic.yaml":
        overrides.append("data.binarize=none")
    config, problems = composed(Command("train", None, overrides, multirun=group in OF_MANY_RUNS))
    assert config is not None
    assert problems == []
    return config.values


def test_the_shipped_configuration_is_the_one_of_this_checkout():
    assert conf_dir() == CONF


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes_passes_the_checks_and_builds(choice, tmp_path):
    config = compose_with(choice)
    assert train_problems(config) == []
    assert combination_problems(config) == []
    data = build(config["data"], ImageDataModule, key="data")
    assert data.seed == config["seed"]
    model = build_model(config, (1, 16, 16) if "sprites" in choice else (1, 8, 8))
    images = torch.rand(2, *model.image_shape)
    posterior, parameters = model(images, torch.zeros(2, *model.latent_shape))
    assert posterior.mean.shape == (2, config["model"]["latent_dim"])
    assert build_likelihood(config).mean(parameters).shape == images.shape
    rate_term = build(config["kl"], RateTerm, key="kl")
    rate_term.start(config["trainer"]["max_epochs"] * 10, 10)
    assert rate_term.settled < config["trainer"]["max_epochs"] * 10
    assert build_prior(config, model).density(model.encode).log_prob(posterior.mean).shape == (2,)
    assert build(config["objective"], Objective, key="objective").samples >= 1
    plan = player_plan(config["optimizer"], None, ())
    optimizer = plan.optimizer(list(model.parameters()), **plan.options)
    assert optimizer.defaults["lr"] == config["optimizer"]["lr"]
    last = {"none": 1.0, "cosine": plan.final_lr / config["optimizer"]["lr"], "stages": 0.1}
    assert plan.factor(100, 100, config["optimizer"]["lr"]) == pytest.approx(last[plan.decay])
    assert len(callbacks(config["callbacks"], ())) == len(config["callbacks"])
    if config["logger"]:
        build(config["logger"], Logger, key="logger", save_dir=tmp_path, purge_step=None)


@pytest.mark.parametrize("choice", CHOICES)
def test_a_component_has_exactly_the_keys_of_its_schema(choice):
    group = choice.partition("/")[0]
    config = compose_with(choice)
    nodes = config["callbacks"].values() if group == "callbacks" else [config.get(group)]
    for node in nodes:
        if node and group in SCHEMAS:
            fields = SCHEMAS[group][node["_target_"]].model_fields
            assert {field.alias or name for name, field in fields.items()} == set(node)


@pytest.mark.parametrize(("group", "target"), SHIPPED)
def test_the_schema_of_a_shipped_class_is_its_signature(group, target):
    cls = find_class(target, BASES[group])
    fields = set(SCHEMAS[group][target].model_fields) - {"target"}
    if group == "optimizer":  # torch's have more, which nobody changes; the decay is lehr's
        fields -= {"decay", "final_lr"}
        assert fields <= arguments(cls)
    else:
        assert fields == arguments(cls) - GIVEN_BY_CODE.get(group, set())


def arguments(cls: type) -> set[str]:
    """Of a class and, where it passes the rest on, of its bases."""
    names: set[str] = set()
    for base in cls.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            names |= {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
    return names - {"self"}


@pytest.mark.parametrize(("group", "target"), SHIPPED)
def test_every_shipped_class_is_a_choice(group, target):
    files = [yaml.safe_load((CONF / name).read_text()) for name in CHOICES if name.startswith(f"{group}/")]
    nodes = [node for file in files for node in (file.values() if group == "callbacks" else [file])]
    assert target in {node.get("_target_") for node in nodes}


def test_the_trainer_section_holds_arguments_of_lightning_s_trainer():
    trainer = TrainConfig.model_fields["trainer"].annotation
    assert set(trainer.model_fields) <= set(inspect.signature(Trainer.__init__).parameters)


def test_the_main_files_have_exactly_the_keys_of_their_schemas():
    train, problems = composed(Command("train", None, []))
    assert problems == []
    assert set(train.values) == set(TrainConfig.model_fields)
    sample, problems = composed(Command("sample", None, ["run=x"]))
    assert problems == []
    assert set(sample.values) == {field.alias or name for name, field in SampleConfig.model_fields.items()}
    assert section_problems(SampleConfig, sample.values) == []


def test_every_target_in_conf_can_be_imported():
    named = {
        match for name in FILES for match in re.findall(r"_target_: *([\w.]+)", (CONF / name).read_text()) if match
    }
    assert named
    for target in named:
        module, _, name = target.rpartition(".")
        assert inspect.isclass(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("name", FILES)
def test_every_file_says_what_it_is(name):
    first = next(line for line in (CONF / name).read_text().splitlines() if not line.startswith("# @package"))
    assert re.match(r"# \S", first)


@pytest.mark.parametrize("name", FILES)
def test_every_value_is_explained_on_its_line_or_its_section_s(name):
    # a key that a file repeats (a variant's, an experiment's) is explained where its group first has it
    unexplained = [key for key in uncommented(CONF / name) if not any(said(key, other) for other in siblings(name))]
    assert unexplained == []


def siblings(name: str) -> list[Path]:
    group = name.partition("/")[0]
    return [CONF / other for other in FILES if group == "experiment" or other.startswith(f"{group}/")]


def said(key: str, path: Path) -> bool:
    """Whether `path` explains `key`, which may be of an experiment, and so begin with a group."""
    group, _, rest = key.partition(".")
    if rest and path.parent.name == group:
        key = rest
    return key in values(path) and key not in uncommented(path)


def uncommented(path: Path) -> list[str]:
    return [key for key, explained in values(path).items() if not explained]


def values(path: Path) -> dict[str, bool]:
    """Each key that holds a value, and whether its line or that of a section around it has a comment."""
    found: dict[str, bool] = {}
    sections: list[tuple[int, str, bool]] = []
    for line in path.read_text().splitlines():
        match = re.match(r"( *)([\w.]+):(.*)", line)
        if not match or match[2] == "defaults":
            continue
        indent, key, rest = len(match[1]), match[2], match[3]
        sections = [section for section in sections if section[0] < indent]
        explained = " #" in rest or any(section[2] for section in sections)
        if rest.partition(" #")[0].strip():
            if key != "_target_":
                found[".".join([*(section[1] for section in sections), key])] = explained
        else:
            sections.append((indent, key, explained))
    return found


def test_the_parser_of_comments_sees_what_a_person_sees(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("# head\na: 1  # said\nb: 2\nc:  # said\n  d: 3\ne:\n  f: '#no'\n  g:\n    h: 5 # said\ni: 6\n")
    assert values(path) == {"a": True, "b": False, "c.d": True, "e.f": False, "e.g.h": True, "i": False}
