"""`debug=profile`: the parts of a step add up to it, and the table says what the trace holds."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from lehr.models import MLP
from lehr.posterior.gaussian import DiagonalGaussian
from lehr.training.debugging.profile import Spent, operators_of, parts_of
from lehr.training.debugging.ranges import PARTS, PREFIX
from lehr.training.debugging.values import RECORDED


@dataclass
class _Event:
    name: str
    start: float
    end: float
    thread: int = 1
    kernels: list = field(default_factory=list)
    self_cpu_time_total: float = 0.0
    device_type: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(name="CPU"))

    @property
    def time_range(self):
        return SimpleNamespace(start=self.start, end=self.end)


def test_each_part_has_what_it_spent_by_itself():
    kernel = SimpleNamespace(duration=7)
    events = [
        _Event("ProfilerStep*", 0, 100),
        _Event(PREFIX + "rest of forward", 10, 60),
        _Event(PREFIX + "encode", 20, 40),
        _Event("aten::mm", 25, 30, kernels=[kernel, kernel], self_cpu_time_total=5),
        _Event(
            "aten::mul", 62, 63, thread=2, kernels=[kernel], self_cpu_time_total=1
        ),  # backward has a thread of its own
        _Event(PREFIX + "backward", 60, 90),
        _Event(PREFIX + "encode", 500, 700),  # of a validation after the last step
        _Event("gpu", 25, 90, device_type=SimpleNamespace(name="CUDA")),
    ]
    parts, steps = parts_of(events)
    assert steps == 1
    assert parts == {
        "loop": Spent(20, 0, 1),
        "rest of forward": Spent(30, 0, 1),
        "encode": Spent(20, 14, 1),
        "backward": Spent(30, 7, 1),
    }
    assert operators_of(events) == {"aten::mm": Spent(5, 14, 1), "aten::mul": Spent(1, 7, 1)}


def test_a_profile_names_every_part_and_they_add_up_to_the_step(lehr, tmp_path):
    before = DiagonalGaussian.sample, MLP.encode
    words = ("model.hidden=[8]", "data.batch_size=16", "trainer.accumulate_grad_batches=2")
    code, _, err = lehr("train", f"dir={tmp_path}/run", "debug=profile", *words)
    assert code == 0
    table = (tmp_path / "run" / "profile" / "step.txt").read_text()
    assert table in err
    row = re.compile(r"^  (\w[\w ]*\w) +([\d.]+) +[\d.]+% +([\d.]+)$", re.MULTILINE)
    rows = {name: (float(ms), float(calls)) for name, ms, calls in row.findall(table)}
    assert {*PARTS, "loop", "step"} <= rows.keys()
    of_parts = sum(rows[name][0] for name in (*PARTS, "loop"))
    assert of_parts == pytest.approx(rows["step"][0], abs=0.0005 * len(PARTS) + 0.001)
    for name in ("fetching data", "encode", "decode", "likelihood", "backward", "logging"):
        assert rows[name][1] == 2  # batches make a step
    trace = json.loads((tmp_path / "run" / "profile" / "trace.json").read_text())
    spans = [event["name"] for event in trace["traceEvents"] if event.get("cat") == "user_annotation"]
    assert spans.count(PREFIX + "backward") == 2 * RECORDED
    assert (DiagonalGaussian.sample, MLP.encode) == before  # nothing is left of it
