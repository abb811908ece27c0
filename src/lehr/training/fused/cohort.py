"""Lanes that are trained by one program, and which of them take the next steps."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lehr import randomness
from lehr.data.loader import Awaited
from lehr.errors import NonFiniteLoss
from lehr.training.fused.lanes import Lane, Steps
from lehr.training.fused.program import Program
from lehr.training.fused.taken import Facts, Stacked
from lehr.training.loop import forward_context


class Cohort:
    """Lanes whose epochs have the same batches, but for the images."""

    def __init__(self) -> None:
        self._program: Program | None = None
        self._members: list[Lane] = []

    def advance(self, lanes: Sequence[Lane]) -> int:
        """Take as many steps as all of those whose turn it is have asked for; how many that were, of all together."""
        chosen, most = due(lanes)
        asked = [lane.steps for lane in chosen]
        try:
            if self._program is None or self._members != chosen:
                modules, self._members = [one.module for one in asked], chosen
                self._program = Program(modules, forward_context(modules[0].trainer))
            number = min(most, *(len(one.batches) for one in asked))
            for i in range(number):
                if any(one.error is None for one in asked):
                    step(self._program, asked, i)
        except Exception as error:  # which each of them is to record
            for one in asked:
                one.error = one.error or error
            return 0
        for one in asked:
            one.taken(number)
        return number * sum(one.error is None for one in asked)


def due(lanes: Sequence[Lane]) -> tuple[list[Lane], int]:
    """Which of these lanes are to take steps, and how many at most, so that all come to stand at the same place.

    Those who begin an epoch wait for those who are in the midst of one; of these the last go on until they come to
    where others are.
    """
    by_place: dict[int, list[Lane]] = {}
    for lane in lanes:
        by_place.setdefault(lane.steps.place, []).append(lane)
    first, *others = sorted(place for place in by_place if place or len(by_place) == 1)
    return by_place[first], others[0] - first if others else max(len(lane.steps.batches) for lane in by_place[first])


def step(program: Program, asked: Sequence[Steps], i: int) -> None:
    """Take the step that is the `i`th of those that were asked for."""
    batches = [one.batches[i] for one in asked]
    images = _fetched(asked, batches)
    if images is None:
        return
    module, total = asked[0].module, batches[0].total
    shape = program.noise_shape(images.tensor[:1] if images.shared else images.tensor[0, :1])

    def noise(lane: int) -> Tensor:
        one = asked[lane]
        return randomness.normal(one.module.seed, "posterior", one.counter + i, (total, *shape), one.module.device)

    ends = [i + 1 == len(one.batches) for one in asked]
    taken = program.step(
        images,
        Stacked.of([(one.module.seed, one.counter) for one in asked], noise),
        [one.module.rate_term.values(one.step + i) for one in asked],
        Facts([one.step + i for one in asked], total, module.n_train, is_logged=any(ends)),
        [one.error is not None for one in asked],
    )
    if program.averages:
        moved = [one.error is None and finite for one, finite in zip(asked, taken.finite, strict=True)]
        program.averages.update(total, [one.images_seen(i) for one in asked], moved)
    for lane, one in enumerate(asked):
        if one.error is None and (ends[lane] or not taken.finite[lane]):
            one.result = result = taken.of(lane)
            try:
                one.module.finite.check(tuple(result.terms), result.values, one.step + i, result.kl_weight)
            except NonFiniteLoss as error:
                one.error = error


def _fetched(asked: Sequence[Steps], batches: Sequence[Awaited]) -> Stacked | None:
    """The images of all lanes; None where not one of them can be had.

    Where those of a lane cannot that is its error, and it has those of another, from which it does not learn.
    """
    keys = [(batch.key, batch.share.counter) for batch in batches]
    found: dict[object, Tensor] = {}
    for key, batch, one in zip(keys, batches, asked, strict=True):
        if key not in found:
            try:
                found[key] = batch.fetch().images
            except Exception as error:
                one.error = one.error or error
    if not found:
        return None
    had = [key if key in found else next(iter(found)) for key in keys]
    return Stacked.of(had, lambda lane: found[had[lane]])
