"""The same points trained alone, each after the other, and as lanes of one program; and whether they end alike."""

from __future__ import annotations

import itertools
import json
import signal
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from lehr.compose.composer import Command, composed
from lehr.evaluation.catalogue import without_execution
from lehr.sweeps.in_step import as_lane
from lehr.sweeps.point import Point
from lehr.sweeps.runner import run_point
from lehr.training.fused.conductor import Conductor

TINY = (
    "data=digits", "trainer.limit_examples=150", "data.batch_size=32", "model=mlp", "model.hidden=[16]",
    "model.latent_dim=3", "kl.hold=0", "kl.warmup=2", "trainer.max_epochs=4", "trainer.check_val_every_n_epoch=2",
    "trainer.log_every_n_steps=3", "evaluate=none", "callbacks.samples=null",
)  # fmt: skip
"""Four epochs of five steps, the last of an epoch with fewer examples."""


class Trainings:
    """Trains points below a folder."""

    def __init__(self, folder):
        self.folder = folder
        self._solo = {}

    def prepare(self, where, points):
        """A directory for each of these points, which are words."""
        found = []
        for i, words in enumerate(points):
            made, problems = composed(Command("train", None, [*TINY, *words]))
            assert made is not None, problems
            run_dir = self.folder / where / str(i)
            run_dir.mkdir(parents=True, exist_ok=True)
            Point(dict(made.values), {"point": i}).write(run_dir)
            found.append(run_dir)
        return found

    def alone(self, points):
        return self.train(self.prepare(f"alone-{len(list(self.folder.glob('alone-*')))}", points))

    def train(self, run_dirs):
        """Each alone."""
        for run_dir in run_dirs:
            run_point(run_dir, own_process=False)
        return run_dirs

    def fused(self, points, where=None):
        """As lanes of one program; what has ended each is in `self.problems`."""
        return self.go_on(self.prepare(where or f"fused-{len(list(self.folder.glob('fused-*')))}", points))

    def go_on(self, run_dirs, room=None):
        self.problems = {}
        run = partial(run_point, own_process=False)
        Conductor([partial(as_lane, run, run_dir) for run_dir in run_dirs], self.problems.__setitem__, room=room).run()
        return run_dirs


def weights(run_dir):
    return load_file(next((run_dir / "model").glob("*.safetensors")))


def metrics(run_dir):
    return without_execution(json.loads((run_dir / "metrics.json").read_text()))


VECTOR = "val/kl_per_dimension"


def history(run_dir):
    lines = [json.loads(line) for line in (run_dir / "history.jsonl").read_text().splitlines()]
    for line in lines:
        line |= {f"{VECTOR}/{i}": value for i, value in enumerate(line.pop(VECTOR, ()))}
    return [{name: value for name, value in line.items() if not name.startswith("time/")} for line in lines]


def checkpoint(run_dir, which="last"):
    return torch.load(run_dir / "checkpoints" / f"{which}.ckpt", weights_only=True)


def assert_same(one, other, rtol=1e-10):
    """Weights, metrics and curves of two runs."""
    left, right = weights(one), weights(other)
    assert left.keys() == right.keys()
    for name, weight in left.items():
        torch.testing.assert_close(right[name], weight, rtol=rtol, atol=rtol, msg=name)
    assert metrics(other) == pytest.approx(metrics(one), rel=rtol, abs=rtol)
    assert len(history(one)) == len(history(other)) > 3
    assert any(f"{VECTOR}/0" in point for point in history(one))
    for before, after in zip(history(one), history(other), strict=True):
        assert after == pytest.approx(before, rel=rtol, abs=rtol)


def signalled(function, call):
    """`function`, but that SIGINT comes to this process right before it is called for the `call`th time."""
    calls = itertools.count(1)

    def wrapped(*arguments):
        if next(calls) == call:
            signal.raise_signal(signal.SIGINT)
        return function(*arguments)

    return wrapped
