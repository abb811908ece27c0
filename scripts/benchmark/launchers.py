"""How long many small runs take: a shell loop of `lehr train`, and the launchers of `lehr train -m` on this machine.

The runs are of the digits or of MNIST (784-400-20, batches of 128), KL weight by seed, and whole: training, statistics,
pictures, TensorBoard, evaluation. Each contender starts from nothing in a directory of its own, one after the other;
what is timed is the wall clock of the command as a user waits for it; the last column is how often that of the last
contender, `fused`, goes into it. How many threads a run has is left to lehr.

    python scripts/benchmark/launchers.py                       # 24 runs of 30 epochs, four times
    python scripts/benchmark/launchers.py --points 4 --epochs 5 --only pool joblib
    python scripts/benchmark/launchers.py --map --points 64 --only basic joblib pool fused
    python scripts/benchmark/launchers.py --data mnist --examples 10000 --points 16 --epochs 3 --only pool fused

`--map` is the grid of `sweep=collapse_map`, KL weight by warm-up, which is repeated with other seeds. Below the table
stands where the time goes: from the shell to the first run, and what all runs together spend on each stage (a training
as lanes lasts from the first step to the last, whoever has a turn in between).

joblib comes with `pip install 'lehr[joblib]'`; without it the script measures the others.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import subprocess
import sys
import time
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

WEIGHTS = (0.1, 0.3, 1, 2, 4, 8)
CONTENDERS = {
    "shell loop": [],
    "basic": ["hydra/launcher=basic"],
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "pool": ["hydra/launcher=pool"],
    "fused": ["hydra/launcher=fused"],
}
DATA = {
    "digits": [],
    "mnist": ["data=mnist", "data.batch_size=128", "model.hidden=[400]", "model.latent_dim=20"],
}
LEHR = [sys.executable, "-m", "lehr", "train"]


STAGES = ("set_up", "training", "statistics", "pictures", "evaluation")
MAP = {"kl.weight": ["0.5", "1", "2", "4"], "kl.warmup": ["0", "5", "10", "20"]}


def grid(points: int, is_map: bool = False) -> dict[str, list[str]]:
    """key -> values of a grid of so many points."""
    if is_map:
        return {**MAP, "seed": [str(i) for i in range(points // 16)]}
    weights = WEIGHTS if points % len(WEIGHTS) == 0 else WEIGHTS[2:3]
    return {"kl.weight": [str(x) for x in weights], "seed": [str(i) for i in range(points // len(weights))]}


def shell_loop(keys: dict[str, list[str]], options: list[str]) -> list[str]:
    """One `lehr train` after the other, as it is typed in a shell."""
    loops = " ".join(f"for v{i} in {' '.join(values)}; do" for i, values in enumerate(keys.values()))
    swept = " ".join(f"{key}=$v{i}" for i, key in enumerate(keys))
    where = "dir=runs/" + "-".join(f"$v{i}" for i in range(len(keys)))
    return ["sh", "-ec", f"{loops} {shlex.join(LEHR)} {swept} {where} {shlex.join(options)}{'; done' * len(keys)}"]


def command(name: str, keys: dict[str, list[str]], options: list[str]) -> list[str]:
    if name == "shell loop":
        return shell_loop(keys, options)
    swept = [f"{key}={','.join(values)}" for key, values in keys.items()]
    return [*LEHR, "-m", *CONTENDERS[name], *swept, *options, "report=false", "hydra.sweep.dir=runs"]


def measure(name: str, keys: dict[str, list[str]], options: list[str]) -> tuple[float, dict[str, float]]:
    """Seconds from nothing to runs that have all finished, and of what they spend them on."""
    points = math.prod(map(len, keys.values()))
    environment = {key: value for key, value in os.environ.items() if key not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    with TemporaryDirectory() as folder:
        log = Path(folder, "log.txt")
        began, started = time.time(), time.perf_counter()
        with log.open("w") as output:
            ended = subprocess.run(
                command(name, keys, options), cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
        seconds = time.perf_counter() - started
        found = [json.loads(path.read_text()) for path in Path(folder).glob("runs/*/status.json")]
        states = [status["state"] for status in found]
        if ended.returncode or states != ["done"] * points:
            raise SystemExit(f"{log.read_text()[-2000:]}\n{name}: ended with {ended.returncode}, {states}")
    first = min(datetime.fromisoformat(status["started"]).timestamp() for status in found)
    return seconds, {
        "to the first run": first - began,
        **{stage: sum(status["seconds"].get(stage, 0) for status in found) for stage in STAGES},
    }


def installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package around it
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=24, help="runs; default: %(default)s")
    parser.add_argument("--epochs", type=int, default=30, help="of each; default: %(default)s")
    parser.add_argument("--map", action="store_true", help="KL weight by warm-up; a multiple of 16 points")
    parser.add_argument("--data", choices=list(DATA), default="digits", help="default: %(default)s")
    parser.add_argument("--examples", type=int, help="of each split; default: all")
    parser.add_argument("--only", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS), help="default: all")
    options = parser.parse_args()
    names = [name for name in CONTENDERS if name in options.only]
    if "joblib" in names and not installed("hydra_plugins.hydra_joblib_launcher"):
        names.remove("joblib")
        print("joblib: left out, hydra-joblib-launcher is not installed")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{options.points} runs of {options.epochs} epochs of {options.data} on {cores} cores\n", flush=True)
    values = [*DATA[options.data], f"trainer.max_epochs={options.epochs}"]
    values += ["kl.hold=0"] if options.map else ["kl.hold=0", f"kl.warmup={options.epochs // 3}"]
    values += [f"trainer.limit_examples={options.examples}"] if options.examples else []
    seconds, stages = {}, {}
    keys = grid(options.points, options.map)
    for name in names:
        seconds[name], stages[name] = measure(name, keys, values)
        print(f"{name:<12}{seconds[name]:>9.1f} s", flush=True)
    last = names[-1]
    print(f"\n{'':<12}{'seconds':>9}{'a run':>9}{f'/ {last}':>12}")
    for name in names:
        a_run, ratio = seconds[name] / options.points, seconds[name] / seconds[last]
        print(f"{name:<12}{seconds[name]:>9.1f}{a_run:>9.2f}{ratio:>12.2f}")
    print(f"\n{'':<12}{''.join(f'{stage:>18}' for stage in stages[last])}")
    for name in names:
        print(f"{name:<12}{''.join(f'{spent:>18.1f}' for spent in stages[name].values())}")


if __name__ == "__main__":
    main()
