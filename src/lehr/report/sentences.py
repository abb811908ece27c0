"""What the effects of a sweep are, in sentences with their numbers: the answer that a report begins with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lehr.report.effects import Contrast, Effect, effects, incomparable
from lehr.report.layout import Layout, numbers_of
from lehr.report.words import (
    Quantity,
    Words,
    count,
    digits_for,
    digits_of_difference,
    joined,
    plain,
    quantity,
    signed,
    words_for,
)
from lehr.sweeps.tables import cut, in_digits

_VOWELS = "aeiou"
_NAMED = 3


@dataclass(frozen=True)
class Sentence:
    """A sentence of the answer, as plain text.

    Attributes:
        text: the sentence.
        key: that it is about; "" where it is about all.
        verdict: "beyond chance", "shown" (the interval is free of 0, but one of so many comparisons may be),
            "not shown", "cannot tell" (one seed), "constant" (the same in all seeds), "depends" (on other keys), "none"
            (nothing to compare).
        better: whether what it says is an improvement; None where that is not known.
        contrast: its numbers, where it is about one comparison.
    """

    text: str
    key: str
    verdict: str
    better: bool | None = None
    contrast: Contrast | None = None


def say_effects(layout: Layout, metric: str, found: list[Effect] | None = None) -> list[Sentence]:
    """What each swept key did to `metric`, in the order of the keys: for each key, first what it did altogether.

    Args:
        layout: of the sweep; units of keys are known where `read_runs` was asked for the configurations.
        metric: its name.
        found: `effects(layout, metric)`, where that is there already.
    """
    found = effects(layout, metric) if found is None else found
    words, what = words_for(layout.keys, layout.runs), quantity(metric)
    apart = incomparable(layout, metric)
    sentences: list[Sentence] = []
    for key in layout.keys:
        own = [effect for effect in found if effect.key == key]
        for effect in own:
            sentences += say_effect(effect, words, what)
        if own and (lacking := _lacking(layout, key, metric)):
            values = joined([words.value(key, value) for value in lacking[:_NAMED]])
            more = f" and {len(lacking) - _NAMED:,} more" if len(lacking) > _NAMED else ""
            text = f"no run with {words.label(key)} {values}{more} has {what.label}"
            sentences.append(Sentence(sentence(text, {}, words), key, "none"))
        if not own:
            sentences.append(_nothing(layout, key, metric, words, key in apart))
    return sentences


def say_effect(effect: Effect, words: Words, what: Quantity) -> list[Sentence]:
    """The sentences of one key: its headlines, neighbours that say more, and what depends on other keys."""
    if not effect.contrasts:
        label = words.label(effect.key)
        text = f"no two runs with {what.label} differ in {label} alone, so its effect is not known"
        return [Sentence(sentence(text, effect.where, words), effect.key, "none")]
    sentences = [say_contrast(effect.key, effect.where, contrast, words, what) for contrast in effect.headlines]
    if effect.headlines[0].kind == "ends":
        ends = effect.headlines[0]
        sentences += [
            say_contrast(effect.key, effect.where, contrast, words, what)
            for contrast in effect.contrasts
            # a way that goes up and down, or levels off, is not seen at its ends
            if contrast.kind == "neighbours" and contrast.beyond_chance and _adds(contrast, ends)
        ]
    sentences += _dependence(effect, words, what)
    return sentences


def _adds(contrast: Contrast, ends: Contrast) -> bool:
    """Whether a step between neighbours says what the ends do not: they show nothing, or it goes the other way."""
    return not ends.beyond_chance or (contrast.estimate > 0) != (ends.estimate > 0)


def say_contrast(key: str, where: Mapping[str, str], contrast: Contrast, words: Words, what: Quantity) -> Sentence:
    """What changing `key` from one value to another gives, and whether that is more than chance."""
    digits = digits_of_difference(contrast.means, contrast.estimate, contrast.interval, contrast.std)
    number = f"{signed(contrast.estimate, digits)} {what.words}"
    subject = change(key, contrast.value, contrast.against, words)
    better = what.better(contrast.estimate)
    which = {True: "better", False: "worse", None: ""}[better]
    n = len(contrast.per_seed)
    if contrast.interval is None:
        text, verdict = f"{subject} gives {number} in one seed, which cannot tell whether that is chance", "cannot tell"
    elif contrast.constant:
        same = f"the same in all {n} seeds" if n > 2 else "the same in both seeds"
        gives = f"gives {number}" if contrast.estimate else f"makes no difference to {what.label}"
        text = f"{subject} {gives}, {same}{f', which is {which}' * bool(which)}"
        verdict = "constant"
    else:
        low, high = (in_digits(end, digits) for end in (contrast.interval.low, contrast.interval.high))
        spread = f"({low} to {high}, {count(n, 'seed')})"
        if not contrast.shown:
            text, verdict = f"{subject} shows no difference: {number} {spread}", "not shown"
        elif contrast.beyond_chance:
            text = f"{subject} gives {number} {spread}, {f'{which} ' * bool(which)}beyond chance"
            verdict = "beyond chance"
        else:
            among = f"among {count(contrast.comparisons, 'comparison')} chance can give as much"
            text, verdict = f"{subject} gives {number} {spread}, {f'{which}, ' * bool(which)}but {among}", "shown"
    known = better if verdict in ("beyond chance", "shown", "constant") else None
    return Sentence(sentence(text, where, words), key, verdict, known, contrast)


def change(key: str, value: Any, against: Any, words: Words) -> str:
    """ "a warm-up of 10 epochs instead of 0": what a contrast is of."""
    new, old = words.value(key, value), words.value(key, against, unit=False)
    label = words.labels.get(key)
    if label is None:
        return f"{words.label(key)}={new} instead of {old}"
    if not isinstance(value, int | float) or isinstance(value, bool):
        return f"{label} {new} instead of {old}"
    return f"a{'n' * (label[0] in _VOWELS)} {label} of {new} instead of {old}"


def sentence(text: str, where: Mapping[str, str], words: Words) -> str:
    """With a capital and a full stop, and before it the condition that it holds under. Keys stay as they are typed."""
    if where:
        return f"With {', '.join(f'{words.label(name)} {cut(plain(value))}' for name, value in where.items())}, {text}."
    first = text.split("=")[0].split(" ")[0]
    return f"{text}." if "." in first or "=" in text.split(" ")[0] else f"{text[0].upper()}{text[1:]}."


def _dependence(effect: Effect, words: Words, what: Quantity) -> Iterator[Sentence]:
    """Where what a key does differs between the combinations of the others, beyond chance."""
    for contrast in effect.headlines:
        found = contrast.interaction
        if found is None or not found.shown:
            continue
        digits = digits_for((*contrast.means, found.lowest, found.highest), contrast.std)
        keys = [key for key in found.lowest_at if found.lowest_at[key] != found.highest_at[key]]
        low, high = (f"({words.combination(_only(at, keys))})" for at in (found.lowest_at, found.highest_at))
        numbers = f"{signed(found.lowest, digits)} {what.words} {low} to {signed(found.highest, digits)} {high}"
        subject = change(effect.key, contrast.value, contrast.against, words)
        how = "does one thing here and the opposite there" if found.opposite else "does not do the same everywhere"
        text = f"{subject} {how}: from {numbers}"
        yield Sentence(sentence(text, effect.where, words), effect.key, "depends", None, contrast)


def _lacking(layout: Layout, key: str, metric: str) -> list[Any]:
    """The values of a key at which no run has the metric."""
    codes = layout.codes[:, layout.keys.index(key)]
    there = set(codes[~np.isnan(numbers_of(layout, metric).values)].tolist())
    return [value for code, value in enumerate(layout.levels[key]) if code not in there]


def _only(values: Mapping[str, Any], keys: list[str]) -> dict[str, Any]:
    return {key: values[key] for key in keys}


def _nothing(layout: Layout, key: str, metric: str, words: Words, apart: bool) -> Sentence:
    """Why there is no effect of a key."""
    label, what = words.label(key), quantity(metric).label
    place = layout.keys.index(key)
    there = np.unique(layout.codes[~np.isnan(numbers_of(layout, metric).values), place]).tolist()
    values = layout.levels[key]
    if apart:
        text = f"{what} is another quantity at each {label}, so that its values do not compare"
    elif not there:
        text = f"no run has {what} yet, so nothing is known of {label}"
    elif len(there) == 1:
        of = f"of {len(values)} values of {label} one alone" if len(values) > 1 else f"one value of {label}"
        text = f"{of} has {what}, {words.value(key, values[there[0]])}, so there is nothing to compare"
    else:
        every = ", ".join(words.value(key, values[i]) for i in there[:3]) + ", ..." * (len(there) > 3)
        text = f"the values of {label} with {what} ({every}) were not measured alike, and do not compare"
    return Sentence(sentence(text, {}, words), key, "none")
