"""Sweeps made by hand: runs that never took place, with the numbers that are wanted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from lehr.run.identity import identity
from lehr.sweeps.names import name_of
from lehr.sweeps.point import Point

BASE: dict[str, Any] = {
    "seed": 0,
    "dir": "x",
    "model": {"_target_": "lehr.models.MLP", "latent_dim": 20, "hidden": [400]},
    "kl": {"_target_": "lehr.objective.AnnealedKL", "weight": 1.0, "warmup": 10},
    "data": {"_target_": "lehr.data.Digits", "seed": 0},
    "trainer": {"precision": "32-true", "gradient_clip_val": None, "accelerator": "auto"},
}
STATUS: dict[str, Any] = {
    "state": "done", "started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:01:00+00:00", "pid": 1,
    "host": "here", "error": None, "seconds": {"training": 50.5, "total": 60.0},
}  # fmt: skip


def configuration(**swept: Any) -> dict[str, Any]:
    """`BASE` with these dotted keys on top."""
    config = json.loads(json.dumps(BASE))
    for key, value in swept.items():
        *sections, name = key.split(".")
        node = config
        for section in sections:
            node = node[section]
        node[name] = value
    config["data"]["seed"] = config["seed"]
    return config


def add(
    folder: Path,
    swept: dict[str, Any],
    metrics: dict[str, Any] | None = None,
    evaluation: dict[str, Any] | None = None,
    point: bool = True,
    name: str = "",
    config: dict[str, Any] | None = None,
    **status: Any,
) -> Path:
    """A run; done if it has metrics."""
    config = config or configuration(**{key: value for key, value in swept.items() if key not in ("model", "data")})
    path = folder / (name or name_of(swept, identity(config)))
    path.mkdir(parents=True)
    if point:
        Point(config, swept, choices={"model": "mlp"}).write(path)
    (path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    if metrics is not None or status:
        (path / "status.json").write_text(json.dumps({**STATUS, **status}))
    if metrics is not None:
        (path / "metrics.json").write_text(json.dumps(metrics))
    if evaluation is not None:
        (path / "evaluation.json").write_text(json.dumps(evaluation))
    return path


def sweep_yaml(folder: Path, *keys: str) -> None:
    record = {"keys": list(keys), "constant": {}, "grids": []}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(record))


def elbo(weight: float, seed: int) -> float:
    return -90.0 - weight + 0.1 * seed**2
