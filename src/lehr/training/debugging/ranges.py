"""Names for the parts of a training step, in what torch's profiler records; nothing of it is there when it is off.

In the trainer's loop they are the actions that Lightning lets a profiler time, of which lehr's own loop names the same.
Within the objective the methods of the components are wrapped while a profile is taken, so that no maths is cluttered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import wraps
from typing import Any

from torch.profiler import record_function

from lehr.objective.step import StepInputs
from lehr.posterior.posterior import Posterior
from lehr.training.lean import NoProfiler
from lehr.training.module import VAEModule

PREFIX = "lehr: "
"""Of the names in the trace, so that no operator is taken for a part."""
FETCH, ENCODE, SAMPLE, DECODE, LIKELIHOOD, RATE, FORWARD, BACKWARD, OPTIMIZER, LOGGING = PARTS = (
    "fetching data", "encode", "sample", "decode", "likelihood", "rate", "rest of forward", "backward", "optimizer",
    "logging",
)  # fmt: skip
_OF_ACTION = {
    "train_dataloader_next": FETCH,
    "training_step": FORWARD,
    "backward": BACKWARD,
    "optimizer_step": OPTIMIZER,
    "optimizer_zero_grad": OPTIMIZER,
    "on_train_batch_end": LOGGING,
}
_OF_POSTERIOR = {"sample": SAMPLE} | dict.fromkeys(("kl", "kl_to", "kl_per_dimension", "rate", "log_prob"), RATE)


class Ranges(NoProfiler):
    """A profiler of Lightning's that names what it is told of, once `recording`.

    Args:
        before_fetching: called before a batch is fetched, which is where one step ends and the next one begins.
    """

    recording = False

    def __init__(self, before_fetching: Callable[[], None]) -> None:
        super().__init__()
        self._before_fetching = before_fetching
        self._started: dict[str, AbstractContextManager[Any]] = {}

    def profile(self, action_name: str) -> AbstractContextManager[Any]:  # type: ignore[override]
        part = _OF_ACTION.get(action_name.rpartition(".")[2])
        if part == FETCH:
            self._before_fetching()
        if not self.recording:
            part = None
        return super().profile(action_name) if part is None else named(part)

    def start(self, action_name: str) -> None:
        self._started[action_name] = self.profile(action_name)
        self._started[action_name].__enter__()

    def stop(self, action_name: str) -> None:
        if started := self._started.pop(action_name, None):
            started.__exit__(None, None, None)


def named(part: str) -> AbstractContextManager[Any]:
    """A range of this name in the trace."""
    return record_function(PREFIX + part)


@contextmanager
def within_the_objective(module: VAEModule) -> Iterator[None]:
    """Within the block encoding, sampling, decoding, likelihood and rate have their names in the trace."""
    components = module.components
    with ExitStack() as stack:
        kinds: set[type[Posterior]] = set()

        def encode(function: Callable[..., Posterior]) -> Callable[..., Posterior]:
            timed = _named(ENCODE, function)

            def encoded(*inputs: Any) -> Posterior:
                posterior = timed(*inputs)
                if (kind := type(posterior)) not in kinds:  # which is known once there is one
                    kinds.add(kind)
                    for method, part in _OF_POSTERIOR.items():
                        stack.enter_context(_replaced(kind, method, _named(part, getattr(kind, method))))
                return posterior

            return encoded

        def step(function: Callable[..., Any]) -> Callable[..., Any]:
            def stepped(inputs: StepInputs, *others: Any) -> Any:
                return function(replace(inputs, noise=_named(SAMPLE, inputs.noise)), *others)

            return stepped

        model, likelihood, objective = components.model, components.likelihood, components.objective
        stack.enter_context(_replaced(model, "encode", encode(model.encode)))
        stack.enter_context(_replaced(model, "decode", _named(DECODE, model.decode)))
        stack.enter_context(_replaced(likelihood, "log_prob", _named(LIKELIHOOD, likelihood.log_prob)))
        stack.enter_context(_replaced(components.rate_term, "cost", _named(RATE, components.rate_term.cost)))
        stack.enter_context(_replaced(components.prior, "density", _named(RATE, components.prior.density)))
        stack.enter_context(_replaced(objective, "step", step(objective.step)))
        yield


def _named(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def within(*inputs: Any, **named_inputs: Any) -> Any:
        with named(part):
            return function(*inputs, **named_inputs)

    return within


@contextmanager
def _replaced(owner: Any, name: str, by: Any) -> Iterator[None]:
    """Within the block `owner` has this attribute, and then again what it had of its own or of its class."""
    own = vars(owner).get(name)
    setattr(owner, name, by)
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)
