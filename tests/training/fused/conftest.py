"""Runs that are trained alone and fused."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for alike


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
