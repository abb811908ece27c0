"""Directories of sweeps that never took place, with the small files that a report reads."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from lehr.sweeps.point import Point

HOSTILE = (
    "<script>alert(1)</script>",
    "\"double\" and 'single' & `ticks`",
    "ünïcödé 漢字 \u202eback\u2028line",
    "long " * 60,
    "{{ 1 + 1 }} {% raw %} </style> -->",
)


def metrics(elbo: float, rate: float = 5.0, **more: float) -> dict[str, float]:
    """A metrics.json."""
    own = {"test/elbo": elbo, "test/rate": rate, "test/distortion": -elbo - rate, "posterior/active_units": rate}
    return {**own, "time/images_per_second": 1000.0 + rate, **more}


def write_run(sweep: Path, swept: Mapping[str, Any], numbers: Mapping[str, float] | None = None, **status: Any) -> Path:
    """A run with `numbers`, or of the state that `status` says; its directory."""
    config: dict[str, Any] = {"kl": {"unit": "epoch"}, "data": {"_target_": "lehr.data.Digits"}}
    for key, value in swept.items():
        node = config
        *sections, last = key.split(".")
        for section in sections:
            node = node.setdefault(section, {})
        node[last] = value
    point = Point(config, dict(swept))
    folder = sweep / point.name
    folder.mkdir(parents=True)
    point.write(folder)
    known: dict[str, Any] = {
        "state": "done" if numbers else "failed", "host": "here", "seconds": {"training": 60.0, "total": 61.5},
        "started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:01:02+00:00", "error": None,
    }  # fmt: skip
    if status.get("state", "") is not None:
        (folder / "status.json").write_text(json.dumps(known | status))
    if numbers:
        (folder / "metrics.json").write_text(json.dumps(dict(numbers)))
        lines = [{"images": 100 * i, "val/elbo": numbers["test/elbo"] - 9 / i, "train/loss": 1.0} for i in range(1, 9)]
        (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def draw(run: Path, kinds: Sequence[str] = ("aggregate", "prior")) -> None:
    """Grids of 8 x 8 tiles of 8 pixels."""
    out = io.BytesIO()
    Image.new("L", (82, 82), 100).save(out, format="PNG")
    (run / "samples").mkdir()
    for kind in kinds:
        (run / "samples" / f"{kind}.png").write_bytes(out.getvalue())


def close(sweep: Path, keys: Sequence[str], points: Sequence[int | None] = (), **constant: Any) -> Path:
    """Write sweep.yaml, of so many runs in each grid; the directory."""
    sweep.mkdir(exist_ok=True)
    grids = [[f"data={i}"] for i in range(len(points))]
    record = {"keys": list(keys), "constant": constant, "grids": grids, "points": list(points)}
    (sweep / "sweep.yaml").write_text(yaml.safe_dump(record))
    return sweep


def warmup_sweep(path: Path) -> Path:
    """KL weight by warm-up by precision by seed: a warm-up gives +0.7 nats; one run has failed, a quarter has drawn.

    At KL weight 4 and warm-up 10 nothing is done, so that the map has a cell without a number.
    """
    for weight in (0.5, 1.0, 4.0):
        for warmup in (0, 10):
            for precision in ("32-true", "bf16-mixed"):
                for seed in range(3):
                    swept = {"kl.weight": weight, "kl.warmup": warmup, "trainer.precision": precision, "seed": seed}
                    if (weight, warmup) == (4.0, 10):
                        write_run(path, swept, error=f"NonFiniteLoss: the loss is NaN in step {seed}")
                        continue
                    noise = 0.1 * seed + 0.013 * ((seed + int(weight) + warmup) % 3)
                    elbo = -25.0 - weight + 0.07 * warmup + noise - 0.02 * (precision == "bf16-mixed")
                    run = write_run(path, swept, metrics(elbo, 6.0 / weight + noise))
                    if seed == 0 and precision == "32-true":
                        draw(run)
    return close(path, ["kl.weight", "kl.warmup", "trainer.precision", "seed"], **{"model.latent_dim": 20})
