"""How long a search takes: by the pool, and fused, to the best value that both come to, and to its end.

The search is for the KL weight and the learning rate of the digits with the best ELBO of the validation; what falls
behind the median is pruned. Each contender starts from nothing in a directory of its own, one after the other, with the
same seed and the same number of trials; which trials these are hangs on what is known when each is asked for. What is
timed is the wall clock of the command as a user waits for it.

    python scripts/benchmark/fused_search.py                            # 32 trials of 30 epochs each, 8 lanes
    python scripts/benchmark/fused_search.py --trials 12 --epochs 5 --lanes 4
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

SPACE = ("kl.weight=tag(log, interval(0.1, 10))", "optimizer.lr=tag(log, interval(1e-4, 3e-2))")


@dataclass(frozen=True)
class Search:
    """A search that has ended.

    Attributes:
        seconds: from the start of the command to its end.
        values: of the trials that were completed: seconds from the start, value.
        states: how many trials have ended in which state.
    """

    seconds: float
    values: list[tuple[float, float]]
    states: Counter[str]

    @property
    def best(self) -> float:
        return max(value for _, value in self.values)

    def reached(self, value: float) -> float:
        """Seconds to the first trial that is as good."""
        return min(seconds for seconds, found in self.values if found >= value)


def searched(name: str, options: argparse.Namespace) -> Search:
    """Search with the launcher `name`, from nothing."""
    environment = {key: value for key, value in os.environ.items() if key not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    with TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "lehr", "train", "-m", "hydra/sweeper=optuna", f"hydra/launcher={name}",
            f"hydra.sweeper.n_trials={options.trials}", f"hydra.sweeper.seed={options.seed}", "hydra.sweep.dir=search",
            *([f"hydra.launcher.lanes={options.lanes}"] if name == "fused" else []), *SPACE,
            f"trainer.max_epochs={options.epochs}", "kl.hold=0", "report=false", f"kl.warmup={options.epochs // 3}",
        ]  # fmt: skip
        started, clock = datetime.now(), time.perf_counter()
        ended = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True)
        seconds = time.perf_counter() - clock
        if ended.returncode:
            raise SystemExit(f"{ended.stderr[-2000:]}\n{name}: ended with {ended.returncode}")
        journal = JournalFileBackend(str(Path(folder, "search", "optuna.journal")))
        trials = optuna.load_study(study_name="search", storage=JournalStorage(journal)).trials
    values = [
        ((trial.datetime_complete - started).total_seconds(), trial.value)
        for trial in trials
        if trial.value is not None and trial.state.name == "COMPLETE" and trial.datetime_complete is not None
    ]
    return Search(seconds, values, Counter(trial.state.name.lower() for trial in trials))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=32, help="of each search; default: %(default)s")
    parser.add_argument("--epochs", type=int, default=30, help="of each trial; default: %(default)s")
    parser.add_argument("--lanes", type=int, default=8, help="trials that are fused at a time; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the search; default: %(default)s")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{options.trials} trials of {options.epochs} epochs on {cores} cores, {options.lanes} lanes\n", flush=True)
    found = {name: searched(name, options) for name in ("pool", "fused")}
    common = min(search.best for search in found.values())
    print(f"{'':<8}{'to its end':>12}{f'to {common:.4g}':>14}{'best':>10}  trials")
    for name, search in found.items():
        states = ", ".join(f"{count} {state}" for state, count in search.states.most_common())
        print(f"{name:<8}{search.seconds:>10.1f} s{search.reached(common):>12.1f} s{search.best:>10.4g}  {states}")


if __name__ == "__main__":
    main()
