"""Runs that are trained alone and fused."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for alike and made_up


@pytest.fixture
def trainings(tmp_path):
    from alike import Trainings

    return Trainings(tmp_path)


@pytest.fixture(scope="session")
def shared_trainings(tmp_path_factory):
    from alike import Trainings

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


@pytest.fixture
def taken(monkeypatch):
    """What steps were taken of lanes that are made up: the name and the step of each that took part."""
    from lehr.training.fused import cohort

    steps = []

    def step(program, asked, i):
        steps.append([(one.module.name, one.step + i) for one in asked])
        for one in asked:
            one.result = "taken"

    monkeypatch.setattr(cohort, "step", step)
    monkeypatch.setattr(cohort, "Program", lambda modules, context: None)
    monkeypatch.setattr(cohort, "forward_context", lambda trainer: None)
    return steps
