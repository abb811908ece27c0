"""Parts of a model that are not trained: stopped by the names of their parameters, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from torch import nn

from lehr.config.problems import did_you_mean
from lehr.errors import ConfigError

if TYPE_CHECKING:
    from lehr.training.players import PlayerPlan


def freeze_parts(networks: Mapping[str, Mapping[str, nn.Module]], plans: Mapping[str, PlayerPlan]) -> None:
    """Freeze what the plans of the players say: before DDP takes the parameters whose gradients it waits for.

    Args:
        networks: player -> what the names of its parameters begin with -> module.
        plans: player -> how it is trained.

    Raises:
        ConfigError: for a player without a plan or a plan without a player, a pattern that freezes nothing, or
            nothing that is trained.
    """
    if unpaired := networks.keys() ^ plans.keys():
        raise ConfigError(f"players: there is either no network or no plan for {', '.join(sorted(unpaired))}")
    for name, plan in plans.items():
        freeze(networks[name], plan.freeze)
        if any(p.requires_grad for _, p in named_parameters(networks[name])):
            continue
        if plan.freeze:
            raise ConfigError(f"optimizer.freeze=[{', '.join(plan.freeze)}]: leaves nothing to train; name fewer")
        raise ConfigError(f"{name}: has nothing to train: none of its parameters requires a gradient")


def freeze(modules: Mapping[str, nn.Module], patterns: Iterable[str]) -> None:
    """Stop the training of the parameters whose names match.

    Args:
        modules: what a name begins with -> the module.
        patterns: of names of parameters, `model.encoder.*` say.

    Raises:
        ConfigError: for a pattern that no name matches.
    """
    parameters = dict(named_parameters(modules))
    for pattern in patterns:
        found = [parameter for name, parameter in parameters.items() if fnmatchcase(name, pattern)]
        if not found:
            hint = did_you_mean(pattern, _sections(parameters))
            raise ConfigError(f"optimizer.freeze={pattern}: no parameter has such a name{hint}")
        for parameter in found:
            parameter.requires_grad_(False)


def drift(model: nn.Module, plan: PlayerPlan) -> str | None:
    """What there is to say where an encoder is frozen, and what else decides on its latents is trained."""
    trained: dict[str, bool] = {}
    for name, _ in named_parameters({"model": model}):
        part = name.split(".")[1]
        trained[part] = trained.get(part, False) or not any(fnmatchcase(name, pattern) for pattern in plan.freeze)
    others = [part for part in ("quant_conv", "quantize") if trained.get(part)]
    if trained.get("encoder", True) or not others:
        return None
    freeze = ",".join(f"model.{part}.*" for part in ("encoder", "quant_conv", "quantize") if part in trained)
    return (
        f"note: the encoder is frozen, and {' and '.join(others)} trained: latents of an image become others; to keep "
        f"them say optimizer.freeze=[{freeze}]"
    )


def _sections(names: Iterable[str]) -> set[str]:
    """The pattern of each part that has parameters: model.*, model.encoder.*, ..."""
    parts = [name.split(".") for name in names]
    return {".".join(path[:depth]) + ".*" for path in parts for depth in range(1, len(path))}


def named_parameters(modules: Mapping[str, nn.Module]) -> Iterator[tuple[str, nn.Parameter]]:
    """Every parameter of `modules` by its name, each once."""
    for prefix, module in modules.items():
        yield from module.named_parameters(prefix)
