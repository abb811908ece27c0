"""Which groups, choices and keys there are, and of what type: as the schema and the shipped files say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

import yaml

from lehr.config.registry import GROUPS, conf_dir
from lehr.config.schema import Pool, RayLauncher, Section, Sweep, TrainConfig, Trainer, schema_of
from lehr.sweeps.study import Settings


def train_keys(chosen: Mapping[str, str]) -> dict[str, Any]:
    """Key -> type, of a training with these choices."""
    keys = {name: annotation for name, annotation in keys_of(TrainConfig).items() if name not in (*GROUPS, "trainer")}
    keys |= keys_of(Trainer, "trainer")
    for group, choice in chosen.items():
        keys |= keys_of_choice(group, choice)
    return keys


def keys_of_choice(group: str, choice: str) -> dict[str, Any]:
    """Key -> type, of the components of a choice."""
    keys: dict[str, Any] = {}
    for path, node in nodes(group, choice):
        if schema := schema_of(group, str(node.get("_target_"))):
            keys |= keys_of(schema, path)
    return keys


def sweep_keys() -> dict[str, Any]:
    """Key -> type, of what only many runs have."""
    sections = {"pool": Pool, "sweep": Sweep, "hydra.sweeper": Settings, "hydra.launcher": RayLauncher}
    return {"hydra.sweep.dir": str} | {
        key: one for path, schema in sections.items() for key, one in keys_of(schema, path).items()
    }


def keys_of(schema: type[Section], path: str = "") -> dict[str, Any]:
    """Key -> type, with its limits, of a section that stands at `path`."""
    found = {}
    for name, item in schema.model_fields.items():
        annotation = item.annotation
        if item.metadata:
            annotation = Annotated[annotation, *item.metadata]
        found[f"{path}.{item.alias or name}" if path else item.alias or name] = annotation
    return found


@cache
def options(group: str) -> list[str]:
    """The choices of a group; of what is too large for a CPU, and so has a small form, that form."""
    found = {file.stem for file in (conf_dir() / group).glob("*.yaml") if not file.stem.startswith("_")}
    return sorted(name for name in found if f"{name}_small" not in found)


@cache
def default(group: str) -> str:
    found = re.search(rf"^  - {group}: (\w+)$", (conf_dir() / "train.yaml").read_text(), re.MULTILINE)
    return found[1] if found else ""


@cache
def nodes(group: str, choice: str) -> list[tuple[str, dict[str, Any]]]:
    """Key and content of each component that a choice has."""
    content = yaml.safe_load((conf_dir() / group / f"{choice}.yaml").read_text()) or {}
    content.pop("defaults", None)
    if GROUPS[group].several:
        return [(f"{group}.{name}", node) for name, node in content.items()]
    return [(group, content)]
