"""The report of a sweep, or of several together: what each swept key did, then what that rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from lehr.evaluation.catalogue import LOOKED_AT_FIRST, final_split
from lehr.report.best import Best, best
from lehr.report.conclusions import say_best, say_progress, states_of
from lehr.report.document import ByMetric, Document, Folded, Paragraph, Part, Picture, Row, Section, Table
from lehr.report.effects import effects
from lehr.report.gather import Gathered
from lehr.report.layout import lay_out
from lehr.report.map_chart import map_chart
from lehr.report.numbers import described
from lehr.report.plane import rate_distortion
from lehr.report.plane_chart import plane_charts
from lehr.report.reading import is_of_codes, is_of_noise
from lehr.report.samplers import say_samplers
from lehr.report.search_summary import SearchSummary, read_searches
from lehr.report.sentences import say_effects
from lehr.report.sweep_charts import Drawn
from lehr.report.sweep_pictures import picture_matrix, small_pictures
from lehr.report.sweep_runs import curve_spec, ended_badly, links, missing, reports, run_data, runs_table
from lehr.report.sweep_sections import cost_parts, effect_parts, precision_parts, search_parts
from lehr.report.words import count, words_for
from lehr.sweeps.groups import Query, answer
from lehr.sweeps.results import SweepResults, shown

_ALSO = (
    "reconstruction/psnr", "posterior/effective_rank", "posterior/moment_kl_full", "posterior/scaling_factor",
    "generation/aggregate/frechet", "generation/prior/frechet", "generation/mixture/frechet",
    "representation/probe_accuracy", "posterior/codes_used", "time/images_per_second",
    "memory/peak_mib", "memory/gpu_peak_mib",
)  # fmt: skip
_MOST_SENTENCES = 8  # on the keys, before those that have to be unfolded


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
    searches = _searches(gathered)
    chosen = _metrics(results, metrics, searches)
    layout, known = lay_out(results), reports(gathered)
    drawn = Drawn(layout, chosen, links(gathered, known), words_for(results.keys, results.runs))
    found = {metric: effects(layout, metric) for metric in chosen}
    first = {metric: best(layout, metric) for metric in chosen}
    said = {metric: [one.text for one in say_effects(layout, metric, found[metric])] for metric in chosen}
    more = {metric: texts[_MOST_SENTENCES:] for metric, texts in said.items()}
    pictures = small_pictures([(gathered.path_of(run), run) for run in results.runs])
    sections = [
        Section("search", "What the search found", tuple(search_parts(searches, drawn))),
        Section("plane", "Rate and distortion", tuple(_plane(drawn, first))),
        Section("effects", "What each key does", tuple(effect_parts(drawn, found, more)) if chosen else ()),
        Section("precision", "Precision", tuple(precision_parts(drawn)) if chosen else ()),
        Section("runs", "The runs", (runs_table(gathered, chosen, known),) if results.runs else ()),
        Section("pictures", "What they draw", tuple(_drawn(results, drawn, pictures))),
        Section("failures", "What did not end well", tuple(ended_badly(gathered, drawn.links))),
        Section("cost", "What it cost", tuple(cost_parts(results))),
        Section("sweep", "The sweep", tuple(_of_the_sweep(gathered))),
    ]
    return Document(
        title=gathered.title,
        note=note(gathered),
        verdict=tuple(_verdict(gathered, drawn, first, said)),
        sections=tuple(section for section in sections if section.parts),
        metrics=tuple((name, described(name)[0]) for name in chosen),
        data={"runs": run_data(gathered, known, pictures), "curve": curve_spec()},
        refresh=None if gathered.progress.is_over else refresh,
    )


def note(gathered: Gathered) -> str:
    """How many runs there are, and in which states."""
    found = gathered.progress
    return f"{count(found.total, 'run')}: {', '.join(states_of(found)) or 'none yet'}"


def _searches(gathered: Gathered) -> list[SearchSummary]:
    """The searches in the directories, with the names that their runs have in the report."""
    names = {directory: name for name, directory in gathered.directories.items()}
    return [
        replace(found, trials=tuple(replace(t, run=names.get(path / t.run) if t.run else None) for t in found.trials))
        for path in gathered.paths
        for found in read_searches(path)
    ]


def _metrics(results: SweepResults, asked: Sequence[str] | None, searches: Sequence[SearchSummary]) -> tuple[str, ...]:
    """The metrics that may be chosen: what was asked for, or what was searched for and what people look at first."""
    known = results.metrics
    if not known:
        return ()
    if asked:
        return answer(results, Query(metrics=asked, runs=True)).metrics
    split = final_split(known)
    objectives = [metric for search in searches for metric in search.metrics]
    wanted = [*objectives, *(name.replace("SPLIT", split) for name in (*LOOKED_AT_FIRST, *_ALSO))]
    if all(is_of_codes(run.metrics) for run in results.runs if run.metrics):
        wanted = [name for name in wanted if name in objectives or not is_of_noise(name)]
    return tuple(dict.fromkeys(name for name in wanted if name in known)) or tuple(known)


def _verdict(
    gathered: Gathered, drawn: Drawn, first: Mapping[str, Sequence[Best]], said: Mapping[str, Sequence[str]]
) -> Iterator[Part]:
    """How far it has come; the best combination, then what each key did, by the metric that is chosen."""
    results = gathered.results
    if so_far := say_progress(gathered.progress):
        if not gathered.progress.is_over:
            so_far = f"The sweep is not finished. {so_far} What stands here is of those that are done."
        yield Paragraph(so_far)
    yield from missing(gathered, drawn.links)
    if said:
        yield ByMetric({metric: tuple(_answer(drawn, metric, first[metric], texts)) for metric, texts in said.items()})
    elif results.runs:
        yield Paragraph("No run has a number yet, so there is nothing to compare.")
    yield from (Paragraph(f"{line[0].upper()}{line[1:]}.") for line in results.notes)


def _answer(drawn: Drawn, metric: str, first: Sequence[Best], texts: Sequence[str]) -> Iterator[Paragraph]:
    for one in first:  # of each condition
        # what limits a statement belongs to it, not into a paragraph of its own
        yield Paragraph(" ".join(sentence.text for sentence in say_best(drawn.layout, metric, [one])))
    yield from map(Paragraph, texts[:_MOST_SENTENCES])


def _plane(drawn: Drawn, first: Mapping[str, Sequence[Best]]) -> Iterator[Part]:
    if not drawn.metrics:
        return
    charts = plane_charts(drawn, rate_distortion(drawn.layout), first)
    charts += [chart] if (chart := map_chart(drawn)) else []
    if charts:
        yield Row(tuple(charts))


def _drawn(results: SweepResults, drawn: Drawn, pictures: Mapping[str, Mapping[str, Picture]]) -> Iterator[Part]:
    """How near the samplers come to real images, then what the runs have drawn."""
    yield from (Paragraph(one.text) for one in say_samplers(results))
    yield from picture_matrix(drawn.layout, drawn.words, pictures)


def _of_the_sweep(gathered: Gathered) -> Iterator[Part]:
    yield Table(("directory",), tuple((str(path),) for path in gathered.paths))
    constant = tuple((key, shown(value)) for key, value in gathered.constant.items())
    if constant:
        yield Folded("What all runs have in common", (Table(("key", "value"), constant),))
