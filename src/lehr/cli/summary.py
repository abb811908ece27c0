"""What `lehr train` says at the end."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from lehr.evaluation.statistics import read_statistics
from lehr.run.directory import RunDirectory


def print_summary(metrics: Mapping[str, float], directory: RunDirectory) -> None:
    """A short table of the final metrics, where the run lies, and how to look at it."""
    split = "test" if "test/elbo" in metrics else "val"
    rows = [
        (f"{split} ELBO", _number(metrics.get(f"{split}/elbo")), "nats per example, at KL weight 1"),
        (f"{split} rate", _number(metrics.get(f"{split}/rate")), "nats"),
        (f"{split} distortion", _number(metrics.get(f"{split}/distortion")), "nats"),
    ]
    if "posterior/active_units" in metrics:
        latents = read_statistics(directory.posterior).mean.numel()
        rows.append(("active units", f"{metrics['posterior/active_units']:.0f}", f"of {latents}"))
        full = metrics.get("posterior/moment_kl_full")
        rows.append(
            ("moment KL", _number(metrics["posterior/moment_kl_diag"], 3), "nats, of q(z) to N(0, I), diagonal")
        )
        if full is not None:
            rows.append(("", _number(full, 3), "nats, full covariance"))
    if "time/images_per_second" in metrics:
        rows.append(("speed", f"{metrics['time/images_per_second']:,.0f}", "images per second"))
    label = max(len(row[0]) for row in rows)
    number = max(len(row[1]) for row in rows)
    print()
    for name, value, unit in rows:
        print(f"  {name:<{label}}  {value:>{number}}  {unit}")
    path = shlex.quote(str(directory.path))
    print(f"\n  run          {directory.path}")
    print(f"  samples      {directory.samples}")
    print(f"  TensorBoard  tensorboard --logdir {path}\n")


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
