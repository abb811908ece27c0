"""`debug=anomaly`: the operation that made the first number that is not finite, forward or backward.

Training goes at nearly its own speed: every loss, gradient and weight is looked at, and only the step in which one of
them is not finite is repeated, from the same weights, buffers and noise, with every operator watched.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from lehr.data.batch import Batch
from lehr.errors import NonFiniteLoss
from lehr.finite import wrong_among
from lehr.training.debugging.tracing import INF, Made, Sites, Watch, chain, kind_of
from lehr.training.finite import FiniteLoss
from lehr.training.freezing import named_parameters
from lehr.training.module import VAEModule

_SAID = "debug=anomaly: "


class Anomaly(Callback):
    """Ends the training where a loss, a gradient or a weight is not finite, and says what has made it."""

    def __init__(self) -> None:
        self._batch: tuple[Batch, int] | None = None
        self._buffers: dict[str, Tensor] = {}
        self._generators: tuple[Tensor, Tensor | None] | None = None
        self._repeating = False
        self._steps = 0

    def on_fit_start(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        pl_module.finite = _AtOnce(self, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if wrong := _not_finite(pl_module):
            raise NonFiniteLoss(
                f"step {trainer.global_step}: {_listed(wrong)} is not finite before the first step; "
                "go on from an earlier checkpoint (resume_from=best), or begin anew"
            )

    def on_train_batch_start(self, trainer: Trainer, pl_module: VAEModule, batch: Batch, batch_idx: int) -> None:  # type: ignore[override]
        self._batch = batch, batch_idx
        self._buffers = {name: buffer.clone() for name, buffer in pl_module.named_buffers()}
        on_gpu = pl_module.device.type == "cuda"
        self._generators = torch.get_rng_state(), torch.cuda.get_rng_state() if on_gpu else None

    def on_before_backward(self, trainer: Trainer, pl_module: VAEModule, loss: Tensor) -> None:  # type: ignore[override]
        if kind := kind_of(loss):  # of terms that are finite, each by itself
            raise NonFiniteLoss(f"step {trainer.global_step}: the loss is {kind}", *self.forward(pl_module))

    def on_after_backward(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if getattr(trainer.precision_plugin, "scaler", None) is not None:
            return  # which makes the gradients so large that some are infinite, and leaves out such steps
        gradients = {name: p.grad for name, p in _parameters(pl_module) if p.grad is not None}
        if wrong := [name for name, gradient in gradients.items() if kind_of(gradient)]:
            raise NonFiniteLoss(
                f"step {trainer.global_step}: the loss is finite, and the gradient of {_listed(wrong, 'of ')} is not",
                *self._backward(trainer, pl_module),
            )

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: VAEModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._steps += not trainer.fit_loop._should_accumulate()
        if wrong := _not_finite(pl_module):
            assert pl_module.players is not None
            rate = next(iter(pl_module.players.learning_rates().values()))
            raise NonFiniteLoss(
                f"step {trainer.global_step - 1}: loss and gradients are finite, and {_listed(wrong)} is not after the "
                f"optimizer's step: optimizer.lr={rate:g} is too large, or an optimizer's option is at fault"
            )

    def on_train_end(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if self._steps:
            said = f"{_SAID}loss, gradients and weights were finite in all of {self._steps:,} steps"
            print(said, file=sys.stderr, flush=True)

    @property
    def is_repeating(self) -> bool:
        """Whether a step is repeated at the moment, of which it is known that it is not finite."""
        return self._repeating

    def forward(self, module: VAEModule) -> list[str]:
        """What has made the loss of this step so; a line each."""
        assert self._batch is not None
        if kind := kind_of(self._batch[0].images):
            return [f"{_SAID}the images of the batch hold {kind} already"]
        with Sites(names := _modules(module)), Watch(names) as watch:
            loss = self._repeated(module)
        assert module.last_step is not None
        made = watch.made(loss) or watch.made(module.last_step.values)
        return _told([made] if made else [])

    def _backward(self, trainer: Trainer, module: VAEModule) -> list[str]:
        for _, parameter in _parameters(module):
            parameter.grad = None
        with Sites(names := _modules(module)), Watch(names) as watch:
            with trainer.precision_plugin.train_step_context():
                loss = self._repeated(module)
            loss.backward()
        made = [watch.made(p.grad) for _, p in _parameters(module) if p.grad is not None and kind_of(p.grad)]
        return _told([one for one in made if one])

    def _repeated(self, module: VAEModule) -> Tensor:
        """The loss of the step at hand, once more, as it was."""
        assert self._batch is not None
        assert self._generators is not None
        with torch.no_grad():
            for name, buffer in module.named_buffers():
                buffer.copy_(self._buffers[name])
        torch.set_rng_state(self._generators[0])
        if self._generators[1] is not None:
            torch.cuda.set_rng_state(self._generators[1])
        self._repeating = True
        try:
            return module.training_step(*self._batch)
        finally:
            self._repeating = False


class _AtOnce(FiniteLoss):
    """Checks the terms of every step at once, also on a GPU, and says what has made them so."""

    def __init__(self, anomaly: Anomaly, module: VAEModule) -> None:
        super().__init__()
        self._anomaly, self._module = anomaly, module

    def check(self, names: Sequence[str], values: Tensor, step: int, kl_weight: float | Tensor | None) -> None:
        if self._anomaly.is_repeating or not kind_of(values):
            return
        wrong = wrong_among(dict(zip(names, values.tolist(), strict=True)))
        weight = "" if kl_weight is None else f" (KL weight {float(kl_weight):g})"
        raise NonFiniteLoss(f"step {step}{weight}: {wrong}", *self._anomaly.forward(self._module))


def _told(made: Sequence[Made]) -> list[str]:
    """Of the shortest chain that leads there: what has made the first number that is not finite, and the first NaN."""
    if not made:
        return [
            f"{_SAID}when the step is repeated every number is finite: something in it is not a function of the step"
        ]
    first, *others = min(map(chain, made), key=len)
    lines = [f"{_SAID}{first}"]
    if first.kind == INF and (then := next((one for one in others if one.kind != INF), None)):
        lines.append(f"{_SAID}from it {then}")
    if first.node and (given := next((one for one in first.sources if not one.node), None)):
        lines.append(f"{_SAID}of what was {given.kind} forward already: {chain(given)[0]}")
    return lines


def _modules(module: VAEModule) -> dict[int, str]:
    return {id(part): name for name, part in module.named_modules() if name}


def _parameters(module: VAEModule) -> list[tuple[str, torch.nn.Parameter]]:
    every = module.player_networks.values()
    return [(name, p) for networks in every for name, p in named_parameters(networks) if p.requires_grad]


def _not_finite(module: VAEModule) -> list[str]:
    return [name for name, parameter in _parameters(module) if kind_of(parameter.detach())]


def _listed(names: Sequence[str], of: str = "") -> str:
    return names[0] + (f" (and {of}{len(names) - 1} more)" if len(names) > 1 else "")
