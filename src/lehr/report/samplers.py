"""Whether the samples of one sampler are nearer to real images than those of the prior, beyond chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from lehr.report.effects import adjusted, compared
from lehr.report.layout import lay_out, numbers_of
from lehr.report.sentences import Sentence, say_contrast
from lehr.report.words import Quantity, words_for
from lehr.run.status import DONE
from lehr.sweeps.results import RunResult, SweepResults

_SAMPLER = "of samples"  # no key of a configuration is called so
_DISTANCE = "generation/SAMPLER/frechet"
_EXAMPLES = "generation/examples"
_WHAT = Quantity(_DISTANCE, "Frechet distance", "", more_is_better=False)
_NO_SAMPLERS = ("real", "reconstruction")  # what stands beside them


def say_samplers(results: SweepResults) -> list[Sentence]:
    """What each sampler does to the Frechet distance, against the prior, in pairs of the same run.

    What is drawn at random are the seeds: differences are averaged over the combinations, seed by seed.
    """
    runs = list(_one_each(results))
    if not runs:
        return []
    layout = lay_out(SweepResults(results.path, [_SAMPLER, *results.keys], runs))
    numbers = numbers_of(layout, _DISTANCE)
    words = words_for(layout.keys, layout.runs)
    words = replace(words, labels={**words.labels, _SAMPLER: "sampler"})
    found = []
    for which, where in enumerate(numbers.where):
        rows = np.flatnonzero(~np.isnan(numbers.values) & (numbers.condition == which))
        names = layout.levels[_SAMPLER]
        reference = names.index("prior") if "prior" in names else 0
        pairs = [(i, reference, "reference") for i in range(len(names)) if i != reference]
        found += [(where, contrast) for contrast in compared(layout, numbers, rows, _SAMPLER, pairs)]
    contrasts = adjusted([contrast for _, contrast in found])
    return [
        say_contrast(_SAMPLER, where, contrast, words, _WHAT)
        for (where, _), contrast in zip(found, contrasts, strict=True)
    ]


def _one_each(results: SweepResults) -> Iterator[RunResult]:
    """Each run once for each of its samplers, which is as if it were swept."""
    for run in results.runs:
        for metric, value in run.metrics.items() if run.state == DONE and run.swept else ():
            section, name, measure = (*metric.split("/"), "", "")[:3]
            if section == "generation" and measure == "frechet" and name not in _NO_SAMPLERS:
                numbers = {_DISTANCE: value}
                if (examples := run.metrics.get(_EXAMPLES)) is not None:  # of other numbers of images it is another one
                    numbers[_EXAMPLES] = examples
                yield replace(run, name=f"{run.name} {name}", swept={_SAMPLER: name, **run.swept}, metrics=numbers)
