"""Sections of the report of a sweep that are words and tables first: comparisons, precisions, cost, searches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from lehr.report.ablation import PRECISION, SPEED, PrecisionEffect, precision
from lehr.report.conclusions import say_cost, say_precision
from lehr.report.cost import Spread, cost
from lehr.report.cost_chart import cost_chart, precision_chart
from lehr.report.document import ByMetric, Chart, Folded, Link, Paragraph, Part, Row, Table
from lehr.report.effect_charts import effect_charts
from lehr.report.effects import Contrast, Effect
from lehr.report.numbers import described
from lehr.report.parallel_chart import parallel_coordinates
from lehr.report.search_charts import front_chart, history_chart, importance_chart
from lehr.report.search_summary import SearchSummary, Trial
from lehr.report.sentences import Sentence, change
from lehr.report.sweep_charts import Drawn, conditions
from lehr.report.words import Quantity, Words, count, digits_of_difference, duration, joined, quantity, signed
from lehr.run.evaluation import shown as shown_number
from lehr.sweeps.results import SweepResults, shown
from lehr.sweeps.tables import in_digits

_MOST_ROWS = 100
_HEAD = ("difference", "95% interval", "seeds", "combinations", "p adjusted")
_TRIAL_DIGITS = 5


def effect_parts(
    drawn: Drawn, found: Mapping[str, Sequence[Effect]], more: Mapping[str, Sequence[str]]
) -> Iterator[Part]:
    """What each key does: a picture each, all runs as lines, the sentences that had no room above, and the numbers.

    Args:
        drawn: the sweep.
        found: metric -> effects of the keys.
        more: metric -> sentences that had no room in the verdict.
    """
    if plots := effect_charts(drawn, found):
        yield Paragraph(
            "Means over the seeds of runs that are matched in all other keys; values stand at equal distances unless "
            "they are many. Bands and bars are 95% intervals over the seeds, where there are several. Where no line "
            "joins them, no runs are matched, and what differs in other keys too is averaged."
        )
        yield Row(tuple(plots))
    if lines := parallel_coordinates(drawn):
        yield lines
    if any(more.values()):
        said = {metric: tuple(map(Paragraph, texts)) for metric, texts in more.items()}
        yield Folded("What else there is to say", (ByMetric(said),))
    tables: dict[str, tuple[Part, ...]] = {
        metric: (_comparisons(effects, drawn.words, quantity(metric)),) for metric, effects in found.items()
    }
    if any(effect.contrasts for effects in found.values() for effect in effects):
        yield Folded("The comparisons in numbers", (ByMetric(tables),))


def _comparisons(effects: Sequence[Effect], words: Words, what: Quantity) -> Table:
    rows = [
        (_subject(effect.key, effect.where, contrast, words), *_numbers(contrast))
        for effect in effects
        for contrast in effect.contrasts
    ]
    caption = f"{', '.join(filter(None, [what.label, what.unit]))}: paired differences of runs that agree in all else."
    if len(rows) > _MOST_ROWS:
        caption += f" {len(rows) - _MOST_ROWS:,} of {len(rows):,} are left out."
    return Table(("comparison", *_HEAD), tuple(rows[:_MOST_ROWS]), frozenset({1, 3, 4, 5}), caption)


def _subject(key: str, where: Mapping[str, str], contrast: Contrast, words: Words) -> str:
    text = change(key, contrast.value, contrast.against, words)
    return f"{text}, {conditions(where, words)}" if where else text


def _numbers(contrast: Contrast) -> tuple[str, ...]:
    """Difference, interval, seeds, combinations and p, as texts."""
    interval = contrast.interval
    digits = digits_of_difference(contrast.means, contrast.estimate, interval, contrast.std)
    known = interval is not None and not contrast.constant
    ends = _ends(interval.low, interval.high, digits) if interval and known else "-"
    p = f"{contrast.p_adjusted:.2g}" if known else "-"
    return signed(contrast.estimate, digits), ends, str(len(contrast.per_seed)), str(contrast.combinations), p


def _ends(low: float, high: float, digits: int | None) -> str:
    """ "0.4 to 1.0"."""
    return f"{in_digits(low, digits)} to {in_digits(high, digits)}"


def precision_parts(drawn: Drawn) -> Iterator[Part]:
    """What a precision costs and gains: sentences of the metric chosen, its picture, and a table of all metrics."""
    metrics = list(dict.fromkeys([*drawn.metrics, *([SPEED] if SPEED in drawn.layout.results.metrics else [])]))
    found = precision(drawn.layout, metrics)
    if not found:
        return
    said: dict[str, list[Sentence]] = {metric: [] for metric in drawn.metrics}
    for one, text in zip(found, say_precision(found, drawn.layout), strict=True):
        if one.metric in said:
            said[one.metric].append(text)
    yield ByMetric({metric: tuple(Paragraph(one.text) for one in texts) for metric, texts in said.items()})
    if chart := precision_chart(drawn, found):
        yield chart
    rows = tuple(_precision_row(one, drawn.words) for one in found)
    caption = "Paired differences to the most exact precision, of runs that agree in all else."
    table = Table(("metric", "comparison", *_HEAD, "times as fast"), rows, frozenset({2, 4, 5, 6, 7}), caption)
    yield Folded("All metrics in numbers", (table,))


def _precision_row(found: PrecisionEffect, words: Words) -> tuple[str, ...]:
    of = ", ".join(filter(None, described(found.metric)))
    times = ""
    if found.ratio is not None:
        mean, low, high = found.ratio
        times = f"{mean:.2f}" if low is None or high is None else f"{mean:.2f} ({low:.2f} to {high:.2f})"
    return of, _subject(PRECISION, found.where, found.contrast, words), *_numbers(found.contrast), times


def cost_parts(results: SweepResults) -> Iterator[Part]:
    """What the sweep took: in a sentence, by part, and how fast it was."""
    found = cost(results)
    if not (said := say_cost(found)):
        return
    yield Paragraph(said)
    notes = []
    if found.elapsed is not None and found.elapsed > 0:
        notes.append(f"From the first start to the last end it was {duration(found.elapsed)}, breaks included.")
    if found.speed is not None:
        slow, middle, fast = (f"{speed:,.0f}" for speed in found.speed)
        notes.append(f"The runs trained on {middle} images per second in the middle, {slow} to {fast}.")
    if found.memory is not None:
        notes.append(f"While it trained, a process held at most {_mib(found.memory)} of memory.")
    if found.gpu_memory is not None:
        notes.append(f"On the GPU, tensors took at most {_mib(found.gpu_memory)}.")
    if len(found.hosts) > 1:
        hosts = joined([f"{name} ({count(n, 'run')})" for name, n in found.hosts.items()])
        notes.append(f"Machines: {hosts}.")
    if notes:
        yield Paragraph(" ".join(notes))
    rows = tuple(
        (part.name.replace("_", " "), duration(part.seconds), duration(part.median), f"{part.runs:,}")
        for part in found.parts
    )
    chart = cost_chart(found)
    table = Table(("part", "all runs", "median of a run", "runs"), rows, frozenset({1, 2, 3}))
    yield Row(tuple(part for part in (chart, table if rows else None) if part))


def _mib(spread: Spread) -> str:
    """The median of some peaks, and their range where there is one, in a unit that suits the largest."""
    unit, divisor, digits = ("GiB", 1024, 1) if spread[-1] >= 1024 else ("MiB", 1, 0)
    least, middle, most = (f"{value / divisor:,.{digits}f}" for value in spread)
    return f"{middle} {unit}" if least == most else f"{middle} {unit} (the median run; {least} to {most})"


def search_parts(found: Sequence[SearchSummary], drawn: Drawn) -> Iterator[Part]:
    """What each search came to: its history or its front, what mattered, and its best trials."""
    for number, one in enumerate(found):
        name = "search" if not number else f"search_{number + 1}"
        counts = joined([f"{n:,} {state}" for state, n in one.counts.items()])
        goals = joined([f"{way} {metric}" for way, metric in zip(_ways(one), one.metrics, strict=True)])
        yield Paragraph(f"{one.name}: a search to {goals}. {count(len(one.trials), 'trial')}: {counts or 'none yet'}.")

        def link(trial: Trial) -> str:
            return drawn.links.get(trial.run or "", "")

        charts = (
            history_chart(one, name, link), front_chart(one, name, link), importance_chart(one, name, drawn.words),
        )  # fmt: skip
        if shown_charts := tuple(chart for chart in charts if isinstance(chart, Chart)):
            yield Row(shown_charts)
        if one.front:
            yield _front(one, drawn, link)


def _ways(found: SearchSummary) -> list[str]:
    return ["maximise" if direction == "maximize" else "minimise" for direction in found.directions]


def _front(found: SearchSummary, drawn: Drawn, link: Callable[[Trial], str]) -> Table:
    """The best trial, or those that none is better than."""
    keys = list(dict.fromkeys(key for trial in found.front for key in trial.params))
    rows = []
    for trial in found.front[:_MOST_ROWS]:
        name = trial.run or f"trial {trial.number}"
        numbers = (shown_number(metric, value) for metric, value in zip(found.metrics, trial.values, strict=True))
        values = (_tried(trial.params.get(key)) for key in keys)
        rows.append((Link(name, to) if (to := link(trial)) else name, *values, *numbers))
    heads = ("run", *(drawn.words.label(key) for key in keys), *found.metrics)
    several = len(found.metrics) > 1
    caption = "The trials that no other is better than in all objectives." if several else "The best trial."
    return Table(heads, tuple(rows), frozenset(range(1 + len(keys), len(heads))), caption)


def _tried(value: object) -> str:
    """A value that a search drew, in the digits that one would type."""
    return f"{value:.{_TRIAL_DIGITS}g}" if isinstance(value, float) else shown(value)
