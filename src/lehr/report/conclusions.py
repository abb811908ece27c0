"""Which combination is the best, what a precision costs, what a sweep took and what is missing, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lehr.report.ablation import PRECISION, PrecisionEffect
from lehr.report.best import Best, Contender, best
from lehr.report.cost import Cost
from lehr.report.failures import Progress
from lehr.report.layout import Layout
from lehr.report.sentences import Sentence, change, say_contrast, sentence
from lehr.report.words import (
    Quantity,
    Words,
    count,
    digits_for,
    digits_of_difference,
    duration,
    joined,
    quantity,
    words_for,
)
from lehr.run.status import DONE
from lehr.sweeps.tables import in_digits


def say_best(layout: Layout, metric: str, found: Sequence[Best] | None = None) -> list[Sentence]:
    """Which combination is the best by a metric, how far ahead of the next, and whether chance may have made it so.

    Args:
        layout: of the sweep.
        metric: its name.
        found: `best(layout, metric)`, where that is there already.
    """
    found = best(layout, metric) if found is None else found
    words, what = words_for(layout.keys, layout.runs), quantity(metric)
    return [one for each in found for one in _of_best(each, words, what)]


def _of_best(found: Best, words: Words, what: Quantity) -> list[Sentence]:
    digits = digits_for([found.best.mean, found.next.mean if found.next else None], found.best.std)
    at = _at(found.best, found.where, words) or "the one configuration there is"
    number = _with_unit(in_digits(found.best.mean, digits), what)
    if found.next is None or found.behind is None:
        alone = f"{what.label} is {number} ({count(found.best.n, 'seed')}) at {at}, with nothing to compare it with"
        return [Sentence(sentence(alone, found.where, words), "", "none")]
    of = f"the best {what.label} of {count(found.groups, 'combination')} is {number} ({count(found.best.n, 'seed')})"
    first = Sentence(sentence(f"{of}, at {at}", found.where, words), "", "best")
    flattered = f"the best of {found.groups} is in part the luckiest: with other seeds it will as a rule do less well"
    notes = [Sentence(sentence(flattered, {}, words), "", "note")]
    if found.left_out:
        few = f"{count(found.left_out, 'combination')} with half as many seeds or fewer did not compete"
        notes.append(Sentence(f"{few}.", "", "note"))
    return [first, _of_next(found, words, what), *notes]


def _of_next(found: Best, words: Words, what: Quantity) -> Sentence:
    """How far the second is behind, and what that means."""
    assert found.next is not None
    assert found.behind is not None
    std = found.interval.half_width if found.interval else found.best.std
    digits = digits_of_difference((found.best.mean, found.next.mean), found.behind, found.interval, std)
    text = f"the next, {_at(found.next, found.where, words)}, is"
    by = f"{text} {_with_unit(in_digits(found.behind, digits), what)} behind"
    others = found.alike - (not found.beyond_chance)
    nor = f", nor can {count(others, 'other')} from the best" if others else ""
    if found.ties:
        more = f", as {'are' if found.ties > 2 else 'is'} {found.ties - 1:,} more" if found.ties > 1 else ""
        text, verdict = f"{text} as good{more}", "tie"
    elif found.interval is None:
        text, verdict = f"{by}, and one seed cannot tell whether that is chance", "cannot tell"
    elif found.interval.low == found.interval.high:
        text, verdict = f"{by}, the same in all {found.interval.n} seeds", "constant"
    else:
        low, high = (in_digits(end, digits) for end in (found.interval.low, found.interval.high))
        how = "" if found.paired else ", of different ones"
        by = f"{by} ({low} to {high}, {count(found.interval.n, 'seed')}{how})"
        if found.beyond_chance:
            text, verdict = f"{by}, beyond chance among {found.groups}", "beyond chance"
        else:
            text, verdict = f"{by}: the two cannot be told apart{nor}", "not shown"
    return Sentence(sentence(text, found.where, words), "", verdict)


def say_precision(found: Sequence[PrecisionEffect], layout: Layout) -> list[Sentence]:
    """What each precision does to each metric, and how many times as fast it is."""
    words = words_for(layout.keys, layout.runs)
    return [_of_precision(one, words) for one in found]


def _of_precision(found: PrecisionEffect, words: Words) -> Sentence:
    if found.ratio is None:
        return say_contrast(PRECISION, found.where, found.contrast, words, quantity(found.metric))
    times, low, high = found.ratio
    text = f"{change(PRECISION, found.contrast.value, found.contrast.against, words)} is {times:.2f} times as fast"
    if low is None or high is None:
        return Sentence(sentence(f"{text} in one seed", found.where, words), PRECISION, "cannot tell", None)
    text = f"{text} ({low:.2f} to {high:.2f}, {count(len(found.contrast.per_seed), 'seed')})"
    shown = not low <= 1 <= high
    verdict, better = ("shown" if shown else "not shown"), (times > 1 if shown else None)
    return Sentence(sentence(text, found.where, words), PRECISION, verdict, better, found.contrast)


def say_cost(found: Cost) -> str:
    """What a sweep took, in a sentence; empty where nothing is known."""
    if found.median is None:
        return ""
    text = f"{count(found.runs, 'run')} took {duration(found.seconds)} of machine time"
    if found.runs > 1:
        text += f", {duration(found.median)} each in the middle"
    if len(found.hosts) > 1:
        text += f", on {len(found.hosts)} machines"
    if found.together:
        text += f"; {found.together:,} of them were trained side by side, and share the time of their process"
    if found.not_done:
        text += f"; {duration(found.not_done)} of it went into runs that did not end well"
    return f"{text}."


def say_progress(found: Progress) -> str:
    """What is missing of a sweep, in a sentence; empty where all runs are done."""
    if found.done == found.total:
        return "" if found.total else "There are no runs yet."
    others = joined(states_of(found, DONE))
    return f"{found.done:,} of {count(found.total, 'run')} {'is' if found.done == 1 else 'are'} done; {others}."


def states_of(found: Progress, but: str = "") -> list[str]:
    """How many runs are in each state but this one, those that have not begun last."""
    states = {state: n for state, n in found.states.items() if state != but}
    return [f"{n:,} {state}" for state, n in (states | {"not begun": found.not_begun}).items() if n]


def _at(contender: Contender, where: Mapping[str, str], words: Words) -> str:
    """The values of a combination, without what the condition says already."""
    return words.combination({key: value for key, value in contender.values.items() if key not in where})


def _with_unit(number: str, what: Quantity) -> str:
    return f"{number} {what.unit}" if what.unit else number
