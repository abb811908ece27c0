"""One run, killed anywhere in its life and started again with the same command, until it is done."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from counted import SITE
from watched import group, kill

from lehr.run.directory import RunDirectory

_FINISHED = "holds a finished run"
_TIMES = ("time/", "seconds", "wall")


@dataclass(frozen=True)
class Moment:
    """When a process is to be killed: before the file operation of this number, or after so many seconds."""

    seconds: float
    operation: int | None


class Life:
    """A run in its directory, started as often as is wanted, always with the same command."""

    def __init__(self, path: Path, site: Path, options: argparse.Namespace) -> None:
        self.path = path
        self._site = site
        self._command = [
            sys.executable, "-m", "lehr", "train", f"dir={path}", f"trainer.max_epochs={options.epochs}",
            "kl.hold=0", f"kl.warmup={max(1, options.epochs // 5)}", "callbacks.checkpoints.every_seconds=0.2",
            f"evaluate={options.evaluate}",
        ]  # fmt: skip

    def start(self, **environment: str) -> subprocess.Popen[str]:
        path = os.pathsep.join(filter(None, [str(self._site), os.environ.get("PYTHONPATH")]))
        return subprocess.Popen(
            self._command,
            env={**os.environ, "PYTHONPATH": path, "KILLED_FOLDER": str(self.path), **environment},
            start_new_session=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def undisturbed(self) -> tuple[float, int]:
        """Run it to its end: the seconds that it took, and how many file operations."""
        count, started = self.path.with_suffix(".count"), time.perf_counter()
        code, said = self.attempt(None, KILLED_COUNT=str(count))
        if code:
            raise SystemExit(f"the undisturbed run ended with {code}:\n{said}")
        return time.perf_counter() - started, int(count.read_text())

    def attempt(self, moment: Moment | None, **environment: str) -> tuple[int, str]:
        """Start it, and kill it at this moment, if it lives so long: its exit code, and what it said."""
        by_clock = moment is not None and moment.operation is None
        if moment and moment.operation:
            environment["KILLED_BEFORE"] = str(moment.operation)
        with group(self.start(**environment)) as process:
            try:
                said, _ = process.communicate(timeout=moment.seconds if moment and by_clock else None)
            except subprocess.TimeoutExpired:
                kill(process)
                said = process.communicate()[0]
        return process.returncode, said

    def stage(self, final: int) -> str:
        """What the run, of `final` images, was at when it was killed, as its directory shows it."""
        directory = RunDirectory(self.path)
        if not directory.status.exists():
            return "imports"
        if not directory.last_checkpoint.exists():
            return "set-up"
        if directory.state() == "done":
            return "evaluation"
        return "training" if self.images() < final else "the end"

    def images(self) -> int:
        """How many images training has seen, as far as its curves say."""
        history = RunDirectory(self.path).history
        lines = history.read_text().splitlines() if history.exists() else []
        return max((json.loads(line).get("images", 0) for line in lines if line.endswith("}")), default=0)

    def found(self) -> dict[str, str]:
        """What the run has come to: a digest of each file whose content is a function of the configuration."""
        files = [path for name in ("model", "posterior", "samples") for path in sorted((self.path / name).rglob("*"))]
        files += [*self.path.glob("evaluation*.json"), self.path / "metrics.json", self.path / "history.jsonl"]
        return {path.relative_to(self.path).as_posix(): _digest(path) for path in files if path.is_file()}


def single(options: argparse.Namespace, folder: Path) -> list[str]:
    """`options.single` kills by the clock and as many by file operation, each at a uniformly random place."""
    (folder / "sitecustomize.py").write_text(SITE)
    calm = Life(folder / "undisturbed", folder, options)
    calm.undisturbed()  # whatever is read for the first time is cached then
    shutil.rmtree(calm.path)
    seconds, operations = calm.undisturbed()
    wanted = calm.found()
    print(f"undisturbed: {seconds:.1f} s, {operations} file operations, {len(wanted)} files compared", flush=True)
    killer = Killer(random.Random(options.seed), seconds, operations, calm.images())
    runs = 0
    while killer.kills.total() < 2 * options.single:
        life = Life(folder / f"killed-{runs}", folder, options)
        runs += 1
        if problem := killer.until_done(life):
            return [f"{life.path.name} {problem}"]
        if different := _different(wanted, life.found()):
            return [f"{life.path.name} differs in {', '.join(different)}"]
        shutil.rmtree(life.path)
        print(f"run {runs}: done and equal after {killer.kills.total()} kills in all", flush=True)
    print("\nkilled in     by the clock  by file operation")
    for stage in ("imports", "set-up", "training", "the end", "evaluation"):
        print(f"{stage:<12}{killer.kills[stage, 'clock']:>14}{killer.kills[stage, 'file']:>19}")
    return []


@dataclass
class Killer:
    """Kills runs that would live so many `seconds`, do so many file `operations` and see so many `images`."""

    rng: random.Random
    seconds: float
    operations: int
    images: int
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)

    def until_done(self, life: Life) -> str | None:
        """Kill `life` once, and again with probability 1/2 each time, then let it come to its end; what went wrong."""
        while True:
            by_clock = self.rng.random() < 0.5
            moment = Moment(
                self.seconds * self.rng.random(), None if by_clock else self.rng.randint(1, self.operations)
            )
            code, said = life.attempt(moment)
            if code == 0:
                return None
            if _FINISHED in said:  # it was killed while it took its leave
                return None
            if code != -signal.SIGKILL:
                return f"ended with {code}:\n{said}"
            self.kills[life.stage(self.images), "clock" if by_clock else "file"] += 1
            if self.rng.random() < 0.5:
                break
        code, said = life.attempt(None)
        return f"ended with {code} after it was killed:\n{said}" if code and _FINISHED not in said else None


def _different(wanted: dict[str, str], found: dict[str, str]) -> list[str]:
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def _digest(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix in (".json", ".jsonl"):
        lines = content.decode().splitlines() if path.suffix == ".jsonl" else [content.decode()]
        content = json.dumps([_timeless(json.loads(line)) for line in lines]).encode()
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _timeless(value: Any) -> Any:
    """Without what says how long something took."""
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if not key.startswith(_TIMES)}
    return value
