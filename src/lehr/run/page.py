"""A run as it is looked at: in a line, and in a notebook."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lehr.data.walk import in_words
from lehr.evaluation.catalogue import final_split
from lehr.evaluation.pictures import ERROR_SCALE
from lehr.run import html
from lehr.run.directory import RunDirectory
from lehr.run.evaluation import named, numbers_table, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lehr.run.load import Run

_FIRST = (
    "SPLIT/elbo", "SPLIT/rate", "SPLIT/distortion", "SPLIT/bits_per_dim", "posterior/active_units",
    "posterior/moment_kl_diag", "posterior/moment_kl_full", "posterior/scaling_factor", "posterior/shift_factor",
    "time/images_per_second",
)  # fmt: skip
CAPTIONS = {
    "aggregate": "samples from N(agg_mean, agg_var)",
    "prior": "samples from the prior",
    "interpolation": "along lines between latents",
    "reconstruction": "images, and their reconstructions below",
    "error": f"the worst of them first: image, reconstruction, and {ERROR_SCALE}",
    "traversal": "along each of the most active latents, all others at the mean of q(z)",
    "extremes": "the worst and the best reconstructions: image, reconstruction, error",
}
_SHOWN = ("aggregate", "prior", "reconstruction", "error")
_EXPORTED = {
    "best": "the weights of the best validation, after {step:,} steps and {images:,} images",
    "ema": "the averaged weights, after {step:,} steps and {images:,} images",
}


def run_line(run: Run) -> str:
    """The state and the final ELBO of a run, in a line."""
    metrics, state = run.metrics, run.status.get("state", "of unknown state")
    split = final_split(metrics)
    numbers = [
        f"{split} {name.partition('/')[2]} {shown(name, metrics[name])}"
        for name in (f"{split}/elbo", f"{split}/rate", f"{split}/distortion")
        if name in metrics
    ]
    weights = [f"weights={run.weights}"] if run.weights else []
    return f"<Run {run.path}: {', '.join([str(state), *weights, *numbers])}>"


def run_page(run: Run) -> str:
    """What a run has come to: numbers with their units, what the weights are, samples, and what to try next."""
    directory, status = RunDirectory(run.path), run.status
    state = " ".join(str(part) for part in (status.get("state"), status.get("finished") or "") if part)
    evaluation = run.evaluation
    return html.joined(
        html.title(f"Run {run.path}", state),
        html.paragraph(f"error: {status['error']}") if status.get("error") else "",
        _numbers(run),
        html.paragraph(_of_weights(run, status)),
        html.paragraph(evaluation.get("collapse/verdict") or "") if evaluation else "",
        html.paragraph(data_note(directory)),
        _pictures(directory) if run.weights is None else "",
        html.details("what was measured", numbers_table(evaluation)) if evaluation else "",
        _advice(run),
    )


def exported_note(status: Mapping[str, Any]) -> str:
    """Which weights a run has ended in, where it is not the last ones."""
    exported = status.get("exported")
    if not isinstance(exported, dict):
        return ""
    with suppress(KeyError, TypeError, ValueError):
        return f"These are {_EXPORTED[exported['weights']].format(**exported)}."
    return ""


def data_note(directory: RunDirectory) -> str:
    """Which data a run is of, how many in each split, and what of them it has not read; empty where nothing says so."""
    data = directory.read_data()
    with suppress(AttributeError, KeyError, TypeError, ValueError):  # of a file that somebody else has written
        counts = [f"{split['n']:,} {name}" for name, split in data["splits"].items() if split]
        parts = [f"{data['name']}, {', '.join(counts)} images"]
        if data.get("skipped"):
            parts.append(f"{len(data['skipped']):,} damaged files skipped")
        if left_out := data.get("left_out"):
            parts.append(f"left out: {in_words({reason: found['n'] for reason, found in left_out.items()})}")
        return f"Data: {'; '.join(parts)}."
    return ""


def _numbers(run: Run) -> html.Markup:
    metrics, rows = run.metrics, []
    split = final_split(metrics)
    for name in (word.replace("SPLIT", split) for word in _FIRST):
        if name in metrics:
            label, unit = named(name)
            if name == "posterior/active_units" and run.statistics is not None:
                unit = f"of {run.statistics.mean.numel():,}"
            prefix = f"{split} " if name.startswith(f"{split}/") else ""
            rows.append((f"{prefix}{label}", shown(name, metrics[name]), unit))
    return html.table(rows) if rows else html.paragraph("No final numbers yet.")


def _of_weights(run: Run, status: Mapping[str, Any]) -> str:
    if run.weights:
        return (
            f"Loaded with the weights of checkpoint {run.weights}; the numbers are of those that the run has ended in."
        )
    return exported_note(status)


def _pictures(directory: RunDirectory) -> html.Markup:
    found = [html.picture_of(directory.samples / f"{name}.png", CAPTIONS[name]) for name in _SHOWN]
    return html.side_by_side(*found) if any(found) else html.Markup()


def _advice(run: Run) -> html.Markup:
    lines, said = [], ""
    for advice in run.advice:
        reason = "or" if advice.reason == said else f"{advice.reason}:"
        said = advice.reason
        commands = [html.joined(", then " if place else "", html.code(c)) for place, c in enumerate(advice.commands)]
        lines.append(html.paragraph(html.joined(f"{reason} {advice.words}: ", *commands)))
    return html.joined(html.title("To try next"), *lines) if lines else html.Markup()
