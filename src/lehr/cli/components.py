"""Components that have no schema, such as a user's own: looked at before any data are read."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from lehr.config.build import checked_class
from lehr.config.problems import components, train_problems
from lehr.config.schema import SCHEMAS
from lehr.errors import ConfigError
from lehr.startup import quick_imports
from lehr.training.preflight import combination_problems

# by name, so that nothing is imported where every component has a schema
_BASES = {
    "data": "lehr.data.module.ImageDataModule",
    "model": "lehr.models.autoencoder.Autoencoder",
    "likelihood": "lehr.objective.likelihood.Likelihood",
    "kl": "lehr.objective.rate.RateTerm",
    "prior": "lehr.objective.prior.Prior",
    "objective": "lehr.objective.bounds.Objective",
    "optimizer": "torch.optim.Optimizer",
    "callbacks": "lightning.pytorch.Callback",
    "logger": "lightning.pytorch.loggers.Logger",
}
_OF_EVERY_OPTIMIZER = ("decay", "final_lr")  # lehr's own keys, which no class takes


def run_problems(values: dict[str, Any]) -> list[str]:
    """What is wrong with the configuration of a run, as far as it is known without data; a line each."""
    if problems := train_problems(values):
        return problems
    let_import(values["trust"])
    return [*combination_problems(values), *component_problems(values, values["trust"])]


def component_problems(config: Mapping[str, Any], trust: Iterable[str]) -> list[str]:
    """One line for each class that may not be built, or does not take its values. `config` has passed the schema."""
    problems: list[str] = []
    for group, key, node in components(config):
        if not node or node["_target_"] in SCHEMAS[group]:
            continue
        module, _, name = _BASES[group].rpartition(".")
        with quick_imports():
            base = getattr(importlib.import_module(module), name)
        ignored = _OF_EVERY_OPTIMIZER if group == "optimizer" else ()
        values = {name: value for name, value in node.items() if name not in ignored}
        try:
            checked_class(values, base, key=key, trust=trust, given=_given(group, node["_target_"]))
        except ConfigError as error:
            problems += error.problems
    return problems


def let_import(trust: Iterable[str]) -> None:
    """Where packages of the user's are trusted, look for them in the current directory too, as `python -m` does."""
    if list(trust) and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def _given(group: str, target: str) -> tuple[str, ...]:
    """The arguments that a class gets from the code and not from the configuration."""
    if group == "logger" and target.startswith("lehr."):
        return ("save_dir", "purge_step")
    given = {"model": ("image_shape",), "optimizer": ("params",), "prior": ("latent_shape", "image_shape")}
    return given.get(group, ())
