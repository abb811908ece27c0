"""An exponential moving average of the weights, which validation, statistics, pictures and the exported model use.

Its memory is a half-life in images, so that it means the same at any batch size (Karras et al. 2024, EDM2), or the
share that it keeps at each step. A half-life is shorter at the start of training: never more than a share of what has
been seen. A constant share is not: 0.999 still holds a third of the first weights after a thousand steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lehr.errors import CheckpointError
from lehr.limits import Fraction, PositiveFloat
from lehr.posterior.posterior import at_least_float32
from lehr.training.freezing import named_parameters

RAMP_UP = 0.09
"""The half-life is at most this share of the images seen (`rampup_ratio` of EDM2's traditional EMA)."""


@dataclass(frozen=True)
class EMAPlan:
    """How long the average remembers: one of the two, or neither for no average.

    Attributes:
        decay: the share that it keeps at each optimiser step, in (0, 1).
        half_life: images after which half of it has been renewed.
    """

    decay: Fraction | None = None
    half_life: PositiveFloat | None = None

    @property
    def is_on(self) -> bool:
        """Whether there is an average at all."""
        return self.decay is not None or self.half_life is not None

    def kept(self, batch: int, seen: int) -> float:
        """The share that is kept at a step of `batch` images, the last of the `seen` images."""
        if self.decay is not None:
            return self.decay
        assert self.half_life is not None
        return 0.5 ** (batch / min(self.half_life, max(RAMP_UP * seen, 1e-8)))


class EMA:
    """The averages of the parameters of `modules`, in float32 at least, and copies of their buffers.

    Buffers, such as a norm's running statistics or a scale that is fitted, are averages already.

    Args:
        plan: how long it remembers.
        modules: what a name begins with -> the module.

    Attributes:
        averages, buffers: by name.
    """

    def __init__(self, plan: EMAPlan, modules: Mapping[str, nn.Module]) -> None:
        self.plan = plan
        self._modules = dict(modules)
        self.averages = {name: at_least_float32(p.detach()).clone() for name, p in self._parameters()}
        self.buffers = {name: buffer.detach().clone() for name, buffer in self._all_buffers()}
        self._own: dict[str, Tensor] | None = None
        self.kept: float | None = None
        """The share that was kept at the last step; None before the first."""

    def _parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        return named_parameters(self._modules)

    def _all_buffers(self) -> Iterator[tuple[str, Tensor]]:
        for prefix, module in self._modules.items():
            yield from module.named_buffers(prefix)

    @torch.no_grad()
    def update(self, batch: int, seen: int) -> None:
        """Take the weights after an optimiser step of `batch` images into account, the last of the `seen` images."""
        weights = [p.detach().to(self.averages[name].dtype) for name, p in self._parameters()]
        self.kept = self.plan.kept(batch, seen)
        torch._foreach_lerp_(list(self.averages.values()), weights, 1 - self.kept)
        for name, buffer in self._all_buffers():
            self.buffers[name].copy_(buffer)

    @torch.no_grad()
    def renew(self, parameter: Tensor, rows: Tensor) -> None:
        """Let the average of these rows (n,) of a parameter be what they are now, where something else stood."""
        for name, own in self._parameters():
            if own is parameter:
                self.averages[name][rows] = parameter[rows].to(self.averages[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the modules have the averaged weights. Within another such block nothing changes."""
        if self._own is not None:
            yield
            return
        own = {name: tensor.detach().clone() for name, tensor in self._tensors()}
        self._put({**self.averages, **self.buffers})
        self._own = own
        try:
            yield
        finally:
            self._own = None
            self._put(own)

    def own(self) -> Mapping[str, Tensor]:
        """The weights that are trained, where the averages stand in their place; empty where they do not.

        By every name that they have: what is tied has several.
        """
        if self._own is None:
            return {}
        names = {tensor: name for name, tensor in self._tensors()}
        return {
            alias: self._own[names[tensor]]
            for prefix, module in self._modules.items()
            for all_of in (module.named_parameters, module.named_buffers)
            for alias, tensor in all_of(prefix, remove_duplicate=False)
        }

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from self._parameters()
        yield from self._all_buffers()

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, tensor in self._tensors():
            tensor.copy_(values[name])

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that there is to know, by name."""
        return {**self.averages, **self.buffers}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            CheckpointError: if it is of other weights.
        """
        own = self.averages | self.buffers
        if state.keys() != own.keys():
            name = min(state.keys() ^ own.keys())
            raise CheckpointError(f"the checkpoint's average of the weights is of another model: see {name}")
        for name, tensor in own.items():
            tensor.copy_(state[name])


class Averaging:
    """The average of a training's weights, if there is to be one, from its start through its checkpoints to its end.

    Args:
        plan: how long it remembers, if at all.
    """

    def __init__(self, plan: EMAPlan) -> None:
        self.plan = plan
        self._ema: EMA | None = None
        self._saved: Mapping[str, Tensor] | None = None

    @property
    def is_on(self) -> bool:
        """Whether there is an average now."""
        return self._ema is not None

    @property
    def ema(self) -> EMA | None:
        """The average, where there is one now."""
        return self._ema

    @property
    def kept(self) -> float | None:
        """The share of the average that was kept at the last step; None where there was none."""
        return self._ema.kept if self._ema else None

    def start(self, modules: Mapping[str, nn.Module]) -> None:
        """Average the weights of `modules` from now on, from where an earlier average has come to."""
        if self.plan.is_on:
            before = self._ema.state_dict() if self._ema else self._saved
            self._ema, self._saved = EMA(self.plan, modules), None
            if before is not None:
                self._ema.load_state_dict(before)

    def update(self, batch: int, seen: int) -> None:
        """See `EMA.update`."""
        if self._ema:
            self._ema.update(batch, seen)

    def renew(self, parameter: Tensor, rows: Tensor) -> None:
        """See `EMA.renew`."""
        if self._ema:
            self._ema.renew(parameter, rows)

    def applied(self, modules: Mapping[str, nn.Module]) -> AbstractContextManager[None]:
        """Within it the `modules` have the averaged weights, where there are such, if only in a checkpoint."""
        if self._saved is not None:
            self.start(modules)
        return self._ema.applied() if self._ema else nullcontext()

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Add the averages to a checkpoint, whose weights are those that are trained, whatever the modules have now."""
        if self._ema:
            weights = checkpoint["state_dict"]
            checkpoint["state_dict"] = {**weights, **{n: own for n, own in self._ema.own().items() if n in weights}}
            checkpoint["ema"] = self._ema.state_dict()

    def load(self, checkpoint: Mapping[str, Any]) -> None:
        """Go on from the averages of a checkpoint, if it has any, once they are asked for."""
        self._ema, self._saved = None, checkpoint.get("ema")

    def restore(self, checkpoint: Mapping[str, Any], modules: Mapping[str, nn.Module]) -> None:
        """Have the averages of a checkpoint for the `modules`, if it has any, also where there are to be none by now.

        For what nothing is trained after: it was validated with them.
        """
        self._ema, self._saved = None, None
        if averages := checkpoint.get("ema"):
            self._ema = EMA(self.plan, modules)
            self._ema.load_state_dict(averages)
