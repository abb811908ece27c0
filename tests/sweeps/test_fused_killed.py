"""A fused sweep whose process is killed anywhere, started again each time, and what it ends in."""

from __future__ import annotations

import atexit
import json
import os
import random
import signal
import sys
from pathlib import Path

import pytest
from harness import Finished, forkserver, run_command

from lehr.sweeps.directory import SweepDirectory, state_of

SWEEP = (
    "train", "-m", "hydra/launcher=fused", "hydra.launcher.lanes=4", "kl.weight=0.5,1,2", "seed=0,1",
    "trainer.max_epochs=4", "trainer.limit_examples=200", "data.batch_size=32", "model.hidden=[16]", "kl.hold=0",
    "kl.warmup=1", "callbacks.checkpoints.every_seconds=0", "callbacks.samples=null", "evaluate=none",
)  # fmt: skip
"""Six runs, of which four are trained at a time."""
EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.link", "os.truncate"}


class Sweep:
    """A sweep in a directory, started as often as is wanted, always with the same command."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder, self.path = folder, folder / "sweep"

    def start(self, killed_at: int | None = None) -> Finished:
        """Its end, or what had become of it before it wrote, renamed or removed a file for the `killed_at`th time."""
        out, err = self._folder / "out.txt", self._folder / "err.txt"
        words = (*SWEEP, f"hydra.sweep.dir={self.path}")
        target = forkserver().Process(target=_counting, args=(words, str(out), str(err), str(self.path), killed_at))
        target.start()
        target.join(100)
        assert target.exitcode is not None
        return Finished(target.exitcode, out.read_text(), err.read_text())

    @property
    def operations(self) -> int:
        """How many there were until its end."""
        return int((self._folder / "sweep.count").read_text())

    @property
    def run_dirs(self) -> dict[str, Path]:
        return dict(sorted(SweepDirectory(self.path).run_dirs().items()))


def _counting(words: tuple[str, ...], out: str, err: str, folder: str, killed_at: int | None) -> None:
    """Run a command in this process, and count what it writes, renames or removes in `folder`."""
    count = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event not in EVENTS or folder not in str(arguments[0]):
            return
        if event == "open" and not int(arguments[2]) & (os.O_WRONLY | os.O_RDWR):  # type: ignore[call-overload]
            return
        count += 1
        if count == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    atexit.register(lambda: Path(f"{folder}.count").write_text(str(count)))
    run_command(words, out, err, {**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.mark.slow
def test_a_fused_sweep_killed_at_random_moments_ends_as_if_nothing_had_happened(tmp_path):
    calm, killed = Sweep(tmp_path / "calm"), Sweep(tmp_path / "killed")
    ended = calm.start()
    assert ended.code == 0, ended.err
    moments, seen = random.Random(4), set()
    for _ in range(5):
        ended = killed.start(moments.randrange(10, calm.operations // 3))
        assert ended.code == -signal.SIGKILL, ended.err
        seen |= {state_of(run_dir) for run_dir in killed.run_dirs.values()}
    assert seen == {"waiting", "interrupted", "done"}
    ended = killed.start()
    assert ended.code == 0, ended.err
    assert calm.run_dirs.keys() == killed.run_dirs.keys()
    for name, run_dir in calm.run_dirs.items():
        other = killed.run_dirs[name]
        assert files(other) == files(run_dir)
        # in other company, as after a kill, sums are added up in another order
        assert metrics(other) == pytest.approx(metrics(run_dir), rel=1e-6)


def metrics(run_dir: Path) -> dict[str, float]:
    found = json.loads((run_dir / "metrics.json").read_text())
    return {name: value for name, value in found.items() if not name.startswith("time/")}


def files(run_dir: Path) -> set[str]:
    """What it holds but for the curves of TensorBoard, which every start has one of."""
    found = {path.relative_to(run_dir).as_posix() for path in run_dir.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith("events.")}
