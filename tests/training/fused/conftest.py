"""The same points trained alone, each after the other, and as lanes of one program."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest

from lehr.compose.composer import Command, composed
from lehr.sweeps.fused import as_lane
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
        found = self.prepare(f"alone-{len(list(self.folder.glob('alone-*')))}", points)
        for run_dir in found:
            run_point(run_dir, own_process=False)
        return found

    def fused(self, points, where=None):
        """As lanes of one program; what has ended each is in `self.problems`."""
        return self.go_on(self.prepare(where or f"fused-{len(list(self.folder.glob('fused-*')))}", points))

    def go_on(self, run_dirs):
        self.problems = {}
        run = partial(run_point, own_process=False)
        Conductor([partial(as_lane, run, run_dir) for run_dir in run_dirs], self.problems.__setitem__).run()
        return run_dirs


@pytest.fixture
def trainings(tmp_path):
    return Trainings(tmp_path)


@pytest.fixture(scope="session")
def shared_trainings(tmp_path_factory):
    return Trainings(tmp_path_factory.mktemp("trainings"))


@pytest.fixture(scope="session")
def three(shared_trainings):
    """Three points that differ in much, in float64: alone and fused. Not to be changed."""
    points = [
        ("trainer.precision=64-true", "seed=0", "kl.weight=0.5"),
        ("trainer.precision=64-true", "seed=1", "kl.weight=2", "kl.shape=cosine", "optimizer.lr=3e-3",
         "trainer.gradient_clip_val=5"),
        ("trainer.precision=64-true", "seed=1", "kl.weight=1", "kl.hold=1", "kl.warmup=1", "optimizer.decay=cosine"),
    ]  # fmt: skip
    return SimpleNamespace(points=points, alone=shared_trainings.alone(points), fused=shared_trainings.fused(points))
