"""What a search found, as pictures: its history, what mattered, and what no trial is better than."""

from __future__ import annotations

from collections.abc import Callable

from lehr.report.document import Chart, Spec
from lehr.report.numbers import described, significant
from lehr.report.search_summary import SearchSummary, Trial
from lehr.report.vega import COLOURS, data, field
from lehr.report.words import Words

_OBJECTIVES = 2


def history_chart(found: SearchSummary, name: str, link: Callable[[Trial], str]) -> Chart | None:
    """Each trial with its value, and the best so far; None with several objectives, or before the first is done."""
    done = [trial for trial in found.trials if trial.values]
    if len(found.metrics) != 1 or not done:
        return None
    title = _title(found.metrics[0])
    rows = [{"trial": t.number, "value": significant(t.values[0]), "name": t.run or "", "href": link(t)} for t in done]
    best = [{"trial": t.number, "value": significant(t.best_so_far)} for t in found.trials if t.best_so_far is not None]
    x = field("trial:Q", title="trial", axis={"tickMinStep": 1, "format": "d"})
    y = field("value:Q", title=title, scale={"zero": False})
    tooltip = [field("name", title="run"), field("trial", title="trial"), field("value:Q", title=title, format=".5~g")]
    step = {"type": "line", "interpolate": "step-after", "strokeWidth": 2, "color": COLOURS[1], "tooltip": False}
    dots = {"type": "point", "filled": True, "size": 45, "color": COLOURS[0], "opacity": 0.8}
    spec: Spec = {
        "layer": [
            {"data": data(best), "mark": step, "encoding": {"x": x, "y": y}},
            {"data": data(rows), "mark": dots, "encoding": {"x": x, "y": y, "href": field("href"), "tooltip": tooltip}},
        ],
        "width": 480,
        "height": 240,
    }
    caption = "Dots: trials that are done, in the order in which they were asked for. The line is the best so far."
    return Chart(f"{name}_history", "The history of the search", spec, caption)


def importance_chart(found: SearchSummary, name: str, words: Words) -> Chart | None:
    """What share of the variance of each objective a key explains; None where too few trials are done."""
    rows = [
        {"key": words.label(key), "share": significant(share, 4), "objective": _title(metric)}
        for metric, shares in zip(found.metrics, found.importances, strict=True)
        for key, share in shares.items()
    ]
    if not rows:
        return None
    spec: Spec = {
        "data": data(rows),
        "mark": "bar",
        "encoding": {
            "x": field("share:Q", title="share of the variance", axis={"format": "%"}, scale={"domain": [0, 1]}),
            "y": field("key:N", title=None, sort=None),
            "tooltip": [field("key"), field("share:Q", format=".1%"), field("objective")],
        },
        "width": 320,
        "height": 24 * len(rows),
    }
    if len(found.metrics) > 1:
        order = list(map(_title, found.metrics))
        spec["encoding"] |= {
            "color": field("objective:N", title=None, sort=order), "yOffset": field("objective:N", sort=order),
        }  # fmt: skip
    caption = (
        "How much of what sets good trials apart a key explains (PED-ANOVA, Watanabe et al. 2023); they add up to 1."
    )
    return Chart(f"{name}_importances", "What mattered", spec, caption)


def front_chart(found: SearchSummary, name: str, link: Callable[[Trial], str]) -> Chart | None:
    """All trials by the first two objectives, and the Pareto front; None with one objective."""
    done = [trial for trial in found.trials if len(trial.values) >= _OBJECTIVES]
    if not done:
        return None
    rows = [
        {
            "x": significant(t.values[0]), "y": significant(t.values[1]), "front": t.on_front,
            "name": t.run or f"trial {t.number}", "href": link(t),
        }
        for t in done
    ]  # fmt: skip
    x, y = (field(f"{of}:Q", title=_title(found.metrics[i]), scale={"zero": False}) for i, of in enumerate(("x", "y")))
    tooltip = [field("name", title="run"), field("x:Q", format=".5~g"), field("y:Q", format=".5~g")]
    line = {"type": "line", "color": COLOURS[1], "strokeWidth": 1.5, "tooltip": False}
    layers: list[Spec] = []
    if len(found.metrics) == _OBJECTIVES:  # of more the front is no line
        front = [row for row in rows if row["front"]]
        layers.append({"data": data(front), "mark": line, "encoding": {"x": x, "y": y, "order": field("x:Q")}})
    colour = {"condition": {"test": "datum.front", "value": COLOURS[1]}, "value": COLOURS[0]}
    size = {"condition": {"test": "datum.front", "value": 90}, "value": 40}
    dots = {"type": "point", "filled": True, "opacity": 0.85}
    encoding = {"x": x, "y": y, "color": colour, "size": size, "href": field("href"), "tooltip": tooltip}
    layers.append({"data": data(rows), "mark": dots, "encoding": encoding})
    spec: Spec = {"layer": layers, "width": 480, "height": 320}
    return Chart(f"{name}_front", "The Pareto front", spec, "Large: no other trial is better in all objectives.")


def _title(metric: str) -> str:
    return ", ".join(filter(None, described(metric)))
