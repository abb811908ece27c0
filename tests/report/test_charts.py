"""Charts as pictures, of values that are not what Vega expects, and the colours of text on marks."""

from __future__ import annotations

import re

import pytest
from made_up_sweeps import close, metrics, write_run

import lehr
from lehr.report import vega
from lehr.report.vega import data, field

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
