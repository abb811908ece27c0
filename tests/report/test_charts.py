"""Charts as pictures, of values that are not what Vega expects, and the colours of text on marks."""

from __future__ import annotations

import re

import pytest
from made_up_sweeps import close, metrics, write_run
from planted import ELBO, results, run

import lehr
from lehr.report import vega
from lehr.report.layout import lay_out
from lehr.report.map_chart import map_chart
from lehr.report.sweep_charts import Drawn
from lehr.report.vega import data, field
from lehr.report.words import words_for

OF_OBJECTS = (
    "constructor", "__proto__", "toString", "valueOf", "hasOwnProperty", "isPrototypeOf", "toLocaleString",
    "propertyIsEnumerable", "__defineGetter__", "__lookupSetter__",
)  # fmt: skip


def test_values_that_are_called_as_what_every_object_of_javascript_has_are_drawn_in_their_order():
    rows = [{"x": name, "y": i + 1} for i, name in enumerate(OF_OBJECTS)]
    x, y = field("x:N", sort=list(OF_OBJECTS)), field("y:Q")
    spec = {"data": data(rows), "mark": "bar", "encoding": {"x": x, "y": y, "color": x}}
    drawn = vega.svg({**spec, "width": 1000})
    labels = re.findall(r">([^<>]+)</text>", drawn.split("role-axis-label")[1])
    assert [label.replace("&nbsp;", " ").strip() for label in labels][: len(OF_OBJECTS)] == list(OF_OBJECTS)
    assert len(set(re.findall(r'aria-label="x: (\w+)', drawn))) == len(OF_OBJECTS)  # a bar of each


@pytest.mark.slow
@pytest.mark.parametrize("format", ["md", "png", "pdf"])
def test_a_sweep_over_such_values_can_be_written(tmp_path, format):
    for name in OF_OBJECTS[:4]:
        for weight in (1.0, 4.0):
            write_run(tmp_path / "sweep", {"model": name, "kl.weight": weight}, metrics(-20.0 - weight))
    close(tmp_path / "sweep", ["model", "kl.weight"])
    assert lehr.write_report(tmp_path / "sweep", format=format).stat().st_size > 1000


def luminance(colour):
    """Of an "rgb(68, 1, 84)", "#fff" or "#000", https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    parts = {"#fff": (255, 255, 255), "#000": (0, 0, 0)}.get(colour) or [int(x) for x in re.findall(r"\d+", colour)]
    linear = [x / 255 / 12.92 if x / 255 <= 0.04045 else ((x / 255 + 0.055) / 1.055) ** 2.4 for x in parts]
    return sum(share * x for share, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("numbers", [[i / 143 for i in range(144)], [-(2.0**-i) for i in range(144)], [3.0] * 144])
def test_numbers_on_a_map_are_told_from_their_cells(numbers):
    runs = [
        run({"kl.weight": weight, "kl.warmup": warmup}, {ELBO: numbers[12 * weight + warmup]})
        for weight in range(12)
        for warmup in range(12)
    ]
    layout = lay_out(results(["kl.weight", "kl.warmup"], runs))
    links = {one.name: "" for one in runs}
    chart = map_chart(Drawn(layout, (ELBO,), links, words_for(layout.keys, layout.runs)))
    drawn = vega.svg(chart.spec)
    cells = re.findall(r'<path [^>]*?fill="(rgb[^"]+)"', drawn.split("mark-rect role-mark")[1].split("</g>")[0])
    texts = re.findall(r'<text [^>]*?fill="([^"]+)"', drawn.split("mark-text role-mark")[2].split("</g>")[0])
    assert len(cells) == len(texts) == 144
    for cell, text in zip(cells, texts, strict=True):
        low, high = sorted((luminance(cell), luminance(text)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (cell, text)


def test_what_all_charts_have_in_common_is_added_once():
    done = vega.complete({"mark": "bar", "data": data([{"x": "a\x00"}])})
    assert vega.complete(done) is done


@pytest.mark.parametrize("largest", [1.7e31, 3e17])
def test_axes_of_numbers_of_a_training_that_diverged_have_short_labels(largest):
    axes = {"x": field("a:Q"), "y": field("b:Q")}
    rows = data([{"a": 0, "b": 0}, {"a": largest, "b": largest}])
    drawn = vega.svg({"data": rows, "mark": "point", "encoding": axes, "width": 400, "height": 300})
    labels = re.findall(r">(-?[0-9][^<>]*)</text>", drawn)
    assert any("e+" in label for label in labels)
    assert max(map(len, labels)) <= 7
