"""The report of a sweep, or of several together: what each swept key did, then what that rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lehr.evaluation.catalogue import LOOKED_AT_FIRST, final_split
from lehr.report import curve_charts
from lehr.report.document import ByMetric, Document, Folded, Paragraph, Part, Row, RunsTable, Section, Table, Thumbnails
from lehr.report.effect_charts import effect_plots
from lehr.report.effects import Effect, effects
from lehr.report.gather import Gathered
from lehr.report.layout import Layout, lay_out
from lehr.report.map_chart import value_map
from lehr.report.numbers import described
from lehr.report.parallel_chart import parallel_coordinates
from lehr.report.plane_chart import rate_distortion
from lehr.report.reading import RunFiles
from lehr.report.sentences import say_effects
from lehr.report.sweep_charts import Drawn
from lehr.report.sweep_pictures import KINDS, small_pictures
from lehr.report.vega import complete, data, field
from lehr.report.words import Words, words_for
from lehr.run.contents import REPORT
from lehr.run.evaluation import shown as shown_number
from lehr.run.status import DONE, FAILED
from lehr.sweeps.groups import Query, answer
from lehr.sweeps.results import RunResult, shown

_ALSO = (
    "reconstruction/psnr", "posterior/effective_rank", "posterior/moment_kl_full", "posterior/scaling_factor",
    "generation/aggregate/frechet", "generation/prior/frechet", "generation/mixture/frechet",
    "representation/probe_accuracy", "posterior/codes_used", "time/images_per_second",
)  # fmt: skip
_MOST_SENTENCES = 8
_CURVES = ("elbo", "rate", "distortion")
_MOST_CURVE_POINTS = 30
_MOST_CELLS = 400


def sweep_document(gathered: Gathered, metrics: Sequence[str] | None = None, refresh: int | None = None) -> Document:
    """What there is to say of a sweep.

    Args:
        gathered: its runs.
        metrics: that may be chosen, the first before anything is; None for what people look at first.
        refresh: seconds after which the page reads itself anew while the sweep is unfinished.

    Raises:
        ConfigError: for a metric that no run has.
    """
    results = gathered.results
    chosen = tuple(metrics or _metrics(results.metrics)) if results.metrics else ()
    groups = answer(results, Query(metrics=chosen or None))
    singles = answer(results, Query(metrics=chosen or None, runs=True))
    chosen = groups.metrics
    layout, words = lay_out(results), words_for(results.keys, results.runs)
    found = {metric: effects(layout, metric) for metric in chosen}
    drawn = Drawn(groups, singles, _links(gathered), words)
    pictures = small_pictures([(gathered.path_of(run), run) for run in results.runs])
    sections = (
        Section("plane", "Rate and distortion", tuple(_plane(drawn, results.metrics))),
        Section("effects", "What each key does", tuple(_effects(drawn, found))),
        Section("runs", "The runs", tuple(_runs(drawn, gathered))),
        Section("pictures", "What they draw", tuple(_pictures(layout, words, pictures))),
        Section("failures", "What did not end well", tuple(_failures(results.runs))),
        Section("sweep", "The sweep", tuple(_of_the_sweep(gathered))),
    )
    unfinished = any(run.state not in (DONE, FAILED, "pruned") for run in results.runs)
    return Document(
        title=gathered.title,
        note=note(gathered),
        verdict=tuple(_verdict(gathered, layout, found)),
        sections=tuple(section for section in sections if section.parts),
        metrics=tuple((name, described(name)[0]) for name in chosen),
        data={"runs": _data(gathered, drawn, pictures), "curve": _curve_spec()},
        refresh=refresh if unfinished or gathered.missing else None,
    )


def _metrics(known: Sequence[str]) -> list[str]:
    split = final_split(known)
    return [name for word in (*LOOKED_AT_FIRST, *_ALSO) if (name := word.replace("SPLIT", split)) in known] or list(
        known
    )


def _links(gathered: Gathered) -> dict[str, str]:
    """Where a click on a run leads: to its report, or where it has none to its row in the table."""
    return {run.name: report_link(gathered, run) or f"#unfold={quote(run.name)}" for run in gathered.results.runs}


def report_link(gathered: Gathered, run: RunResult) -> str:
    """The report of a run, relative to that of the sweep; empty where it has none."""
    there = gathered.path_of(run) / f"{REPORT}.html"
    return "./" + quote(f"{gathered.relative(run)}/{REPORT}.html") if there.is_file() else ""


def note(gathered: Gathered) -> str:
    counts = Counter(run.state for run in gathered.results.runs)
    parts = [f"{n:,} {state}" for state, n in counts.most_common()]
    if gathered.missing:
        parts.append(f"{gathered.missing:,} not begun")
    total = len(gathered.results.runs) + gathered.missing
    return f"{total:,} run{'s' if total != 1 else ''}: {', '.join(parts) or 'none yet'}"


def _verdict(
    gathered: Gathered, layout: Layout, found: Mapping[str, Sequence[Effect]]
) -> Iterator[Paragraph | ByMetric]:
    runs = gathered.results.runs
    left = [run for run in runs if run.state not in (DONE, FAILED, "pruned")]
    if left or gathered.missing:
        counts = Counter(run.state for run in left)
        parts = [f"{n:,} {state}" for state, n in counts.items()]
        parts += [f"{gathered.missing:,} not begun"] if gathered.missing else []
        yield Paragraph(
            f"The sweep is not finished: {', '.join(parts)}. What stands here is of the runs that are done."
        )
    if not found:
        yield Paragraph("No run is done yet, so there is nothing to compare.")
        return
    said: dict[str, tuple[Part, ...]] = {}
    for metric, effects_of in found.items():
        sentences = [sentence.text for sentence in say_effects(layout, metric, list(effects_of))]
        said[metric] = tuple(Paragraph(text) for text in sentences[:_MOST_SENTENCES])
    yield ByMetric(said)
    for note in gathered.results.notes:
        yield Paragraph(note)


def _plane(drawn: Drawn, known: Sequence[str]) -> Iterator[Part]:
    charts = [found] if (found := rate_distortion(drawn, final_split(known))) else []
    charts += value_map(drawn)
    if charts:
        yield Row(tuple(charts))


def _effects(drawn: Drawn, found: Mapping[str, Sequence[Effect]]) -> Iterator[Part]:
    plots = effect_plots(drawn, found)
    if plots:
        yield Row(tuple(plots))
    if lines := parallel_coordinates(drawn):
        yield lines


def _runs(drawn: Drawn, gathered: Gathered) -> Iterator[Part]:
    results = gathered.results
    rows = []
    for run in results.runs:
        swept = [shown(run.swept[key]) if key in run.swept else "" for key in results.keys]
        numbers = [run.metrics.get(name) for name in drawn.metrics]
        cells = [
            shown_number(n, float(v)) if v is not None else "" for n, v in zip(drawn.metrics, numbers, strict=True)
        ]
        rows.append((run.state, *swept, *cells))
    links = {run.name: link for run in results.runs if (link := report_link(gathered, run))}
    metrics = tuple((name, " ".join(filter(None, described(name)))) for name in drawn.metrics)
    yield RunsTable(tuple(results.keys), metrics, tuple(rows), tuple(run.name for run in results.runs), links)


def _pictures(layout: Layout, words: Words, pictures: Mapping[str, Mapping[str, Any]]) -> Iterator[Part]:
    """A picture of each group: the first of its runs that has drawn any."""
    if not pictures:
        return
    first: dict[int, RunResult] = {}
    for run, group in zip(layout.runs, layout.group.tolist(), strict=True):
        if run.name in pictures:
            first.setdefault(group, run)
    keys = sorted(layout.keys, key=lambda key: -len(layout.levels[key]))
    column = keys[0] if keys else None
    across = list(layout.levels[column]) if column else [None]
    rows: dict[tuple[str, ...], list[str | None]] = {}
    for group, run in first.items():
        values = layout.values(group)
        rest = tuple(f"{words.label(key)} {words.value(key, value)}" for key, value in values.items() if key != column)
        cells = rows.setdefault(rest, [None] * len(across))
        cells[across.index(values[column]) if column else 0] = run.name
    kept = dict(list(rows.items())[: max(1, _MOST_CELLS // len(across))])
    labels = tuple(words.value(column, value) for value in across) if column else ("",)
    kinds = tuple(kind for kind in KINDS if any(kind[0] in found for found in pictures.values()))
    if len(kept) < len(rows):
        yield Paragraph(
            f"{len(rows) - len(kept):,} of {len(rows):,} rows are left out; each run unfolds its own in the table."
        )
    used = {name for cells in kept.values() for name in cells if name}
    yield Thumbnails(
        labels, tuple(", ".join(rest) for rest in kept), tuple(map(tuple, kept.values())), kinds,
        {name: found for name, found in pictures.items() if name in used}, words.label(column) if column else "",
    )  # fmt: skip


def _failures(runs: Sequence[RunResult]) -> Iterator[Part]:
    wrong = [run for run in runs if run.error]
    if wrong:
        yield Table(("run", "state", "error"), tuple((run.name, run.state, run.error or "") for run in wrong))


def _of_the_sweep(gathered: Gathered) -> Iterator[Part]:
    rows = [(str(path),) for path in gathered.paths]
    yield Table(("directory",), tuple(rows))
    constant = tuple((key, shown(value)) for key, value in gathered.constant.items())
    if constant:
        yield Folded("What all runs have in common", (Table(("key", "value"), constant),))


def _data(gathered: Gathered, drawn: Drawn, pictures: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each run what its row unfolds to."""
    found = []
    for run in gathered.results.runs:
        one: dict[str, Any] = {"name": run.name, "state": run.state, "error": run.error}
        if link := report_link(gathered, run):
            one["href"] = link
        if run.name in pictures:
            one["pictures"] = pictures[run.name]
        if curves := _run_curves(gathered.path_of(run)):
            one["curves"] = curves
        found.append(one)
    return found


def _run_curves(path: Path) -> list[tuple[str, list[tuple[int, float | None]]]]:
    curves = RunFiles(path).curves
    found = []
    for name in _CURVES:
        points = list(curve_charts.points(curves.get(f"val/{name}"), _MOST_CURVE_POINTS, 4))
        if len(points) > 1:
            found.append((name, points))
    return found


def _curve_spec() -> dict[str, Any]:
    """The chart of a run's curves in its unfolded row; the data come with the run."""
    return complete({
        "data": data([]),
        "mark": {"type": "line", "point": {"size": 18}, "strokeWidth": 1.5},
        "encoding": {
            "x": field("images:Q", title="images seen", axis={"format": "~s"}),
            "y": field("value:Q", title="nats, validation", scale={"zero": False}),
            "color": field("curve:N", title=None, scale={"domain": list(_CURVES)}),
        },
        "width": 330, "height": 190,
    })  # fmt: skip
