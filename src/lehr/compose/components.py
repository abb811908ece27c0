"""Components whose classes are not shipped, such as a user's own: looked at before any data are read."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from lehr.config.build import class_problems
from lehr.config.problems import train_problems
from lehr.config.registry import components
from lehr.config.schema import schema_of
from lehr.config.stages import stage_names, stage_of
from lehr.startup import quick_imports
from lehr.training.debugging.values import mode_of
from lehr.training.launched import rank_from_outside
from lehr.training.preflight import combination_problems


def run_problems(values: dict[str, Any]) -> list[str]:
    """What is wrong with the configuration of a run, as far as it is known without data; a line each."""
    if problems := train_problems(values):
        return problems
    if stages := stage_names(values):
        if mode_of(values) in ("overfit", "profile"):
            return [f"debug={values['debug']}: looks at one training, and there are stages; say stages=[] too"]
        if rank_from_outside(values) is not None:
            return ["stages: torchrun and srun cannot start them; let trainer.devices say how many processes to start"]
        of_stages = [
            f"stages.{name}: {problem}"
            for i, name in enumerate(stages[:-1])
            for problem in run_problems(stage_of(values, i))
        ]
        return list(dict.fromkeys([*run_problems({**values, "stages": []}), *of_stages]))
    let_import(values["trust"])
    if problems := component_problems(values, values["trust"]):
        return problems
    return combination_problems(values)


def component_problems(config: Mapping[str, Any], trust: Iterable[str]) -> list[str]:
    """One line for each class that may not be built, or does not take its values. `config` has passed the schema."""
    problems: list[str] = []
    for group, key, node in components(config):
        if node and not schema_of(group, node["_target_"]):
            with quick_imports():
                problems += class_problems(group, key, node, trust)
    return problems


def let_import(trust: Iterable[str]) -> None:
    """Where packages of the user's are trusted, look for them in the current directory too, as `python -m` does."""
    if list(trust) and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
