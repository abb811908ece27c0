"""The weights of many modules of one kind as rows of a matrix, and a step of training for all of them at once.

`torch.func.vmap` runs the objective over the rows, so that a step of L small models costs the calls of one. What a lane
gets is what it would get alone, to rounding: its noise, its batches, its KL weight, its learning rate, its clipping.

Shapes: L lanes, P numbers of each that are trained, b examples of a batch, c h w image, k terms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lehr.models.components import Components
from lehr.objective.rate import Values
from lehr.objective.step import AUTOENCODER, StepInputs, StepResult, Term
from lehr.training.module import VAEModule
from lehr.training.players import Player

_STATES = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Stacked:
    """Tensors of all lanes, or one that they share.

    Attributes:
        tensor: (L, ...), or (...) where `shared`.
        shared: whether every lane has the same.
    """

    tensor: Tensor
    shared: bool

    @classmethod
    def of(cls, keys: Sequence[Any], make: Callable[[int], Tensor]) -> Stacked:
        """What `make` gives for each lane; it is asked once for lanes of one key, which have the same."""
        made: dict[Any, Tensor] = {}
        for lane, key in enumerate(keys):
            if key not in made:
                made[key] = make(lane)
        if len(made) == 1:
            return cls(next(iter(made.values())), shared=True)
        return cls(torch.stack([made[key] for key in keys]), shared=False)

    @property
    def dim(self) -> int | None:
        """As `vmap` wants it."""
        return None if self.shared else 0


@dataclass(frozen=True)
class Diagnosed:
    """What is left of a posterior once it has been looked at."""

    found: Mapping[str, Tensor]
    usage: None = None  # of codes, which lanes have none of

    def diagnostics(self) -> Mapping[str, Tensor]:
        """As those of `Posterior`."""
        return self.found


@dataclass(frozen=True)
class Taken:
    """A step that was taken for all lanes.

    Attributes:
        terms: of the losses, with the weights that are the same for all.
        finite: of each lane, whether its terms are.
        losses: (L,)
        values: (L, k) of each of the `terms`.
        weights: (L,) of each term that has another in each lane.
        rate: `kl_weight` (L,), where there is a rate.
        diagnosed: (L,) of each diagnostic of the posteriors, where the step is logged.
    """

    terms: Mapping[str, Term]
    finite: Sequence[bool]
    losses: Tensor
    values: Tensor
    weights: Mapping[str, Tensor]
    rate: Mapping[str, Tensor]
    diagnosed: Mapping[str, Tensor]

    def of(self, lane: int) -> StepResult:
        """What the step was for a lane, without gradients."""
        terms = {
            name: replace(term, weight=float(self.weights[name][lane])) if name in self.weights else term
            for name, term in self.terms.items()
        }
        posterior: Any = Diagnosed({name: value[lane].detach() for name, value in self.diagnosed.items()})
        weight = float(self.rate["kl_weight"][lane]) if self.rate else None
        return StepResult({AUTOENCODER: self.losses[lane]}, terms, self.values[lane], weight, posterior)


class _Template(nn.Module):
    """The parts of one lane under the names of their parameters; called with the weights of all."""

    def __init__(self, components: Components) -> None:
        super().__init__()
        self.model = components.model
        self.likelihood = components.likelihood
        self.prior = components.prior
        self.rate_term = components.rate_term
        self.objective = components.objective

    def forward(self, inputs: StepInputs) -> StepResult:
        return self.objective.step(inputs, self)


class Program:
    """Modules whose weights, buffers and optimizer states are from now on rows of tensors that they share.

    What each module, and its optimizer, holds are views of its row: so whatever looks at a lane between two steps, a
    validation or a checkpoint, finds what it has come to.

    Args:
        modules: with their optimizers, all alike but for numbers. See `unfit` for what cannot be.
    """

    def __init__(self, modules: Sequence[VAEModule]) -> None:
        self.modules = list(modules)
        self._players = [_player(module) for module in modules]
        first = self._players[0]
        self._template = _Template(modules[0].components)
        trained = [[p for group in player.optimizer.param_groups for p in group["params"]] for player in self._players]
        self._names = [first.names[p] for p in trained[0]]
        self._shapes = [p.shape for p in trained[0]]
        sizes = [p.numel() for p in trained[0]]
        stops = torch.tensor(sizes).cumsum(0).tolist()
        self._spans = list(zip([0, *stops[:-1]], stops, strict=True))
        counts = [sum(p.numel() for p in group["params"]) for group in first.optimizer.param_groups]
        ends = torch.tensor(counts).cumsum(0).tolist()
        self._groups = list(zip([0, *ends[:-1]], ends, strict=True))  # of columns: one for each group of the optimizer
        like = trained[0][0]
        lanes, width = len(self.modules), sum(sizes)
        self._rows = {name: like.new_zeros(lanes, width) for name in ("weights", "grads", *_STATES)}
        self._steps = torch.zeros(lanes, device=like.device)
        with torch.no_grad():
            for lane, (player, parameters) in enumerate(zip(self._players, trained, strict=True)):
                self._take(lane, player, parameters)
        self._leaves = [
            self._rows["weights"][:, a:b].view(lanes, *shape).detach().requires_grad_()
            for (a, b), shape in zip(self._spans, self._shapes, strict=True)
        ]
        self._others = self._take_others()
        self._noise_shape: tuple[int, ...] | None = None
        self._terms: dict[str, Term] = {}

    def _take(self, lane: int, player: Player, parameters: Sequence[nn.Parameter]) -> None:
        """Move the weights of a lane, and the state of its optimizer, into its row."""
        for parameter, (a, b), shape in zip(parameters, self._spans, self._shapes, strict=True):
            state = player.optimizer.state[parameter]
            rows = {name: self._rows[name][lane, a:b].view(shape) for name in ("weights", *_STATES)}
            rows["weights"].copy_(parameter)
            parameter.data = rows["weights"]
            parameter.grad = None
            if state:
                self._steps[lane] = float(state["step"])
            for name in _STATES:
                if name in state:
                    rows[name].copy_(state[name])
                state[name] = rows[name]
            state["step"] = self._steps[lane]

    def _take_others(self) -> dict[str, Tensor]:
        """What is not trained, by name: (L, ...). Buffers of the lanes become views of theirs."""
        templates = [_Template(module.components) for module in self.modules]
        found: dict[str, Tensor] = {}
        for name, _ in templates[0].named_parameters():
            if name not in self._names:
                found[name] = torch.stack([template.get_parameter(name).detach() for template in templates])
        for name, _ in templates[0].named_buffers():
            found[name] = torch.stack([template.get_buffer(name) for template in templates])
            owner, _, leaf = name.rpartition(".")
            for lane, template in enumerate(templates):
                template.get_submodule(owner)._buffers[leaf] = found[name][lane]
        return found

    def noise_shape(self, image: Tensor) -> tuple[int, ...]:
        """The noise that an example wants, found with the first lane and one `image` (1, c, h, w)."""
        if self._noise_shape is None:
            with torch.no_grad():
                posterior = self._template.model.encode(image)
                self._noise_shape = self._template.objective.noise_shape(posterior)
        return self._noise_shape

    def step(
        self, images: Stacked, noise: Stacked, values: Sequence[Values], facts: StepInputs, held: Sequence[bool]
    ) -> Taken:
        """One step of every lane that is not `held`, nor has become NaN in this one: those are left as they were.

        Args:
            images: of each lane, (b, c, h, w).
            noise: of each lane, (b, *noise_shape).
            values: of each lane, the numbers of its rate term in effect.
            facts: of the step, for all lanes.
            held: whether a lane does not move.

        """
        names = list(values[0])
        device = self._steps.device
        numbers = {n: torch.tensor([v[n] for v in values], dtype=torch.float64, device=device) for n in names}
        tensors = dict(zip(self._names, self._leaves, strict=True)) | self._others

        def one(tensors: dict[str, Tensor], images: Tensor, noise: Tensor, values: dict[str, Tensor]) -> Any:
            inputs = StepInputs(
                images, lambda shape: noise, values, facts.step, facts.total, facts.n_train, 1, lambda sums: sums,
                is_logged=facts.is_logged,
            )  # fmt: skip
            result = functional_call(self._template, tensors, (inputs,))
            self._terms = dict(result.terms)
            weights = {n: t.weight for n, t in result.terms.items() if isinstance(t.weight, Tensor)}
            rate = {} if result.kl_weight is None else {"kl_weight": torch.as_tensor(result.kl_weight)}
            diagnosed = dict(result.posterior.diagnostics()) if facts.is_logged else {}
            return result.losses[AUTOENCODER], result.values, weights, rate, diagnosed

        # what a term draws by its own seed is the same for all
        over_lanes = torch.vmap(one, in_dims=(0, images.dim, noise.dim, 0), randomness="same")
        losses, found, weights, rate, diagnosed = over_lanes(tensors, images.tensor, noise.tensor, numbers)
        loss = losses * (1 / facts.total)
        grads = torch.autograd.grad(loss.sum(), self._leaves, allow_unused=True)
        finite = found.isfinite().all(1).tolist()
        moves = [lane for lane in range(len(self.modules)) if finite[lane] and not held[lane]]
        self._update(grads, moves, facts.step)
        return Taken(self._terms, finite, losses.detach(), found.detach(), weights, rate, diagnosed)

    def _update(self, grads: Sequence[Tensor | None], moves: Sequence[int], step: int) -> None:
        rows = self._rows
        for grad, (a, b) in zip(grads, self._spans, strict=True):
            if grad is not None:
                rows["grads"][:, a:b] = grad.reshape(len(grad), -1)
        self._clip()
        for module in self.modules:
            assert module.players is not None
            module.players.at_step(step)
        alike: dict[Any, list[int]] = {}
        for lane in moves:
            options = [tuple(sorted(_options(g).items())) for g in self._players[lane].optimizer.param_groups]
            alike.setdefault(tuple(options), []).append(lane)
        with torch.no_grad():
            for options, lanes in alike.items():
                steps = [self._steps[lane] for lane in lanes]
                torch._foreach_add_(steps, 1)
                for (a, b), group in zip(self._groups, options, strict=True):
                    cut = [[rows[name][lane, a:b] for lane in lanes] for name in ("weights", "grads", *_STATES)]
                    fused = torch._fused_adamw_ if self._decoupled else torch._fused_adam_
                    fused(*cut, [], steps, amsgrad=False, maximize=False, **dict(group))

    @property
    def _decoupled(self) -> bool:
        return isinstance(self._players[0].optimizer, torch.optim.AdamW)

    def _clip(self) -> None:
        """Each lane's gradient to its own norm, as `clip_grad_norm_` does."""
        if all(player.plan.clip is None for player in self._players):
            return
        norms = self._rows["grads"].norm(dim=1)
        limits = [float("inf") if player.plan.clip is None else player.plan.clip for player in self._players]
        factors = (norms.new_tensor(limits) / (norms + 1e-6)).clamp(max=1.0)
        self._rows["grads"].mul_(factors[:, None])
        for player, norm in zip(self._players, norms, strict=True):
            player.norm = None if player.plan.clip is None else norm


def _player(module: VAEModule) -> Player:
    assert module.players is not None
    return module.players.players[AUTOENCODER]


def _options(group: Mapping[str, Any]) -> dict[str, Any]:
    beta1, beta2 = group["betas"]
    own = {name: float(group[name]) for name in ("lr", "weight_decay", "eps")}
    return {**own, "beta1": float(beta1), "beta2": float(beta2)}
