"""How long the report of a sweep of many runs takes, how large it is, and how much memory it took.

Makes the directory of a sweep as `results.py` does, with a history of 100 points and four grids of 8 x 8 pixels in each
run that is done, and then writes its report, in a process of its own.

    python scripts/benchmark/reports.py --runs 2000
    python scripts/benchmark/reports.py --keep DIR    # make the sweep in DIR and leave it there, with its report
"""

from __future__ import annotations

import io
import json
import math
import random
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from results import made_sweep, measure

TILE, GAP = 8, 2
GRIDS = {"aggregate": (8, 8), "prior": (8, 8), "interpolation": (8, 10), "reconstruction": (16, 8)}  # down, across
POINTS = 100  # of a history
TRAINED = ("loss", "elbo", "distortion", "rate", "kl_weight", "clamped_share", "learning_rate")
VALIDATED = ("loss", "elbo", "rate", "distortion", "kl_weight", "active_units", "bits_per_dim")


def history(rng: random.Random) -> str:
    """The lines of a history.jsonl: the training at each point, and at each fifth the validation."""
    lines = []
    for i in range(1, POINTS + 1):
        point: dict[str, object] = {"images": 3100 * i}
        point |= {f"train/{name}": 40 * math.exp(-i / 20) + rng.random() for name in TRAINED}
        point |= {f"time/{name}": rng.random() for name in ("images_per_second", "step_ms", "waiting_share")}
        if i % 5 == 0:
            point |= {f"val/{name}": -25 - 40 * math.exp(-i / 20) + rng.random() for name in VALIDATED}
            point["val/kl_per_dimension"] = [rng.random() for _ in range(20)]
        lines.append(json.dumps(point))
    return "\n".join(lines) + "\n"


def picture(rng: np.random.Generator, down: int, across: int) -> bytes:
    """A grid of smooth grey tiles, as a PNG."""
    step = TILE + GAP
    canvas = np.zeros((down * step + GAP, across * step + GAP), np.uint8)
    for i in range(down):
        for j in range(across):
            tile = np.outer(np.sin(rng.random() * 6 + np.arange(TILE)), np.cos(rng.random() * 6 + np.arange(TILE)))
            y, x = GAP + i * step, GAP + j * step
            canvas[y : y + TILE, x : x + TILE] = 128 + 120 * tile
    out = io.BytesIO()
    Image.fromarray(canvas).save(out, format="PNG")
    return out.getvalue()


def furnish(folder: Path) -> None:
    """Give each run that is done what its row in the report unfolds to."""
    rng, numbers = random.Random(0), np.random.default_rng(0)
    grids = [{name: picture(numbers, *size) for name, size in GRIDS.items()} for _ in range(50)]
    histories = [history(rng) for _ in range(50)]
    for i, run in enumerate(sorted(path for path in folder.iterdir() if (path / "metrics.json").exists())):
        (run / "history.jsonl").write_text(histories[i % len(histories)])
        (run / "samples").mkdir()
        for name, content in grids[i % len(grids)].items():
            (run / "samples" / f"{name}.png").write_bytes(content)


def main() -> None:
    with made_sweep(__doc__, 2_000, furnish) as folder:
        print(f"{'':<12}{'seconds':>9}{'MiB':>9}{'file, MB':>10}")
        for format in ("html", "md", "png"):
            seconds, memory, _ = measure([sys.executable, "-m", "lehr", "report", str(folder), f"format={format}"])
            size = (folder / f"report.{format}").stat().st_size / 1e6
            print(f"{format:<12}{seconds:>9.1f}{memory:>9.0f}{size:>10.1f}", flush=True)


if __name__ == "__main__":
    main()
