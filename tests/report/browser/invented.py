"""Reports of runs that never took place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from planted import results, run

from lehr.report.gather import Gathered
from lehr.report.page import page
from lehr.report.sweep import sweep_document
from lehr.sweeps.results import RunResult

KEYS = ("kl.weight", "kl.warmup", "seed")


def number_of(weight: float, warmup: int, seed: int) -> dict[str, float]:
    """Metrics with an effect of each key: of the rate a large one, of the warm-up a small one."""
    rate = 30.0 / (1 + weight) + 0.01 * seed
    distortion = 8.0 + 5.0 * weight - 0.05 * warmup + 0.02 * seed
    return {
        "test/elbo": -(rate + distortion), "test/rate": rate, "test/distortion": distortion,
        "posterior/active_units": float(20 - round(4 * weight)), "reconstruction/psnr": 16 - weight,
        "time/images_per_second": 1000.0 * (seed + 1) + warmup,
    }  # fmt: skip


def runs_of(seeds: int = 3) -> list[RunResult]:
    """KL weights by warm-ups by seeds, eight of each seed; the last of them has failed."""
    found = []
    for weight, warmup, seed in product((0.1, 0.5, 1, 4), (0, 10), range(seeds)):
        swept = dict(zip(KEYS, (weight, warmup, seed), strict=True))
        failed = (weight, warmup, seed) == (4, 10, seeds - 1)
        name = f"weight={weight},warmup={warmup},seed={seed}-{len(found):010x}"
        numbers = None if failed else number_of(weight, warmup, seed)
        found.append(run(swept, numbers, name=name, error="NonFiniteLoss: the loss is NaN" if failed else None))
    return found


def sweep_of(
    folder: Path, runs: list[RunResult] | None = None, keys: tuple[str, ...] = KEYS, refresh: int | None = None
) -> Path:
    """The report of these runs, written into `folder`; of the first two there are pictures, curves and a report."""
    runs = runs_of() if runs is None else runs
    directories = {one.name: folder / f"run-{i}" for i, one in enumerate(runs)}
    for one in runs[:2]:
        drawn(directories[one.name])
    if refresh:
        runs = [*runs[:-1], replace(runs[-1], state="running", error=None)]
    gathered = Gathered((folder,), results(list(keys), runs), folder, directories)
    file = folder / "report.html"
    file.write_text(page(sweep_document(gathered, refresh=refresh)), encoding="utf-8")
    return file


def drawn(path: Path) -> None:
    """What the run in `path` has drawn: grids of 8 by 8 tiles of 8 pixels, curves, and a page of its own."""
    (path / "samples").mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (82, 82), dtype=np.uint8)
    for kind in ("aggregate", "prior"):
        Image.fromarray(noise).save(path / "samples" / f"{kind}.png")
    points: list[Mapping[str, Any]] = [
        {"images": 1000 * i, "val/elbo": -30.0 / i, "val/rate": 5.0 / i, "val/distortion": 25.0 / i}
        for i in range(1, 6)
    ]
    (path / "history.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))
    (path / "report.html").write_text("<!DOCTYPE html><title>a run</title><h1>The page of a run</h1>")
