"""How fast a VAE trains in lehr with everything on, against a plain PyTorch loop, pythae, and the bare arithmetic.

All train the same network (pixels-400-20-400-pixels, ReLU) on the same grey images in memory with Adam, in float32,
one after the other in this process, for several rounds. What is timed is the wall clock from the start of the second
epoch to the start of the last one, so that the warm-up is left out and everything a contender does between two epochs
counts; import, set-up, validation, final statistics and files are left out. "forward + backward" and "bare step" (the
same with a fused Adam) go over batches that are cut already: nothing can be faster, and what lehr takes above the bare
step is its own. The minimum over the rounds is what a machine that does nothing else needs; a ratio is the median of
those within one round, and above 1 it is faster.

    python scripts/benchmark/train_step.py --data digits --rounds 3
    python scripts/benchmark/train_step.py --device cuda
    python scripts/benchmark/train_step.py --split     # where the time of a whole `lehr train` goes
    python scripts/benchmark/train_step.py --profile   # cProfile of lehr's rounds

pythae comes with `pip install 'lehr[bench]'`; without it the script measures the other two.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import logging
import os
import platform
import pstats
import subprocess
import sys
import time
import warnings
from contextlib import redirect_stderr
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from contenders import CONTENDERS, HIDDEN, LATENTS, LEARNING_RATE, Task, configuration

from lehr.config.build import build
from lehr.data.module import ImageDataModule
from lehr.run.directory import RunDirectory

BATCH_SIZE = {"mnist": 128, "digits": 64}
EPOCHS = {"mnist": 3, "digits": 150}  # a few seconds


def read_task(name: str, options: argparse.Namespace) -> Task:
    """The training split as lehr reads it, as grey values."""
    epochs = options.epochs or EPOCHS[name]
    overrides = [
        f"data={name}", "data.binarize=none", f"data.batch_size={BATCH_SIZE[name]}", "kl=constant",
        f"optimizer.lr={LEARNING_RATE}", f"model.hidden=[{HIDDEN}]", f"model.latent_dim={LATENTS}",
        f"trainer.max_epochs={epochs + 2}", f"trainer.check_val_every_n_epoch={epochs + 3}",
        f"trainer.accelerator={options.device}",
    ]  # fmt: skip
    if name == "mnist":
        overrides.append(f"data.root='{options.data_root}'")
    data = read(overrides)
    if options.train_examples:
        n = data.n_train + data.n_val
        overrides.append(f"data.val_fraction={1 - min(options.train_examples, data.n_train) / n}")
        data = read(overrides)
    (images,) = data.images("train").fetch([torch.arange(data.n_train)], epoch=None, device="cpu")
    return Task(name, images.flatten(1), BATCH_SIZE[name], epochs, tuple(overrides), options.device)


def read(overrides: list[str]) -> ImageDataModule:
    data = build(configuration(*overrides, "dir=.")["data"], ImageDataModule, key="data")
    data.setup()
    return data


class Screen(io.StringIO):
    """A terminal nobody looks at: progress is drawn as it would be, and does not fill the real one."""

    def isatty(self) -> bool:
        return True


def seconds_per_step(contender: str, task: Task) -> float:
    torch.manual_seed(0)
    with redirect_stderr(Screen()):
        starts = CONTENDERS[contender](task)
    return (starts[-1] - starts[1]) / (task.epochs * task.steps_per_epoch)


def compare(task: Task, rounds: int) -> None:
    """Print the table of one data set."""
    names = [name for name in CONTENDERS if name != "pythae" or find_spec("pythae")]
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            times[name].append(seconds_per_step(name, task))
    pixels = task.images.shape[1]
    print(f"\n{task.name}: {len(task.images)} images, {pixels}-{HIDDEN}-{LATENTS}-{HIDDEN}-{pixels}, batch", end=" ")
    print(f"{task.batch_size}, {rounds} rounds of {task.epochs} epochs of {task.steps_per_epoch} steps\n")
    print(
        f"{'':<20}{'minimum':>9}{'median':>9}  ms/step{'above bare':>12}{'x plain':>9}{'x pythae':>10}{'images/s':>11}"
    )
    for name in CONTENDERS:
        if name in times:
            print(row(name, times, len(task.images) / task.steps_per_epoch))
        else:
            print(f"{name:<20}  is not installed: pip install 'lehr[bench]'")


def row(name: str, times: dict[str, list[float]], images_per_step: float) -> str:
    mine = times[name]
    above = 1e3 * (min(mine) - min(times["bare step"]))
    ratios = [
        f"{median(theirs / own for theirs, own in zip(times[other], mine, strict=True)):.2f}" if other in times else "-"
        for other in ("plain loop", "pythae")
    ]
    columns = f"{above:>+12.3f}{ratios[0]:>9}{ratios[1]:>10}{images_per_step / min(mine):>11,.0f}"
    return f"{name:<20}{1e3 * min(mine):>9.3f}{1e3 * median(mine):>9.3f}  {'':7}{columns}"


def split(rounds: int, threads: int | None) -> None:
    """Print where the time of `lehr train` goes; the interpreter's start and end are what a run cannot count itself."""
    runs = []
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)} if threads else None
    for _ in range(rounds):
        with TemporaryDirectory() as folder:
            started = time.perf_counter()
            command = [sys.executable, "-m", "lehr", "train", f"dir={folder}"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            wall = time.perf_counter() - started
            if done.returncode:
                raise SystemExit(done.stderr)
            seconds = json.loads(RunDirectory(folder).status.read_text())["seconds"]
        total = seconds.pop("total")
        runs.append({"python": wall - total, **seconds, "rest": total - sum(seconds.values()), "in all": wall})
    print(f"\nlehr train, the default run: medians of {rounds} rounds\n\n{'':<12}{'seconds':>9}{'share':>9}")
    for part in ("python", "import", "set_up", "training", "statistics", "pictures", "rest", "in all"):
        seconds = median(run[part] for run in runs)
        share = median(run[part] / run["in all"] for run in runs)
        print(f"{part.replace('_', '-'):<12}{seconds:>9.2f}{share:>9.0%}")


def profile(task: Task, rounds: int) -> None:
    """Print the functions in which lehr spends its own time."""
    profiler = cProfile.Profile()
    for _ in range(rounds):
        profiler.runcall(seconds_per_step, "lehr", task)
    print(f"\n{task.name}: {rounds * task.epochs_in_all * task.steps_per_epoch} steps")
    pstats.Stats(profiler).sort_stats("tottime").print_stats(40)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default_root = Path(os.environ.get("LEHR_DATA", "data"), "mnist")
    parser.add_argument("--data", nargs="+", choices=list(EPOCHS), default=list(EPOCHS), help="default: both")
    parser.add_argument("--data-root", type=Path, default=default_root, help="folder of the MNIST files; %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, help=f"that are timed in a round; default: {EPOCHS}")
    parser.add_argument("--train-examples", type=int, help="fewer than there are, to be done sooner")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: %(default)s")
    parser.add_argument("--threads", type=int, help="of torch; default: what torch chooses")
    parser.add_argument("--split", action="store_true", help="instead, where the time of `lehr train` goes")
    parser.add_argument("--profile", action="store_true", help="instead, cProfile of lehr's training")
    return parser.parse_args()


def main() -> None:
    options = parse()
    if options.split:
        split(options.rounds, options.threads)
        return
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: this machine has no CUDA GPU")
    if options.threads:
        torch.set_num_threads(options.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.processor() or platform.machine()}")
    for name in options.data:
        if name == "mnist" and not any(options.data_root.rglob("train-images-idx3-ubyte*")):
            print(f"\nmnist: left out, there are no MNIST files in {options.data_root}; say --data-root or LEHR_DATA")
            continue
        task = read_task(name, options)
        if options.profile:
            profile(task, options.rounds)
        else:
            compare(task, options.rounds)


if __name__ == "__main__":
    main()
