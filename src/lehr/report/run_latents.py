"""The section of a run's report on its latents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lehr.report import curve_charts as curve
from lehr.report import latent_charts as chart
from lehr.report.document import Chart, Paragraph, Part, Row
from lehr.report.reading import Arrays, RunFiles
from lehr.report.scatter_charts import scatter


def latents(files: RunFiles) -> Iterator[Part]:
    """The KL of each over time, active units, q(z) against the prior, and where images lie."""
    what = "channel" if _is_map(files.statistics) else "latent"
    curves: list[Chart | None] = []
    if not files.is_of_codes:
        curves = [
            curve.kl_over_time(files.kl_history, what),
            curve.active_over_time(files.curves),
            curve.active_curve(_mapping(files.evaluation.get("collapse/active_units_curve"))),
        ]
    if charts := tuple(found for found in curves if found is not None):
        yield Row(charts)
    if files.statistics is None:
        if files.state == "done":
            yield Paragraph("There are no statistics of q(z) here, or they are of other weights.")
        return
    yield from _maps(files.statistics, files.is_of_codes) if _is_map(files.statistics) else _flat(files.statistics)
    if files.latents is not None:
        signal = None if _is_map(files.statistics) else files.statistics["var_of_mean"]
        yield Row(tuple(scatter(files.latents, signal)))
        if files.latents.labels is None:
            yield Paragraph("These data have no labels to colour the images by.")


def _mapping(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


def _is_map(statistics: Arrays | None) -> bool:
    return statistics is not None and len(statistics.get("latent_shape", ())) == 3


def _flat(found: Arrays) -> Iterator[Part]:
    """q(z) of flat latents."""
    parts: list[Part] = [chart.against_prior(found["mean"], found["var"], found["var_of_mean"])]
    if "covariance" in found and len(found["covariance"]) > 1:
        parts.append(chart.covariance(found["covariance"], found["var_of_mean"]))
    yield Row(tuple(parts))


def _maps(found: Arrays, of_codes: bool) -> Iterator[Part]:
    """q(z) of latent maps, by channel and by position; of codes there is no noise, and N(0, 1) is not the prior."""
    if "channels.mean" in found and not of_codes:
        mean, var, signal = (found[f"channels.{name}"] for name in ("mean", "var", "var_of_mean"))
        yield chart.against_prior(mean, var, signal, "channel")
    shape = tuple(int(side) for side in found["latent_shape"])
    if found["mean"].size == np.prod(shape):
        maps = {name: found[name].reshape(shape).mean(0) for name in ("mean", "mean_of_var", "var_of_mean")}
        of_prior = "" if of_codes else "; 0 is the prior's"
        carries = "Var(E[z|x]), mean over channels: where latents carry something of the image."
        varies = "E[Var(z|x)], mean over channels."
        charts = [
            chart.position_map(
                maps["mean"], "position_mean", "E[z] by position", f"Mean over channels{of_prior}.", "E[z]"
            ),
            chart.position_map(maps["var_of_mean"], "position_signal", "Signal by position", carries, "Var(E[z|x])"),
        ]
        if not of_codes:
            charts.append(
                chart.position_map(maps["mean_of_var"], "position_noise", "Noise by position", varies, "E[Var(z|x)]")
            )
        yield Row(tuple(charts))
