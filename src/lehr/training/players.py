"""Who is trained, and how: one optimizer for each player, and one that holds them all, as Lightning counts it.

The autoencoder is a player, and so is each network that an objective brings, such as a discriminator. All losses of a
step are added and go backward at once; an objective keeps one player's parameters out of another's loss. So there is
one optimiser step a step, whoever takes part in it: annealing, `max_steps` and checkpoints count it once.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lehr.errors import CheckpointError, ConfigError
from lehr.limits import NonNegativeFloat, PositiveFloat
from lehr.training.freezing import named_parameters

_STAGES = 8
_STAGE_PARTS = (3**_STAGES - 1) // 2


@dataclass(frozen=True)
class PlayerPlan:
    """How a player is trained.

    Attributes:
        optimizer: a class of optimizers.
        options: its arguments, such as `lr`. What they say counts on resuming too, whatever a checkpoint holds.
        decay: of the learning rate: "none"; "cosine" (Loshchilov & Hutter 2017, without restarts), from the optimizer's
            rate to `final_lr`; or "stages", eight of them, each three times as long as the one before, in which the
            rate falls to a tenth in equal ratios (Burda et al. 2016; 3280 epochs make theirs).
        final_lr: where the cosine ends.
        clip: largest norm of the gradient of this player's parameters; None for no clipping.
        freeze: names of parameters that are not trained, with * and ? as in file names.
    """

    optimizer: Callable[..., torch.optim.Optimizer]
    options: Mapping[str, Any] = field(default_factory=dict)
    decay: Literal["none", "cosine", "stages"] = "none"
    final_lr: NonNegativeFloat = 0.0
    clip: PositiveFloat | None = None
    freeze: Sequence[str] = ()

    def factor(self, step: int, total_steps: int, lr: float) -> float:
        """The learning rate at `step`, as a multiple of the initial `lr`."""
        if self.decay == "none":
            return 1.0
        progress = min(step / total_steps, 1.0)
        if self.decay == "stages":
            # stage i takes 3^i of the 3280 = (3^8 - 1) / 2 parts of the training
            parts = 1 + 2 * progress * _STAGE_PARTS
            stage = min(math.floor(math.log(parts, 3) + 1e-9), _STAGES - 1)
            return round(10 * 10 ** (-stage / (_STAGES - 1)), 1) / 10
        return (self.final_lr + (lr - self.final_lr) * 0.5 * (1 + math.cos(math.pi * progress))) / lr


def decays(name: str, parameter: Tensor) -> bool:
    """Whether weight decay is for this parameter: a matrix or a kernel of a network.

    Pulled towards 0, biases and norms say something else, the scale of a likelihood goes to 1, and a prior's means and
    pseudo-inputs go where no latent and no image is.
    """
    return parameter.ndim > 1 and not name.startswith(("likelihood.", "prior."))


class Player:
    """The parameters of one player, by name, with their optimizer."""

    def __init__(self, plan: PlayerPlan, parameters: Mapping[str, nn.Parameter]) -> None:
        self.plan = plan
        self.names: dict[Tensor, str] = {parameter: name for name, parameter in parameters.items()}
        self.optimizer = plan.optimizer(list(parameters.values()), **plan.options)
        spared = [p for name, p in parameters.items() if not decays(name, p)]
        if spared and self.optimizer.defaults.get("weight_decay"):
            # only then, as every group of parameters is one more call at each step
            decayed = [p for name, p in parameters.items() if decays(name, p)]
            groups = [{"params": spared, "weight_decay": 0.0}]
            self.optimizer = plan.optimizer([{"params": decayed}, *groups] if decayed else groups, **plan.options)
        self._rates = [float(group["lr"]) for group in self.optimizer.param_groups]  # before any decay
        self.norm: Tensor | None = None
        """Of the gradient of the last step, before it was clipped; None where it is not."""
        self.has_loss = True
        """Whether the step at hand has a loss of this player."""

    @property
    def takes_part(self) -> bool:
        """Whether this step has a loss of the player, which gave any of the parameters a gradient."""
        return self.has_loss and any(parameter.grad is not None for parameter in self.names)

    def at_step(self, step: int, total_steps: int) -> None:
        """Set the learning rate of each group to that of optimiser step `step`."""
        for group, lr in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = lr * self.plan.factor(step, total_steps, lr)

    def clip(self) -> None:
        self.norm = None
        if self.plan.clip is not None and self.takes_part:
            self.norm = torch.nn.utils.clip_grad_norm_(list(self.names), self.plan.clip)

    def state_dict(self) -> dict[str, Any]:
        """The state of each parameter by its name, and the options of each group."""
        state = {self.names[parameter]: dict(values) for parameter, values in self.optimizer.state.items()}
        groups = [
            {**group, "params": [self.names[parameter] for parameter in group["params"]]}
            for group in self.optimizer.param_groups
        ]
        return {"state": state, "groups": groups, "kinds": sorted(_kinds(self.optimizer))}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a state; of the options what is configured now counts, and what an optimizer changes is restored.

        What is no longer trained is passed over, and what was not trained before starts afresh, as everything does
        where the optimizer is of another kind.
        """
        if "kinds" in saved and _kinds(self.optimizer).isdisjoint(saved["kinds"]):
            return
        groups = self.optimizer.param_groups
        names = [self.names[parameter] for group in groups for parameter in group["params"]]
        known = {i: saved["state"][name] for i, name in enumerate(names) if name in saved["state"]}
        self.optimizer.load_state_dict({"state": known, "param_groups": _numbered(groups)})
        before = {name: group for group in saved["groups"] for name in group["params"]}
        ours = {"params", *self.plan.options, *_arguments(self.optimizer)}
        for group in self.optimizer.param_groups:
            options = before.get(self.names[group["params"][0]], {})
            group.update({name: value for name, value in options.items() if name in group and name not in ours})


def _kinds(optimizer: torch.optim.Optimizer) -> set[str]:
    """The names of its class and of those that it is made from, such as AdamW and Adam, whose states are alike."""
    return {cls.__name__ for cls in type(optimizer).__mro__ if cls not in torch.optim.Optimizer.__mro__}


def _wants_closure(optimizer: torch.optim.Optimizer) -> bool:
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def _arguments(optimizer: torch.optim.Optimizer) -> set[str]:
    """What the constructor takes, and what those that it calls take."""
    classes = [cls for cls in type(optimizer).__mro__ if cls not in torch.optim.Optimizer.__mro__]
    return {name for cls in classes for name in inspect.signature(cls).parameters}


def _numbered(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups as torch's `load_state_dict` wants them: parameters are numbers, counted over all groups."""
    numbered, count = [], 0
    for group in groups:
        numbered.append({**group, "params": list(range(count, count + len(group["params"])))})
        count += len(group["params"])
    return numbered


class Players(torch.optim.Optimizer):
    """The optimizers of all players as one. A player without a loss in a step, or without a gradient, does not move.

    Args:
        players: by name.
        total_steps: optimiser steps of the whole training, over which learning rates decay.
    """

    _step_supports_amp_scaling = False  # the scaler unscales all gradients before they are clipped

    def __init__(self, players: Mapping[str, Player], total_steps: int) -> None:
        # not the base class's constructor: groups and states are those of the optimizers within
        self.players = dict(players)
        self.total_steps = total_steps
        self._first = next(iter(self.players.values())).optimizer
        self.defaults = self._first.defaults
        self._several = len(self.players) > 1
        self.want_closures = any(_wants_closure(player.optimizer) for player in self.players.values())
        """Whether an optimizer computes the loss itself, as often as it likes."""
        if self._several and self.want_closures:
            raise ConfigError(
                "players: an optimizer that computes the loss itself, such as LBFGS, can only train alone"
            )
        self._decaying = [player for player in self.players.values() if player.plan.decay != "none"]

    @classmethod
    def of(
        cls, networks: Mapping[str, Mapping[str, nn.Module]], plans: Mapping[str, PlayerPlan], total_steps: int
    ) -> Players:
        """The players of these plans, of the parameters that are not frozen: see `freeze_parts`.

        Args:
            networks: player -> what the names of its parameters begin with -> module.
            plans: player -> how it is trained.
            total_steps: of the whole training.
        """
        players = {}
        for name, plan in plans.items():
            trained = {n: p for n, p in named_parameters(networks[name]) if p.requires_grad}
            players[name] = Player(plan, trained)
        return cls(players, total_steps)

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        return [group for player in self.players.values() for group in player.optimizer.param_groups]

    @property
    def state(self) -> dict[Tensor, Any]:  # type: ignore[override]
        return {p: values for player in self.players.values() for p, values in player.optimizer.state.items()}

    def take_part(self, names: Collection[str]) -> None:
        """Say which players have a loss in the step at hand; the others are held still, whatever their gradients."""
        for name, player in self.players.items():
            player.has_loss = name in names

    def nothing(self) -> Tensor | float:
        """0 with a gradient of 0 to each parameter of the players without a loss: DDP waits for a gradient of each."""
        held = [parameter for player in self.players.values() if not player.has_loss for parameter in player.names]
        return sum(((parameter * 0).sum() for parameter in held), 0.0)

    def at_step(self, step: int) -> None:
        """Set every learning rate to that of optimiser step `step`."""
        for player in self._decaying:
            player.at_step(step, self.total_steps)

    def learning_rates(self) -> dict[str, float]:
        """The learning rate that each player's optimizer has now; of a group that has another one, with its number."""
        found = {}
        for name, player in self.players.items():
            first, *others = (float(group["lr"]) for group in player.optimizer.param_groups)
            found[name] = first
            found |= {f"{name}_group{i}": lr for i, lr in enumerate(others, start=1) if lr != first}
        return found

    def gradient_norms(self) -> dict[str, float]:
        """The norm of each player's gradient in the last step, before it was clipped; of those that are clipped."""
        return {name: float(player.norm) for name, player in self.players.items() if player.norm is not None}

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every player that takes part, after the `closure` that computes it."""
        if not self._several:
            return self._first.step(closure)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for player in self.players.values():
            if player.takes_part:
                player.optimizer.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        for player in self.players.values():
            for parameter in player.names:
                if set_to_none:
                    parameter.grad = None
                elif parameter.grad is not None:
                    parameter.grad.zero_()

    def clip(self) -> None:
        """Clip the gradients of each player to its own norm."""
        for player in self.players.values():
            player.clip()

    @torch.no_grad()
    def forget(self, parameter: Tensor, rows: Tensor) -> None:
        """Let the running means of these rows (n,) of a parameter be 0: what stands there now is something else."""
        for value in self.state.get(parameter, {}).values():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                value[rows] = 0

    def state_dict(self) -> dict[str, Any]:
        return {name: player.state_dict() for name, player in self.players.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave, or what the optimizer of a single player had of its parameters by number."""
        if "param_groups" in state_dict:
            ((name, player),) = self.players.items()
            state_dict = {name: _named(state_dict, list(player.names.values()))}
        for name, player in self.players.items():
            if name not in state_dict:
                raise CheckpointError(f"the checkpoint has no player {name}")
            player.load_state_dict(state_dict[name])

    def __repr__(self) -> str:
        return f"Players({', '.join(f'{name}: {player.optimizer}' for name, player in self.players.items())})"


def _named(state_dict: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """The state of a torch optimizer over the parameters of these names, in their order, by name.

    Raises:
        CheckpointError: if there were more or fewer parameters: what they were called is then not known.
    """
    trained = sum(len(group["params"]) for group in state_dict["param_groups"])
    if trained != len(names):
        raise CheckpointError(
            f"the checkpoint of an earlier version trained {trained} parameters, and now there are {len(names)}: "
            "go on with it once without optimizer.freeze"
        )
    groups = [{**group, "params": [names[i] for i in group["params"]]} for group in state_dict["param_groups"]]
    return {"state": {names[i]: values for i, values in state_dict["state"].items()}, "groups": groups}
