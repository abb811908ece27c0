"""What `lehr evaluate` prints: the numbers of an evaluation that people look at, each with its unit."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lehr.evaluation.catalogue import Metric, find_metric
from lehr.evaluation.probes.table import probe_table

Table = Mapping[str, Any]
_WIDTH = 100
_LABEL = 24
_OF_SAMPLES = ("frechet", "kernel", "density", "coverage", "latent_log_prob")


def evaluation_table(table: Table) -> str:
    """The table as text, section by section; what was not measured is left out."""
    sections = [
        [f"  {table['dataset']}, {table['split']}: {_of_split(table)} examples"],
        list(_likelihood(table)),
        list(_collapse(table)),
        list(_reconstruction(table)),
        list(_generation(table)),
        list(_representation(table)),
        [probes] if (probes := probe_table(table)) else [],
        list(_wrapped(", ".join(table.get("not_finite") or ()), "  not finite, and so left out: ", "    ")),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def aligned(rows: Sequence[Sequence[str]], numbers: Iterable[int] = ()) -> list[str]:
    """Cells as lines of text, each column as wide as its widest cell; those of `numbers` are set to the right."""
    widths, right = [max(map(len, column)) for column in zip(*rows, strict=True)], set(numbers)

    def cells(row: Sequence[str]) -> Iterator[str]:
        for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
            yield cell.rjust(width) if i in right else cell.ljust(width)

    return ["  ".join(cells(row)).rstrip() for row in rows]


def _row(label: str, value: str, unit: str = "") -> str:
    return f"  {label:<{_LABEL}}{value:>12}  {unit}".rstrip()


def _metric(t: Table, name: str, unit: str | None = None, indent: str = "") -> Iterator[str]:
    """The row of a metric as the catalogue has it; none where it was not measured."""
    if t.get(name) is not None:
        metric = _known(name)
        yield _row(indent + metric.label, _number(t[name], metric.digits), metric.unit if unit is None else unit)


def _known(name: str) -> Metric:
    metric = find_metric(name)
    assert metric is not None, name
    return metric


def _number(value: float | None, digits: int = 2) -> str:
    if value is None:
        return "-"
    if abs(value) >= 1e7 or not math.isfinite(value):
        return f"{value:.4g}"
    return f"{value:,.{digits}f}".replace("-0." + "0" * digits, "0." + "0" * digits)


def _of_split(table: Table) -> str:
    n, total = table["examples"], table.get("split_examples")
    return f"{n:,}" if total in (None, n) else f"{n:,} of {total:,}"


def _wrapped(text: str, first: str = "  ", then: str = "  ") -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=then)


def _likelihood(t: Table) -> Iterator[str]:
    if note := t.get("likelihood/note"):
        yield from _wrapped(note, "  no likelihood: ", "    ")
        return
    yield from _metric(t, "likelihood/elbo", "nats per example")
    yield from _metric(t, "likelihood/rate", indent="  ")
    yield from _metric(t, "likelihood/distortion", indent="  ")
    k = t["likelihood/iwae_samples"]
    error = _number(t["likelihood/iwae_standard_error"], _known("likelihood/iwae_standard_error").digits)
    yield from _metric(t, "likelihood/iwae", f"nats, K = {k:,}, standard error {error}")
    yield from _metric(t, "likelihood/ess", f"of {k:,}", indent="  ")
    note = t.get("likelihood/bits_per_dim_note")
    if t.get("likelihood/bits_per_dim") is not None:
        yield from _metric(t, "likelihood/bits_per_dim", str(note or ""))
    elif note:
        yield from _wrapped(note, "  no bits per dimension: ", "    ")


def _collapse(t: Table) -> Iterator[str]:
    yield from _metric(t, "collapse/codes_used", f"of {t.get('collapse/codes')}")
    yield from _metric(t, "collapse/code_perplexity")
    yield from _metric(t, "collapse/active_units", f"of {t['collapse/latents']}")
    yield from _information(t)
    yield from _metric(t, "collapse/moment_kl_diag", "nats, of q(z) to N(0, I)")
    yield from _metric(t, "collapse/moment_kl_full")
    if t["collapse/moment_kl_diag"] is None:
        yield _row(_known("collapse/moment_kl_diag").label, "-", t["collapse/moment_kl_problem"] or "")
    elif t["collapse/moment_kl_full"] is None and t["collapse/moment_kl_problem"]:
        yield _row(_known("collapse/moment_kl_full").label, "-", t["collapse/moment_kl_problem"])
    yield from _metric(t, "collapse/effective_rank_signal", "of the signal Cov(E[z|x])")
    yield from _wrapped(t.get("collapse/verdict", ""))


def _information(t: Table) -> Iterator[str]:
    if "collapse/mi_lower" not in t:
        return
    metric = _known("collapse/mi_lower")
    if t.get("collapse/mi_problem") or t["collapse/mi_lower"] is None:
        yield _row(metric.label, "-", "not known: an estimate is not finite")
        return
    low, high, cap = (f"{t[f'collapse/mi_{name}']:.{metric.digits}f}" for name in ("lower", "upper", "cap"))
    if t["collapse/mi_saturated"]:
        yield _row(metric.label, f">= {low}", f"nats; saturated: the estimate is capped at ln M = {cap}")
    else:
        yield _row(metric.label, f"{low} - {high}", f"nats; the cap is ln M = {cap}")


def _reconstruction(t: Table) -> Iterator[str]:
    yield f"  {'reconstruction':<{_LABEL}}{'mean of q(z|x)':>16}{'sample':>12}"
    for name in ("reconstruction/psnr", "reconstruction/ssim", "reconstruction/mse"):
        metric = _known(name)
        label = "  " + ", ".join(filter(None, [metric.label, metric.unit]))
        mean, sampled = (_number(t[key], metric.digits) for key in (name, f"{name}_sampled"))
        yield f"  {label:<{_LABEL}}{mean:>16}{sampled:>12}"
    for name in ("exact_colours", "edge_error"):
        metric = _known(f"reconstruction/{name}")
        if (value := t.get(metric.name)) is not None:
            yield f"  {'  ' + metric.label:<{_LABEL}}{_number(value, metric.digits):>16}"


def _generation(t: Table) -> Iterator[str]:
    names = [key.split("/")[1] for key in t if key.startswith("generation/") and key.endswith("/frechet")]
    if not names:
        if note := t.get("generation/note"):
            yield f"  no comparison of samples: {note}"
        return
    metrics = {key: _known(f"generation/SAMPLER/{key}") for key in _OF_SAMPLES}
    yield f"  {'samples':<{_LABEL}}" + _in_columns([metric.label for metric in metrics.values()])
    for name in names:
        cells = [_number(t.get(f"generation/{name}/{key}"), metric.digits) for key, metric in metrics.items()]
        if t.get(f"generation/{name}/latent_log_prob_is_bound"):
            cells[-1] = f">= {cells[-1]}"
        yield f"    {name:<{_LABEL - 2}}" + _in_columns(cells)
    yield from _wrapped(t["generation/features"], "  features: ", "    ")
    for name, reason in t["generation/left_out"].items():
        yield from _wrapped(reason, f"  {name} left out: ", "    ")
    yield from _wrapped(t.get("generation/note") or "")


def _in_columns(cells: Sequence[str]) -> str:
    """The last one wider, since it may be a bound."""
    return "".join(f"{cell:>12}" for cell in cells[:-1]) + f"{cells[-1]:>15}"


def _representation(t: Table) -> Iterator[str]:
    if t.get("representation/probe_accuracy") is not None:
        baseline = _number(t["representation/probe_baseline"], _known("representation/probe_baseline").digits)
        unit = f"linear, from the mean of q(z|x); always the commonest: {baseline}"
        yield from _metric(t, "representation/probe_accuracy", unit)
    for name in ("mig", "sap", "dci", "factor_vae"):
        yield from _metric(t, f"representation/{name}")
    if t.get("representation/note"):
        yield f"  {t['representation/note']}"
