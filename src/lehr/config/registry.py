"""The groups of components that a run is made of. Classes are named, not imported."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from lehr.needs import DENSITY, Need

ALLOWED_PACKAGES = ("lehr", "torch", "lightning", "diffusers")
"""Packages whose classes a configuration may name without being asked to trust them."""


FIRST_STAGE = ("lehr.models.KLAutoencoder", "lehr.models.TinyAutoencoder", "lehr.models.VQAutoencoder")
"""Models whose networks are diffusers'."""


@dataclass(frozen=True)
class Group:
    """What a section of the configuration builds.

    Attributes:
        base: the class that all of its classes are subclasses of.
        given: arguments that code gives.
        given_to_own: such that only classes of lehr take.
        described: class -> what describes its arguments in its place: another package does not state limits.
        plan: a dataclass whose arguments each component has besides its own.
        plan_given: those arguments of `plan` that code gives.
        provides: what a class of the group provides that does not say so itself, or that it does not.
        extras: class -> the extra of lehr that brings the packages that it imports, and these.
        several: whether there are several, each with a name.
        optional: whether there may be none.
    """

    base: str
    given: tuple[str, ...] = ()
    given_to_own: tuple[str, ...] = ()
    described: Mapping[str, str] = field(default_factory=dict)
    plan: str | None = None
    plan_given: tuple[str, ...] = ()
    provides: tuple[Need, ...] = ()
    extras: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    several: bool = False
    optional: bool = False

    def gives(self, target: str) -> frozenset[str]:
        """The arguments that code gives to this class."""
        own = self.given_to_own if target.startswith("lehr.") else ()
        return frozenset((*self.given, *own))


GROUPS: dict[str, Group] = {
    "data": Group(
        "lehr.data.module.ImageDataModule",
        given_to_own=("content",),
        extras={"lehr.data.HubImages": ("images", ("datasets",))},
    ),
    "model": Group(
        "lehr.models.autoencoder.Autoencoder",
        given=("image_shape",),
        provides=(DENSITY,),
        extras=dict.fromkeys(FIRST_STAGE, ("images", ("diffusers",))),
    ),
    "likelihood": Group("lehr.objective.likelihood.Likelihood"),
    "kl": Group("lehr.objective.rate.RateTerm"),
    "prior": Group("lehr.objective.prior.Prior", given=("latent_shape", "image_shape")),
    "objective": Group("lehr.objective.bounds.Objective"),
    "terms": Group(
        "lehr.objective.terms.term.LossTerm",
        given=("image_shape", "latent_shape", "load_model"),
        several=True,
        optional=True,
    ),
    "optimizer": Group(
        "torch.optim.Optimizer",
        given=("params",),
        described=dict.fromkeys(("torch.optim.Adam", "torch.optim.AdamW"), "lehr.training.optimizers.adam"),
        plan="lehr.training.players.PlayerPlan",
        plan_given=("optimizer", "options", "clip"),
    ),
    "ema": Group("lehr.training.ema.EMAPlan", optional=True),
    "callbacks": Group("lightning.pytorch.Callback", several=True),
    "logger": Group(
        "lightning.pytorch.loggers.Logger",
        given_to_own=("save_dir", "purge_step", "points"),
        extras={
            "lehr.training.WandB": ("wandb", ("wandb",)),
            "lehr.training.MLflow": ("mlflow", ("mlflow", "sqlalchemy", "alembic")),
        },
        several=True,
        optional=True,
    ),
}


def conf_dir() -> Path:
    """The shipped configuration: inside the package where it was installed, beside `src` in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


@cache
def targets(group: str) -> tuple[str, ...]:
    """The classes that the shipped files of a group name, each once; that of `lehr train` without a word first."""
    first = _defaults().get(group, "")
    files = sorted((conf_dir() / group).glob("*.yaml"), key=lambda file: (file.stem != first, file.name))
    found = (re.findall(r"^ *_target_: *([\w.]+)", file.read_text(), re.MULTILINE) for file in files)
    return tuple(dict.fromkeys(target for targets in found for target in targets))


@cache
def _defaults() -> dict[str, str]:
    """Group -> what `lehr train` chooses of it without a word."""
    return dict(re.findall(r"^  - (\w+): (\w+)$", (conf_dir() / "train.yaml").read_text(), re.MULTILINE))


def components(config: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Group, key and section of every component that a training configuration has."""
    for name, group in GROUPS.items():
        section = config.get(name)
        nodes = {name: section}
        if group.several and isinstance(section, Mapping):
            nodes = {f"{name}.{key}": node for key, node in section.items()}
        for key, node in nodes.items():
            if isinstance(node, Mapping):
                yield name, key, node
