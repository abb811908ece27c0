"""An objective with further terms in its loss.

Shapes: b examples of this rank, c h w image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from lehr.errors import ConfigError
from lehr.needs import samples_problem
from lehr.objective.bounds import Draw, Objective
from lehr.objective.likelihood import Likelihood
from lehr.objective.rate import RateTerm
from lehr.objective.step import AUTOENCODER, Parts, StepInputs, StepResult, Term
from lehr.objective.terms.balance import norms_at, of_gradient
from lehr.objective.terms.term import LossTerm, PlayerOptions, TermInputs, TermResult
from lehr.objective.terms.timing import TrainingLength
from lehr.posterior.density import LatentDensity
from lehr.posterior.posterior import Posterior


class WithTerms(Objective):
    """The loss of another objective, and terms that are added to it.

    Args:
        base: with one sample of z for each example.
        terms: by name, which they are logged by; those that compare images come first, else in their order.

    Raises:
        ConfigError: if the base has several samples, of which no single one is reconstructed, or two terms bring
            players of one name.
    """

    def __init__(self, base: Objective, terms: Mapping[str, LossTerm]) -> None:
        super().__init__(base.samples)
        if base.samples != 1:
            raise ConfigError(samples_problem(base.samples))
        self.base = base
        # those that compare images first: others are weighed against them
        self.terms = nn.ModuleDict(dict(sorted(terms.items(), key=lambda item: not item[1].compares_images)))
        self.needs, self.provides = base.needs, base.provides  # type: ignore[misc]  # of this one
        names = [name for term in terms.values() for name in term.players]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"terms: two of them bring a player called {', '.join(twice)}; use one of them")

    def named_terms(self) -> Mapping[str, LossTerm]:
        """The terms by name, in the order in which they are computed."""
        return dict(self.terms.items())  # type: ignore[arg-type]

    @property
    def players(self) -> Mapping[str, nn.Module]:
        return {**self.base.players, **{k: v for term in self.named_terms().values() for k, v in term.players.items()}}

    @property
    def player_options(self) -> Mapping[str, PlayerOptions]:
        return {name: options for term in self.named_terms().values() for name, options in term.player_options.items()}

    def begin(self, length: TrainingLength) -> None:
        problems: list[str] = []
        for name, term in self.named_terms().items():
            try:
                term.begin(length, name)
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(*problems)

    def compile_networks(self) -> None:
        # a term may ask for gradients at the last layer before all go backward: what is kept for that is not given away
        torch._functorch.config.donated_buffer = False
        for term in self.named_terms().values():
            term.compile_networks()

    @property
    def settled(self) -> int:
        return max((term.onset.settled for term in self.named_terms().values()), default=0)

    def noise_shape(self, posterior: Posterior) -> tuple[int, ...]:
        return self.base.noise_shape(posterior)

    def draw(self, x: Tensor, posterior: Posterior, noise: Tensor, parts: Parts, prior: LatentDensity) -> Draw:
        return self.base.draw(x, posterior, noise, parts, prior)

    def losses(self, inputs: StepInputs, posterior: Posterior, draw: Draw, parts: Parts) -> StepResult:
        assert draw.parameters is not None
        result = self.base.losses(inputs, posterior, draw, parts)
        reconstruction = parts.likelihood.mean(draw.parameters)
        fidelity = draw.distortion.sum()
        of_loss = {"distortion": fidelity}
        for name, term in self.named_terms().items():
            if not term.is_active(inputs.step):
                continue
            given = TermInputs(inputs, parts, posterior, draw.z, reconstruction, fidelity)
            given = replace(given, compare=partial(self._compared, given))
            if (found := _found(term, given)) is None:
                continue
            weight = _weight(term, parts, inputs) * found.factor
            weighted = weight * found.value.sum()
            if term.trains != "encoder":
                of_loss[name] = weighted
            result = _added(result, {name: Term(_plain(weight), term.unit_of_value)}, found, weighted, inputs)
            if term.compares_images:
                fidelity = fidelity + weighted
        return _with_shares(result, of_loss, parts.model.last_layer, inputs) if inputs.is_logged else result

    def _compared(self, given: TermInputs, images: Tensor, parameters: Tensor) -> Tensor:
        """`TermInputs.compare`."""
        inputs, likelihood = replace(given.step, images=images), given.parts.likelihood
        with _nothing_fitted(likelihood):
            total = -likelihood.log_prob(images, parameters)
        given = replace(given, step=inputs, reconstruction=likelihood.mean(parameters))
        for term in self.named_terms().values():
            fits = term.compares_images and term.is_active(inputs.step) and min(images.shape[2:]) >= term.least_side
            if fits and (found := _found(term, given)) is not None:
                total = total + _weight(term, given.parts, inputs) * found.factor * found.value
        return total

    def average_loss(
        self, step: int, distortion: float, rate: float, kl: Tensor | None, rate_term: RateTerm
    ) -> float | None:
        if any(term.is_active(step) for term in self.named_terms().values()):
            return None
        return self.base.average_loss(step, distortion, rate, kl, rate_term)


@contextmanager
def _nothing_fitted(likelihood: Likelihood) -> Iterator[None]:
    """Within it a scale is that of the images: what they are turned into is not what the model is judged by."""
    training = likelihood.training
    likelihood.eval()
    try:
        yield
    finally:
        likelihood.train(training)


def _found(term: LossTerm, given: TermInputs) -> TermResult | None:
    """What a term comes to, brought to the scale that its weight is of where that is of its gradient."""
    found = term(given)
    if found is None or term.per != "gradient" or not found.value.requires_grad:
        return found
    value, factor = of_gradient(given.reconstruction, found.value, given.step)
    return replace(found, value=value, factor=found.factor * factor)


def _weight(term: LossTerm, parts: Parts, inputs: StepInputs) -> Tensor | float:
    """Of a term's value at this step, in nats: with a gradient to a scale that is learned."""
    weight = term.onset(inputs.step)
    if term.per == "example":
        return weight
    size = math.prod(inputs.images.shape[1:]) if term.per == "pixel" else 1
    return weight * size * parts.likelihood.error_weight()


def _plain(weight: Tensor | float) -> Tensor | float:
    """A weight as it is shown, without gradients."""
    return weight.detach() if isinstance(weight, Tensor) else weight


def _added(
    result: StepResult, named: Mapping[str, Term], found: TermResult, weighted: Tensor, inputs: StepInputs
) -> StepResult:
    """The result of a step with what a term, `named`, has come to."""
    others = {player: loss.sum() for player, loss in found.losses.items()}
    terms = {
        **named,
        **{player: Term(unit="of its own, per example", player=player) for player in others},
        **{shown: Term(None, found.units.get(shown, "")) for shown in found.shown},
    }
    sums = [found.value.sum(), *others.values(), *(value.sum() for value in found.shown.values())]
    values = inputs.mean(torch.stack([one.detach().to(result.values.dtype) for one in sums]))
    return replace(
        result,
        losses={**result.losses, AUTOENCODER: result.losses[AUTOENCODER] + weighted, **others},
        terms={**result.terms, **terms},
        values=torch.cat([result.values, values]),
    )


def _with_shares(
    result: StepResult, of_loss: Mapping[str, Tensor], layer: Tensor | None, inputs: StepInputs
) -> StepResult:
    """The result with the share that each part of the loss has in the gradient at the decoder's last layer.

    Of the norms of their gradients, which go this way and that and do not add up, in the sum of these norms.
    """
    if layer is None or not layer.requires_grad:
        return result
    shown = {name: loss for name, loss in of_loss.items() if loss.requires_grad}
    norms = norms_at(list(shown.values()), layer, inputs)
    return replace(
        result,
        terms={**result.terms, **{f"gradient_share_{name}": Term(None, "") for name in shown}},
        values=torch.cat([result.values, (norms / norms.sum()).nan_to_num().to(result.values)]),
    )
