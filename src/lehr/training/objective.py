"""What is minimised, of its part of a configuration, and how the players that its terms bring are trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lehr import randomness
from lehr.config.build import build
from lehr.errors import ConfigError
from lehr.models.autoencoder import Autoencoder
from lehr.objective.bounds import Objective
from lehr.objective.terms.composed import WithTerms
from lehr.objective.terms.term import LossTerm, PlayerOptions
from lehr.run.directory import RunDirectory
from lehr.run.model_files import read_model
from lehr.training.optimizers import adam
from lehr.training.players import PlayerPlan


def build_objective(config: Mapping[str, Any], model: Autoencoder, trust: tuple[str, ...]) -> Objective:
    """What is minimised, with the terms that are configured; their networks begin as the seed says."""
    base = build(config["objective"], Objective, key="objective", trust=trust)
    given = {
        "image_shape": model.image_shape,
        "latent_shape": model.latent_shape,
        "load_model": lambda run: read_model(RunDirectory(Path(run)).model, trust)[0],
    }
    terms = {}
    for name, node in (config.get("terms") or {}).items():
        if node:
            with randomness.seeded(config["seed"], f"weights/terms/{name}"):  # whatever terms there are besides
                terms[name] = build(node, LossTerm, key=f"terms.{name}", trust=trust, **given)
    return WithTerms(base, terms) if terms else base


def plan_beside(options: PlayerOptions, plan: PlayerPlan) -> PlayerPlan:
    """How a player that a term brings is trained, beside an autoencoder that is so by `plan`."""
    own = plan.options.get("lr")
    lr = own if options.lr is None else options.lr
    if lr is None:
        raise ConfigError("terms: the optimizer has no lr that a discriminator could have as well; say its own lr")
    cls = torch.optim.AdamW if options.weight_decay else torch.optim.Adam
    values = adam(lr, options.betas, weight_decay=options.weight_decay)
    final_lr = plan.final_lr * lr / (own or lr)  # what is configured is where the autoencoder's rate ends
    return PlayerPlan(cls, values, decay=plan.decay, final_lr=final_lr, clip=options.clip)
