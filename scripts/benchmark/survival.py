"""Whether a sweep survives: kills, company and faults, at full size.

By default *exactly once*: a sweep of the digits is killed with SIGKILL, its whole process group, at random times, and
started again until it is done; then it is compared with one that nothing happened to. Every point keeps a diary
(witness.txt in its run directory): each attempt at it, each epoch, each end. A point is done once if its diary ends
with its end, if every attempt went on from where an earlier one had come to, and if no file of it changed after it was
first seen done. results.csv must be the same, byte for byte.

    python scripts/benchmark/survival.py --points 24 --epochs 30 --kills 10
    python scripts/benchmark/survival.py --two       # two processes at once on one directory: no point is done twice
    python scripts/benchmark/survival.py --faults    # 12 points, of which 5 end in different kinds of disaster
    python scripts/benchmark/survival.py --faults --oom    # one of them by allocating memory until the kernel kills it
    python scripts/benchmark/survival.py --single 100      # one run instead of a sweep, killed anywhere in its life

A single run is killed by the clock, and as often before a file is opened for writing, renamed or removed, each time at
a uniformly random place of its whole life; the same command is given until it is done. Every file of the model, the
statistics, the pictures and the evaluation, metrics and curves must be those of a run that nothing happened to.

The exit code is 1 if something did not survive.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from killed import single
from watched import DIARY, ERRORS, FAULT, FAULTS, IMPOSSIBLE, WITNESS, Sweep, group, kill

from lehr.sweeps.directory import SweepDirectory
from lehr.sweeps.point import Point
from lehr.sweeps.results import read_runs, write_results


class Ledger:
    """What was seen of the points, and what was wrong with it."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._done: dict[Path, dict[str, tuple[int, int]]] = {}
        self.problems: list[str] = []

    def look(self) -> None:
        """Now that no process is at them: every file is whole, and what was done is as it was."""
        directory = SweepDirectory(self._sweep.path)
        for run_dir in self._sweep.run_dirs():
            for path in run_dir.rglob("*.json"):
                if not path.name.startswith("."):
                    self._require_whole(path)
            if (run_dir / "point.json").exists() and directory.state(Point.read(run_dir)) == "done":
                now = {
                    path.relative_to(run_dir).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
                    for path in run_dir.rglob("*")
                    if path.is_file() and not path.name.startswith(".")
                }
                before = self._done.setdefault(run_dir, now)
                if changed := [name for name in before if now.get(name) != before[name]]:
                    self.problems.append(f"{run_dir.name}: was done, and has changed since: {', '.join(changed)}")

    def _require_whole(self, path: Path) -> None:
        try:
            json.loads(path.read_text())
        except ValueError as error:
            self.problems.append(f"{path}: is not whole: {error}")

    def judge(self, points: int, epochs: int) -> None:
        """At the end: every point was done, and once."""
        run_dirs = self._sweep.run_dirs()
        if self._sweep.states() != {"done": points}:
            self.problems.append(f"not all are done: {dict(self._sweep.states())}")
        for run_dir in run_dirs:
            self.problems += [f"{run_dir.name}: {line}" for line in done_twice(self._sweep.diary(run_dir), epochs)]


def done_twice(diary: list[tuple[str, int, int]], epochs: int) -> list[str]:
    """What in the diary of a point that is done says that it was trained more than once."""
    problems = []
    if not diary or diary[-1][0] != "end":
        problems.append("the last thing that happened to it is not its end")
    reached, attempts, now = 0, 0, -1
    final = max((step for _, step, _ in diary), default=0)
    steps = final // epochs  # of an epoch: a checkpoint may be in its middle, which the diary does not tell
    for what, step, pid in diary:
        if what == "attempt":
            attempts += 1
            if step > reached + steps:
                problems.append(f"an attempt began at step {step}, where none had been: {reached}")
            now = pid
        elif pid != now and what == "epoch":
            problems.append(f"process {pid} trained while process {now} did")
        reached = max(reached, step)
    if final and sum(what == "epoch" for what, _, _ in diary) < epochs:
        problems.append(f"it ended after fewer than {epochs} epochs")
    if attempts == 0:
        problems.append("nobody has trained it")
    return problems


def exactly_once(options: argparse.Namespace, folder: Path) -> list[str]:
    arguments = grid(options)
    calm, killed = (Sweep(folder / name, arguments, folder) for name in ("undisturbed", "killed"))
    startup, seconds = undisturbed(calm, options)
    rng = random.Random(options.seed)
    ledger = Ledger(killed)
    print(f"\n{'kill':>4}{'after s':>9}  {'done':>4}{'interrupted':>13}{'waiting':>9}{'epochs':>8}")
    for number in range(1, options.kills + 1):
        # some kills hit a sweep that is starting, most one that is at work
        starting = rng.random() < 0.2
        wait = startup * rng.random() if starting else (seconds - startup) * rng.uniform(0, 2) / (options.kills + 1)
        before, began = killed.diaries(), time.perf_counter()
        with group(killed.start()) as process:
            while not starting and process.poll() is None and killed.diaries() == before:
                time.sleep(0.05)
            try:
                process.communicate(timeout=wait)
                print(f"it ended by itself, with code {process.returncode}, before it could be killed once more")
                break
            except subprocess.TimeoutExpired:
                kill(process)
        wait = time.perf_counter() - began
        ledger.look()
        states = killed.states()
        waiting = options.points - states.total() + states["waiting"]
        row = f"{states['done']:>4}{states['interrupted']:>13}{waiting:>9}{killed.epochs():>8}"
        print(f"{number:>4}{wait:>9.1f}  {row}", flush=True)
    code, said = killed.run()
    ledger.look()
    print(f"then it ended with code {code}; {killed.epochs()} epochs for {options.points * options.epochs}")
    ledger.judge(options.points, options.epochs)
    problems = ledger.problems + ([] if code == 0 else [f"exit code {code}:\n{said}"])
    return problems + different_results(calm, killed)


def two(options: argparse.Namespace, folder: Path) -> list[str]:
    arguments = grid(options)
    calm, shared = (Sweep(folder / name, arguments, folder) for name in ("undisturbed", "shared"))
    undisturbed(calm, options)
    started = time.perf_counter()
    with ExitStack() as stack:
        processes = [stack.enter_context(group(shared.start())) for _ in range(2)]
        said = [process.communicate()[0] for process in processes]
    print(f"\ntwo at once: {time.perf_counter() - started:.1f} s")
    for number, (process, text) in enumerate(zip(processes, said, strict=True), 1):
        points = sum("] done " in line for line in text.splitlines())
        print(f"process {number}: exit code {process.returncode}, has seen {points} points end")
    ledger = Ledger(shared)
    ledger.judge(options.points, options.epochs)
    problems = ledger.problems + [
        f"exit code {process.returncode}:\n{text}"
        for process, text in zip(processes, said, strict=True)
        if process.returncode
    ]
    attempts = {d: [pid for what, _, pid in shared.diary(d) if what == "attempt"] for d in shared.run_dirs()}
    problems += [f"{d.name}: {len(pids)} attempts: {pids}" for d, pids in attempts.items() if len(pids) != 1]
    return problems + different_results(calm, shared)


def faults(options: argparse.Namespace, folder: Path) -> list[str]:
    sizes = [*range(32, 43), IMPOSSIBLE]
    arguments = [
        f"data.batch_size={','.join(map(str, sizes))}", "kl.unit=step", "kl.warmup=30", "kl.hold=0",
        f"trainer.max_epochs={min(options.epochs, 10)}", "model.hidden=[32]", "trust=[fault]",
        "+callbacks.fault._target_=fault.Fault",
    ]  # fmt: skip
    sweep = Sweep(folder / "faults", arguments, folder, **({"FAULT_OOM": "1"} if options.oom else {}))
    code, said = sweep.run()
    print(said)
    problems = []
    if code != 1:
        problems.append(f"exit code {code}, not 1")
    if sweep.states() != {"done": 7, "failed": 5}:
        problems.append(f"not 7 done and 5 failed: {dict(sweep.states())}")
    for run_dir in sweep.run_dirs():
        status = json.loads((run_dir / "status.json").read_text())
        if status["state"] == "failed":
            print(f"{run_dir.name:<28}  {status['error']}")
            size = json.loads((run_dir / "point.json").read_text())["swept"]["data.batch_size"]
            word = ERRORS[FAULTS[size]] if size in FAULTS else "kl.warmup"
            if word not in (status["error"] or ""):
                problems.append(f"{run_dir.name}: its error does not say {word}: {status['error']}")
    return problems


def grid(options: argparse.Namespace) -> list[str]:
    return [
        "kl.weight=0.5,2", f"seed=range(0,{options.points // 2})", f"trainer.max_epochs={options.epochs}",
        "kl.hold=0", f"kl.warmup={max(1, options.epochs // 5)}", "callbacks.checkpoints.every_seconds=1",
        "trust=[witness]", "+callbacks.witness._target_=witness.Witness",
    ]  # fmt: skip


def undisturbed(sweep: Sweep, options: argparse.Namespace) -> tuple[float, float]:
    """Run it; the seconds until the first point is trained, and until all are."""
    started = time.perf_counter()
    startup = 0.0
    with group(sweep.start()) as process:
        while not startup and process.poll() is None:
            time.sleep(0.05)
            if any((run_dir / DIARY).exists() for run_dir in sweep.run_dirs()):
                startup = time.perf_counter() - started
        said, _ = process.communicate()
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"the undisturbed sweep ended with {process.returncode}:\n{said}")
    print(f"{options.points} points of {options.epochs} epochs, undisturbed: {seconds:.1f} s, {startup:.1f} s to start")
    return startup, seconds


def different_results(calm: Sweep, other: Sweep) -> list[str]:
    """What differs in the results: those that the sweep wrote, and those that its directories hold."""
    problems = []
    for when in ("as the sweep wrote it", "written anew"):
        one, two = (SweepDirectory(sweep.path).results.read_bytes() for sweep in (calm, other))
        if one != two:
            rows = [f"  {a}\n  {b}" for a, b in zip(one.splitlines(), two.splitlines(), strict=False) if a != b]
            problems.append("\n".join([f"results.csv, {when}, differs:", *rows[:3]]))
        for sweep in (calm, other):
            write_results(read_runs(sweep.path))
    return problems


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=24, help="an even number; default: %(default)s")
    parser.add_argument("--epochs", type=int, default=30, help="default: %(default)s")
    parser.add_argument("--kills", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the times of the kills; default: %(default)s")
    parser.add_argument("--two", action="store_true", help="instead, two processes at once")
    parser.add_argument("--faults", action="store_true", help="instead, points that fail")
    parser.add_argument("--oom", action="store_true", help="with --faults: really run out of memory")
    parser.add_argument("--single", type=int, metavar="N", help="instead, N kills of a single run by clock, N by file")
    parser.add_argument("--evaluate", default="quick", help="with --single: none, quick or full; default: %(default)s")
    parser.add_argument("--keep", type=Path, help="a folder for the sweeps, which are left there")
    return parser.parse_args()


def main() -> int:
    options = parse()
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(TemporaryDirectory()))
        folder = folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "witness.py").write_text(WITNESS)
        (folder / "fault.py").write_text(FAULT)
        what = single if options.single else faults if options.faults else two if options.two else exactly_once
        problems = what(options, folder)
    print("\n".join(["", *problems, "it did not survive" if problems else "it survived"]))
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
