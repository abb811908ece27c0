"""A fused sweep whose process is killed anywhere, started again each time, and what it ends in."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "benchmark"))

from counted import SITE
from harness import Finished, forkserver, run_command

from lehr.evaluation.catalogue import without_execution
from lehr.sweeps.directory import SweepDirectory, state_of

SWEEP = (
    "train", "-m", "hydra/launcher=fused", "hydra.launcher.lanes=4", "kl.weight=0.5,1,2", "seed=0,1",
    "trainer.max_epochs=4", "trainer.limit_examples=200", "data.batch_size=32", "model.hidden=[16]", "kl.hold=0",
    "kl.warmup=1", "callbacks.checkpoints.every_seconds=0", "callbacks.samples=null", "evaluate=none",
)  # fmt: skip
"""Six runs, of which four are trained at a time."""


class Sweep:
    """A sweep in a directory, started as often as is wanted, always with the same command."""

    def __init__(self, folder: Path, workers: int) -> None:
        folder.mkdir()
        self._folder, self.path = folder, folder / "sweep"
        self._words = (*SWEEP, f"pool.workers={workers}", f"hydra.sweep.dir={self.path}")
        (folder / "sitecustomize.py").write_text(SITE)

    def start(self, killed_before: int = 0) -> Finished:
        """Its end, whatever that was."""
        out, err = self._folder / "out.txt", self._folder / "err.txt"
        python = os.pathsep.join(filter(None, [str(self._folder), os.environ.get("PYTHONPATH")]))
        values = {"OMP_NUM_THREADS": "1", "PYTHONPATH": python, "KILLED_FOLDER": str(self.path)}
        arguments = self._words, str(out), str(err), {**os.environ, **values, "KILLED_BEFORE": str(killed_before)}
        process = forkserver().Process(target=_counting, args=arguments)
        process.start()
        process.join(100)
        assert process.exitcode is not None
        return Finished(process.exitcode, out.read_text(), err.read_text())

    @property
    def run_dirs(self) -> dict[str, Path]:
        return dict(sorted(SweepDirectory(self.path).run_dirs().items()))


def _counting(words: tuple[str, ...], out: str, err: str, environment: dict[str, str]) -> None:
    """Run a command in this process, which began before anybody said that files are to be counted."""
    os.environ.update(environment)
    exec(SITE, {})
    run_command(words, out, err, environment)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_fused_sweep_killed_at_random_moments_ends_as_if_nothing_had_happened(tmp_path, workers):
    calm, killed = Sweep(tmp_path / "calm", workers), Sweep(tmp_path / "killed", workers)
    ended = calm.start()
    assert ended.code == 0, ended.err
    moments, seen = random.Random(4), set()
    for _ in range(5):
        ended = killed.start(moments.randrange(10, 600 // workers))  # of some 300 for each run
        assert ended.code == -signal.SIGKILL, ended.err
        seen |= {state_of(run_dir) for run_dir in killed.run_dirs.values()}
    assert seen >= {"waiting", "interrupted"}
    ended = killed.start()
    assert ended.code == 0, ended.err
    assert calm.run_dirs.keys() == killed.run_dirs.keys()
    for name, run_dir in calm.run_dirs.items():
        other = killed.run_dirs[name]
        assert files(other) == files(run_dir)
        # the first step of what is gone on with is taken alone, and adds up its sums in another order
        assert metrics(other) == pytest.approx(metrics(run_dir), rel=1e-6)


def metrics(run_dir: Path) -> dict[str, float]:
    return without_execution(json.loads((run_dir / "metrics.json").read_text()))


def files(run_dir: Path) -> set[str]:
    """What it holds but for the curves of TensorBoard, which every start has one of."""
    found = {path.relative_to(run_dir).as_posix() for path in run_dir.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith("events.")}
