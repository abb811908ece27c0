"""The weights of many modules of one kind in tensors that all share, and a step of training for all of them at once.

`torch.func.vmap` runs the objective over the lanes, so that a step of L small models costs the calls of one. What a
lane gets is what it would get alone, to rounding: its noise, batches, KL weight, learning rate, clipping.

Shapes: L lanes, b examples of a batch, c h w image, k terms.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lehr.models.components import Components
from lehr.objective.rate import Values
from lehr.objective.step import AUTOENCODER, StepInputs, StepResult, Term
from lehr.training.fused.averages import Averages
from lehr.training.fused.linear import LinearInOneCall
from lehr.training.fused.recorded import Recording, recorded
from lehr.training.fused.taken import Facts, Stacked, Taken
from lehr.training.module import VAEModule
from lehr.training.players import Player

_STATES = ("exp_avg", "exp_avg_sq")
_IN_VECTOR = 16 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 8  # numbers of 4 bytes in 64 or in 32


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


@dataclass(frozen=True)
class _Block:
    """A parameter of all lanes.

    Attributes:
        name: of the parameter.
        group: the number of the optimizer's group that it is in.
        weights: (L, *shape)
        states: the moments that Adam keeps, each (L, *shape), by name.
    """

    name: str
    group: int
    weights: Tensor
    states: Mapping[str, Tensor]

    @classmethod
    def of(cls, group: int, player: Sequence[Player], parameters: Sequence[nn.Parameter]) -> _Block:
        """Move a parameter of each lane, and what its optimizer knows of it, into one; they become views of that."""
        weights = torch.stack([parameter.detach() for parameter in parameters])
        states = {name: torch.zeros_like(weights) for name in _STATES}
        for lane, (own, parameter) in enumerate(zip(player, parameters, strict=True)):
            known = own.optimizer.state[parameter]
            for name, block in states.items():
                if name in known:
                    block[lane].copy_(known[name])
                known[name] = block[lane]
            parameter.data, parameter.grad = weights[lane], None
        return cls(player[0].names[parameters[0]], group, weights.requires_grad_(), states)

    def cut(self, start: int, stop: int, grad: Tensor) -> list[tuple[Tensor, ...]]:
        """Weights, moments and gradient of the lanes from `start` to `stop`, as Adam may be given them.

        Its kernel treats the last few numbers of a tensor in a way of its own. So that no lane's rounding hangs on
        which others there are, only what ends where a vector ends is given for all of these lanes at once.
        """
        every = (self.weights.detach(), *self.states.values(), grad)
        ends = range(start, stop + 1) if self.weights[0].numel() % _IN_VECTOR else (start, stop)
        return [tuple(tensor[i:j] for tensor in every) for i, j in pairwise(ends)]


class Program:
    """Modules whose weights, buffers and optimizer states are from now on parts of tensors that they share.

    What each module, and its optimizer, holds are views of its part: so whatever looks at a lane between two steps, a
    validation or a checkpoint, finds what it has come to.

    Args:
        modules: with their optimizers, all alike but for numbers. See `kinds` for what cannot be.
        forward_context: what the forward pass runs in, for the sake of its precision.

    Attributes:
        averages: of the weights, where the modules have such; to be updated after a step.
    """

    def __init__(
        self,
        modules: Sequence[VAEModule],
        forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.modules = list(modules)
        self._forward_context = forward_context
        self._players = [_player(module) for module in modules]
        self._template = _Template(modules[0].components)
        self._linear_in_one_call = LinearInOneCall(self._template)
        groups = [
            [(number, p) for number, group in enumerate(player.optimizer.param_groups) for p in group["params"]]
            for player in self._players
        ]
        known = [player.optimizer.state[of[0][1]] for player, of in zip(self._players, groups, strict=True)]
        self._steps = torch.tensor([float(state.get("step", 0)) for state in known], device=modules[0].device)
        self._blocks = []
        for same in zip(*groups, strict=True):
            parameters = [parameter for _, parameter in same]
            self._blocks.append(_Block.of(same[0][0], self._players, parameters))
            for lane, (player, parameter) in enumerate(zip(self._players, parameters, strict=True)):
                player.optimizer.state[parameter]["step"] = self._steps[lane]
        self._others = self._take_others()
        emas = [ema for module in modules if (ema := module.averaging.ema)]
        self.averages = Averages(emas, self._tensors) if emas else None
        self._noise_shape: tuple[int, ...] | None = None
        self._terms: Mapping[str, Term] = {}
        self._recordings: dict[Hashable, tuple[Mapping[str, Term], Recording | None]] = {}

    def _take_others(self) -> dict[str, Tensor]:
        """What is not trained, by name: (L, ...). Buffers of the lanes become views of theirs."""
        templates = [_Template(module.components) for module in self.modules]
        found: dict[str, Tensor] = {}
        for name, _ in templates[0].named_parameters():
            if all(name != block.name for block in self._blocks):
                found[name] = torch.stack([template.get_parameter(name).detach() for template in templates])
        for name, _ in templates[0].named_buffers():
            found[name] = torch.stack([template.get_buffer(name) for template in templates])
            owner, _, leaf = name.rpartition(".")
            for lane, template in enumerate(templates):
                template.get_submodule(owner)._buffers[leaf] = found[name][lane]
        return found

    @property
    def _tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers by name: (L, ...)."""
        return {block.name: block.weights for block in self._blocks} | self._others

    def noise_shape(self, image: Tensor) -> tuple[int, ...]:
        """The noise that an example wants, found with the first lane and one `image` (1, c, h, w)."""
        if self._noise_shape is None:
            with torch.no_grad():
                posterior = self._template.model.encode(image)
                self._noise_shape = self._template.objective.noise_shape(posterior)
        return self._noise_shape

    def step(
        self, images: Stacked, noise: Stacked, values: Sequence[Values], facts: Facts, held: Sequence[bool]
    ) -> Taken:
        """One step of every lane that is not `held`, nor has become NaN in this one: those are left as they were.

        Args:
            images: of each lane, (b, c, h, w).
            noise: of each lane, (b, *noise_shape).
            values: of each lane, the numbers of its rate term in effect.
            facts: of the step.
            held: whether a lane does not move.
        """
        grads, losses, found, weights, rate, diagnosed = self._computed(images, noise, values, facts)
        finite = found.isfinite().all(1).tolist()
        moves = [lane for lane in range(len(self.modules)) if finite[lane] and not held[lane]]
        self._update(grads, moves, facts.steps)
        return Taken(self._terms, finite, losses, found, weights, rate, diagnosed)

    def _computed(self, images: Stacked, noise: Stacked, values: Sequence[Values], facts: Facts) -> Any:
        """What `_compute` gives: recorded the first time, and from then on without asking `vmap` and autograd."""
        device = self._steps.device
        numbers = {n: torch.tensor([v[n] for v in values], dtype=torch.float64, device=device) for n in values[0]}
        inputs = [*self._tensors.values(), images.tensor, noise.tensor, *numbers.values()]
        key = (facts.total, facts.n_train, facts.is_logged, images.dim, noise.dim, *(one.shape for one in inputs))
        if key in self._recordings:
            self._terms, recording = self._recordings[key]
            if recording is not None:
                return recording(*inputs)
        compute = partial(self._compute, dims=(images.dim, noise.dim), names=list(numbers), facts=facts)
        if key in self._recordings:
            return compute(*inputs)
        outputs, recording = recorded(compute, inputs)
        self._recordings[key] = self._terms, recording
        return outputs

    def _compute(
        self, *inputs: Tensor, dims: tuple[int | None, int | None], names: Sequence[str], facts: Facts
    ) -> tuple[Any, ...]:
        """Gradients of the blocks, and losses, values, weights of terms, rate and diagnostics as of `Taken`.

        Args:
            inputs: `_tensors` of all lanes, images, noise, and the numbers of the rate terms, each (L,).
            dims: of images and noise, as `vmap` wants them.
            names: of the numbers.
            facts: of the step.
        """
        tensors = dict(zip(self._tensors, inputs, strict=False))
        images, noise, *numbers = inputs[len(tensors) :]
        weights = {block.name: tensors[block.name].detach().requires_grad_() for block in self._blocks}

        def one(
            tensors: dict[str, Tensor], images: Tensor, noise: Tensor, values: dict[str, Tensor], lane: Tensor
        ) -> Any:
            inputs = StepInputs(
                images, lambda shape: noise, values, -1, facts.total, facts.n_train, 1, lambda sums: sums,
                is_logged=facts.is_logged, of_step=self._of_steps(facts.steps, lane),
            )  # fmt: skip
            result = functional_call(self._template, tensors, (inputs,))
            self._terms = dict(result.terms)
            weights = {n: t.weight for n, t in result.terms.items() if isinstance(t.weight, Tensor)}
            rate = {} if result.kl_weight is None else {"kl_weight": torch.as_tensor(result.kl_weight)}
            diagnosed = dict(result.posterior.diagnostics()) if facts.is_logged else {}
            return result.losses[AUTOENCODER], result.values, weights, rate, diagnosed

        lanes = torch.arange(len(self.modules), device=self._steps.device)
        over_lanes = torch.vmap(one, in_dims=(0, *dims, 0, 0), randomness="same")  # what `make` gives
        with self._forward_context(), self._linear_in_one_call:
            losses, found, *others = over_lanes(
                tensors | weights, images, noise, dict(zip(names, numbers, strict=True)), lanes
            )
        loss = losses * (1 / facts.total)
        grads = torch.autograd.grad(loss.sum(), list(weights.values()), allow_unused=True)
        return grads, losses.detach(), found.detach(), *others

    def _of_steps(self, steps: Sequence[int], lane: Tensor) -> Callable[[Callable[[int, int], Tensor]], Tensor]:
        """What a function of seed and step gives at those of a lane (), within `vmap` over the lanes."""

        def found(make: Callable[[int, int], Tensor]) -> Tensor:
            seeds = [module.rate_term.seed for module in self.modules]
            made = Stacked.of(list(zip(seeds, steps, strict=True)), lambda lane: make(seeds[lane], steps[lane]))
            return made.tensor if made.shared else made.tensor.index_select(0, lane[None])[0]

        return found

    @torch.no_grad()
    def _update(self, grads: Sequence[Tensor | None], moves: Sequence[int], at: Sequence[int]) -> None:
        """A step of Adam for the lanes that move; what has no gradient stays, as alone."""
        # as Adam's one kernel reads them, in the order of the weights in memory
        moved = [
            (block, grad.contiguous()) for block, grad in zip(self._blocks, grads, strict=True) if grad is not None
        ]
        self._clip([grad for _, grad in moved])
        for module, step in zip(self.modules, at, strict=True):
            assert module.players is not None
            module.players.at_step(step)
        adam = torch._fused_adamw_ if isinstance(self._players[0].optimizer, torch.optim.AdamW) else torch._fused_adam_
        for start, stop in self._alike(moves):
            self._steps[start:stop] += 1
            for number, group in enumerate(self._players[start].optimizer.param_groups):
                cut = [own for block, grad in moved if block.group == number for own in block.cut(start, stop, grad)]
                if cut:
                    weights, first, second, grads = map(list, zip(*cut, strict=True))
                    steps = [self._steps[start]] * len(cut)
                    adam(weights, grads, first, second, [], steps, amsgrad=False, maximize=False, **_options(group))

    def _alike(self, lanes: Sequence[int]) -> list[tuple[int, int]]:
        """From which lane to which, those that follow each other and are told the same, at the same step of Adam."""
        counts = self._steps.tolist()
        told = [(counts[lane], *map(_options, self._players[lane].optimizer.param_groups)) for lane in lanes]
        runs: list[tuple[int, int]] = []
        for i, lane in enumerate(lanes):
            if i and lanes[i - 1] == lane - 1 and told[i - 1] == told[i]:
                runs[-1] = (runs[-1][0], lane + 1)
            else:
                runs.append((lane, lane + 1))
        return runs

    def _clip(self, grads: Sequence[Tensor]) -> None:
        """Each lane's gradient to its own norm, as `clip_grad_norm_` does."""
        if all(player.plan.clip is None for player in self._players):
            return
        norms = torch.stack([grad.reshape(len(grad), -1).norm(dim=1) for grad in grads]).norm(dim=0)
        limits = norms.new_tensor([player.plan.clip or 0.0 for player in self._players])
        # what is not clipped is left alone whatever its norm is: infinity over infinity would be NaN
        factors = (limits / (norms + 1e-6)).clamp(max=1.0).where(limits > 0, 1.0)
        for grad in grads:
            grad.mul_(factors.view(-1, *[1] * (grad.ndim - 1)))
        for player, norm in zip(self._players, norms, strict=True):
            player.norm = None if player.plan.clip is None else norm


def _player(module: VAEModule) -> Player:
    assert module.players is not None
    return module.players.players[AUTOENCODER]


def _options(group: Mapping[str, Any]) -> dict[str, Any]:
    """What Adam is told of a group of parameters."""
    beta1, beta2 = group["betas"]
    own = {name: float(group[name]) for name in ("lr", "weight_decay", "eps")}
    return {**own, "beta1": float(beta1), "beta2": float(beta2)}
