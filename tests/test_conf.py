"""Every file of conf/: it composes, passes the checks, builds, and says what each of its values is."""

from __future__ import annotations

import importlib
import inspect
import re
import typing
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger

from lehr.compose.composer import Command, composed
from lehr.config.build import base_of, build, find_class, signature
from lehr.config.given import named
from lehr.config.problems import section_problems, train_problems
from lehr.config.registry import GROUPS, conf_dir, targets
from lehr.config.schema import SampleConfig, TrainConfig, schema_of
from lehr.config.signature import REQUIRED, UNKNOWN, signature_in_source, signature_of
from lehr.data import ImageDataModule
from lehr.objective import Objective, RateTerm
from lehr.run.model_files import build_likelihood, build_model, build_prior
from lehr.training.building import callbacks, player_plan
from lehr.training.preflight import combination_problems

CONF = Path(__file__).parents[1] / "conf"
FILES = sorted(path.relative_to(CONF).as_posix() for path in CONF.rglob("*.yaml"))
CHOICES = [name for name in FILES if "/" in name and "/_" not in name]
GIVEN = [name for name in CHOICES if not named(name.partition("/")[0], [Path(name).stem])]  # by programs alone
WITHOUT_DATA = [f"data/{name}.yaml" for name in ("arrays", "hub", "images", "shards")]
WITHOUT_DATA += ["experiment/capacity_sprites.yaml"]  # that say nothing of where their data lie
FIRST_STAGES = [name for name in CHOICES if name.startswith("experiment/") and ("vae" in name or "decoder" in name
                or "_f8" in name or "_f16" in name or "fp16" in name or "pixel_art" in name)]  # fmt: skip
OF_MANY_RUNS = ("sweep", "hydra/launcher", "hydra/sweeper")
SHIPPED = [(group, target) for group in GROUPS for target in targets(group)]


@pytest.fixture(scope="module")
def compose_with(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """What `lehr train` composes with a choice; not to be changed."""
    shard = tmp_path_factory.mktemp("shards") / "train-000.tar"
    shard.touch()
    return cache(partial(composed_with, shard=shard))


def composed_with(choice: str, shard: Path) -> dict[str, Any]:
    group, _, name = choice.removesuffix(".yaml").rpartition("/")
    overrides = [f"{group}={name}"]
    if choice in (*WITHOUT_DATA, *FIRST_STAGES):
        overrides.append(f"data.path={shard if name == 'shards' else '/'}")
    if choice in ("terms/features.yaml", "terms/teacher.yaml"):
        overrides.append(f"{choice.removesuffix('.yaml').replace('/', '.')}.run=/")
    if "fp16" in choice:
        overrides.append("start_from=/")
    if choice in FIRST_STAGES and name.endswith("_small") and not name.startswith("pixel_art"):
        overrides.append("data.test_path=/")
    if choice == "likelihood/discretized_logistic.yaml":
        overrides.append("data.binarize=none")
    config, problems = composed(Command("train", None, overrides, multirun=group in OF_MANY_RUNS))
    assert config is not None
    assert problems == []
    return config.values


def test_the_shipped_configuration_is_the_one_of_this_checkout():
    assert conf_dir() == CONF


@pytest.mark.parametrize("choice", [name for name in CHOICES if name not in GIVEN])
def test_every_choice_composes_passes_the_checks_and_builds(compose_with, choice, tmp_path):
    config = compose_with(choice)
    assert train_problems(config) == []
    # but for weights that nothing here downloads, and a run that there is not
    missing = (
        "terms.lpips: needs",
        *(f"terms.{name}.run=/: there is no finished run" for name in ("features", "teacher")),
    )
    assert [problem for problem in combination_problems(config) if not problem.startswith(missing)] == []
    data = build(config["data"], ImageDataModule, key="data")
    assert data.seed == config["seed"]
    with torch.device("meta" if is_large(config) else "cpu"):
        model = build_model(config, (1, 16, 16) if "sprites" in choice else (1, 8, 8))
    latents, images = torch.zeros(2, *model.latent_shape), torch.rand(2, *model.image_shape)
    if not is_large(config):
        posterior, images = model(images, latents)
        assert posterior.mean.shape == latents.shape
    assert model.latent_shape[0] == config["model"].get("latent_dim", config["model"].get("latent_channels"))
    assert build_likelihood(config).mean(images).shape == (2, *model.image_shape)
    rate_term = build(config["kl"], RateTerm, key="kl")
    steps = config["trainer"]["max_steps"] or config["trainer"]["max_epochs"] * 10
    rate_term.start(steps, 10)
    assert rate_term.settled < steps
    assert build_prior(config, model).density(model.encode).log_prob(latents).shape == (2,)
    assert build(config["objective"], Objective, key="objective").samples >= 1
    plan = player_plan(config["optimizer"], None, ())
    optimizer = plan.optimizer(list(model.parameters()), **plan.options)
    assert optimizer.defaults["lr"] == config["optimizer"]["lr"]
    last = {"none": 1.0, "cosine": plan.final_lr / config["optimizer"]["lr"], "stages": 0.1}
    assert plan.factor(100, 100, config["optimizer"]["lr"]) == pytest.approx(last[plan.decay])
    assert len(callbacks(config["callbacks"], ())) == len(config["callbacks"])
    for name, node in config["logger"].items():
        given = {"save_dir": tmp_path, "purge_step": None, "points": None}
        assert build(node, Logger, key=f"logger.{name}", **given).name == ("" if name == "tensorboard" else name)


def is_large(config: dict[str, Any]) -> bool:
    """Whether a model is too large to be built in a test, but for its shapes."""
    return config["model"].get("base_channels", 0) >= 64


@pytest.mark.parametrize("choice", CHOICES)
def test_a_component_has_exactly_the_keys_of_its_schema(compose_with, choice):
    group = choice.partition("/")[0]
    config = compose_with(choice)
    nodes = config[group].values() if group in GROUPS and GROUPS[group].several else [config.get(group)]
    for node in nodes:
        if node and group in GROUPS:
            fields = schema_of(group, node["_target_"]).model_fields
            assert {field.alias or name for name, field in fields.items()} == set(node)


@pytest.mark.parametrize(("group", "target"), SHIPPED)
def test_what_is_read_in_the_source_of_a_shipped_class_is_what_the_class_says(group, target):
    cls = find_class(target, base_of(group))
    if group == "optimizer":  # torch's own have arguments that nobody changes, and state no limits
        described = signature(group, target)
        assert set(described.parameters) <= set(signature_of(cls).parameters)
        function = importlib.import_module("lehr.training.optimizers").adam
        hints = typing.get_type_hints(function, include_extras=True)
        assert {name: parameter.annotation for name, parameter in described.parameters.items()} == {
            name: hint for name, hint in hints.items() if name != "return"
        }
        return
    assert signature_in_source(target) == signature_of(cls)
    assert all(p.annotation is not Any for p in signature_of(cls).parameters.values())
    assert all(p.default is not UNKNOWN for p in signature_of(cls).parameters.values())


def test_what_is_read_in_the_source_of_a_plan_is_what_the_dataclass_says():
    plan = GROUPS["optimizer"].plan
    module, _, name = plan.rpartition(".")
    found = signature_of(getattr(importlib.import_module(module), name)).parameters
    read = signature_in_source(plan).parameters
    given = GROUPS["optimizer"].plan_given
    assert {key: p for key, p in read.items() if key not in given} == {
        key: p for key, p in found.items() if key not in given
    }
    assert set(given) <= set(found)


def said_in(choice: str) -> dict[str, Any]:
    """The values of a file of a group and of those that it begins with, as they are written."""
    values = yaml.safe_load((CONF / choice).read_text())
    found: dict[str, Any] = {}
    for name in values.pop("defaults", ["_self_"]):
        file, _, section = name.partition("@")
        said = values if name == "_self_" else said_in(f"{choice.rpartition('/')[0]}/{file}.yaml")
        for key, value in ({section: said} if section else said).items():
            is_section = isinstance(value, dict) and isinstance(found.get(key), dict)
            found[key] = {**found[key], **value} if is_section else value
    return found


# where a file says something else than the constructor, and why
ARGUED = {
    ("kl/anneal.yaml", "hold"): "a configuration of anyone's own that does not name it goes on having none",
    ("kl/anneal.yaml", "warmup"): "with the hold, as long as the class alone would ramp",
    ("kl/constant.yaml", "warmup"): "it is there to have no annealing",
    ("optimizer/adamw.yaml", "weight_decay"): "it is there to have weight decay",
}
# of which there are several published configurations, a file each; tests/models/first_stage counts their parameters
OF_SEVERAL_FILES = {f"lehr.models.{kind}Autoencoder" for kind in ("KL", "Tiny", "VQ")}


@pytest.mark.parametrize("choice", [name for name in CHOICES if name.partition("/")[0] in GROUPS])
def test_a_file_gives_the_defaults_of_the_constructor(choice):
    """Where both say something, so that the library and the command mean the same by a class's name."""
    group = choice.partition("/")[0]
    section = said_in(choice)
    if section.get("_target_") in OF_SEVERAL_FILES:
        return
    differing = set()
    for node in section.values() if GROUPS[group].several else [section]:
        if not node:
            continue
        for name, parameter in signature(group, node["_target_"]).parameters.items():
            value = tuple(node[name]) if isinstance(node.get(name), list) else node.get(name)
            refers = isinstance(value, str) and "${" in value
            if name in node and parameter.default is not REQUIRED and not refers and value != parameter.default:
                differing.add((choice, name))
    assert {key for key in ARGUED if key[0] == choice} == differing


@pytest.mark.parametrize(("group", "target"), SHIPPED)
def test_every_shipped_class_is_a_choice(group, target):
    files = [said_in(name) for name in CHOICES if name.startswith(f"{group}/")]
    nodes = [node for file in files for node in (file.values() if GROUPS[group].several else [file])]
    assert target in {node.get("_target_") for node in nodes if isinstance(node, dict)}


def test_the_trainer_section_holds_arguments_of_lightning_s_trainer():
    trainer = TrainConfig.model_fields["trainer"].annotation
    # optimiser steps, where Lightning's val_check_interval counts batches; examples, where its limit_... do
    of_lehr_s_loop = {"check_val_every_n_steps", "limit_examples", "channels_last"}
    assert set(trainer.model_fields) - of_lehr_s_loop <= set(inspect.signature(Trainer.__init__).parameters)


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
