"""How long `lehr results` takes on a sweep of many finished runs, and how much memory.

Makes the directory of a sweep in a temporary folder: KL weight by warm-up by latents by seed, every run with the files
that a run of the digits has (point.json, config.yaml, status.json, metrics.json, evaluation.json, but no model and no
pictures), every hundredth failed. Then each command runs in a process of its own, on files that were just written.

    python scripts/benchmark/results.py --runs 10000
    python scripts/benchmark/results.py --keep DIR    # make the sweep in DIR and leave it there
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from lehr.compose.composer import Command, composed
from lehr.sweeps.point import Point

KEYS = ("kl.weight", "kl.warmup", "model.latent_dim", "seed")
COMMANDS = {
    "lehr results": [],
    "lehr results runs=true": ["runs=true"],
    "lehr results out=runs.csv": ["runs=true", "metrics=[*]", "out={folder}/runs.csv"],
}
PYTHON = {
    "write_results": "from lehr.sweeps.results import *; f = lambda path: write_results(read_runs(path))",
    "lehr.load_sweep": "from lehr import load_sweep as f",
}


def points(n: int) -> Iterator[Point]:
    """The first `n` points of the grid."""
    config, problems = composed(Command("train", None, []))
    if config is None or problems:
        raise ValueError("; ".join(problems))
    text = json.dumps(config.values)
    seeds = range(-(-n // (20 * 10 * 10)))
    weights = [i / 10 for i in range(1, 21)]
    for values in islice(product(weights, range(10), range(2, 22, 2), seeds), n):
        swept = dict(zip(KEYS, values, strict=True))
        mine = json.loads(text)
        mine["kl"]["weight"], mine["kl"]["warmup"], mine["model"]["latent_dim"], mine["seed"] = values
        mine["data"]["seed"] = swept["seed"]
        yield Point(mine, swept)


def write_run(folder: Path, point: Point, rng: random.Random, failed: bool) -> None:
    """The small files of a run, with numbers drawn from `rng`."""
    folder.mkdir()
    point.write(folder)
    status: dict[str, Any] = {
        "state": "failed" if failed else "done",
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:01:00+00:00",
        "pid": 1,
        "host": "here",
        "git_commit": "0" * 40,
        "versions": {"python": "3.11.0", "lehr": "0.1.0", "torch": "2.13.0", "lightning": "2.6.6"},
        "error": "NonFiniteLoss: the loss is NaN in step 12" if failed else None,
        "seconds": {"import": 2.0, "set_up": 0.1, "training": 50.0, "total": 52.1, "evaluation": 0.2},
    }
    files: dict[str, Any] = {"status.json": status}
    if not failed:
        names = ["loss", "elbo", "rate", "distortion", "kl_weight", "active_units", "bits_per_dim"]
        files["metrics.json"] = {
            **{f"{split}/{name}": rng.gauss(-30, 5) for split in ("val", "test") for name in names},
            **{f"posterior/{name}": rng.random() for name in ("active_units", "effective_rank", "moment_kl_diag")},
            **{f"time/{name}": rng.random() for name in ("images_per_second", "step_ms")},
        }
        latents = point.swept["model.latent_dim"]
        likelihood = ("elbo", "rate", "distortion", "iwae", "iwae_standard_error", "ess", "bits_per_dim")
        files["evaluation.json"] = {
            "level": "quick", "split": "test", "dataset": "digits", "examples": 359,
            **{f"likelihood/{name}": rng.gauss(-30, 5) for name in likelihood},
            **{f"collapse/number_{i}": rng.random() for i in range(18)},
            "collapse/verdict": "Partly collapsed: 3 of 20 units do not vary with the image. " * 4,
            "collapse/active_units_curve": {str(10**-i): latents for i in range(10)},
            "collapse/kl_per_dimension": [rng.random() for _ in range(latents)],
            **{f"reconstruction/{name}": rng.random() for name in ("psnr", "ssim", "mse")},
        }  # fmt: skip
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value, indent=2))
    # what is in it is not read where there is a point.json
    (folder / "config.yaml").write_text(json.dumps(point.config))


def make_sweep(folder: Path, n: int) -> None:
    rng = random.Random(0)
    for i, point in enumerate(points(n)):
        write_run(folder / point.name, point, rng, failed=i % 100 == 99)
    record = {"keys": list(KEYS), "constant": {}, "grids": []}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(record))


def measure(command: list[str]) -> tuple[float, float, int]:
    """Seconds, peak resident memory in MiB, and lines printed, of a process of its own."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "COLUMNS": "160"})
    assert process.stdout
    lines = process.stdout.read().count(b"\n")
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{command}: ended with {status}")
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * unit / 2**20, lines


@contextmanager
def made_sweep(
    description: str | None, runs: int, furnish: Callable[[Path], None] = lambda folder: None
) -> Iterator[Path]:
    """The directory of a made-up sweep of as many runs as the command line says, `runs` by default.

    Args:
        description: of the script, for its help.
        runs: how many.
        furnish: gives the runs what else they are to have.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=runs, help="default: %(default)s")
    parser.add_argument("--keep", type=Path, help="a folder to make the sweep in and to leave")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(TemporaryDirectory())) / "sweep"
        folder.mkdir(parents=True)
        started = time.perf_counter()
        make_sweep(folder, options.runs)
        furnish(folder)
        print(f"{options.runs:,} runs, made in {time.perf_counter() - started:.1f} s\n")
        yield folder


def main() -> None:
    with made_sweep(__doc__, 10_000) as folder:
        print(f"{'':<28}{'seconds':>9}{'MiB':>9}{'lines':>9}")
        for name, words in COMMANDS.items():
            words = [word.format(folder=folder.parent) for word in words]
            show(name, [sys.executable, "-m", "lehr", "results", str(folder), *words])
        for name, line in PYTHON.items():
            show(name, [sys.executable, "-c", f"import sys; {line}; f(sys.argv[1])", str(folder)])


def show(name: str, command: list[str]) -> None:
    seconds, memory, lines = measure(command)
    print(f"{name:<28}{seconds:>9.2f}{memory:>9.0f}{lines:>9,}")


if __name__ == "__main__":
    main()
