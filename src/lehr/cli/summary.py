"""What `lehr train` says at the end."""

from __future__ import annotations

from collections.abc import Mapping

from lehr.cli.ending import print_tensorboard
from lehr.data.walk import in_words
from lehr.evaluation.catalogue import final_split, find_metric
from lehr.evaluation.statistics import read_statistics
from lehr.run.contents import REPORT
from lehr.run.directory import RunDirectory
from lehr.run.next_steps import advice_of
from lehr.run.page import exported_note

_LONG_WAIT = 0.05
"""The share of a training that may be spent waiting for batches without a word."""


def print_summary(metrics: Mapping[str, float], directory: RunDirectory) -> None:
    """A short table of the final metrics, where the run lies, and how to look at it."""
    split = final_split(metrics)
    rows = []
    for name, in_full in (("elbo", "nats per example, at KL weight 1"), ("rate", None), ("distortion", None)):
        if f"{split}/{name}" in metrics:  # without a density there is no rate
            label, value, unit = _row(metrics, f"{split}/{name}", in_full)
            rows.append((f"{split} {label}", value, unit))
    if f"{split}/psnr" in metrics:
        label, value, unit = _row(metrics, f"{split}/psnr", "dB, at a sample of q(z|x)")
        rows.append((f"{split} {label}", value, unit))
    if "posterior/active_units" in metrics:
        found = read_statistics(directory.posterior)
        if found.channels is not None:  # what a diffusion model is to be told
            factors = {"scaling_factor": "1 / standard deviation of all latents", "shift_factor": "their mean"}
            names = {f"posterior/{name}": words for name, words in factors.items()}
            rows += [_row(metrics, name, words) for name, words in names.items() if name in metrics]
        latents = found.mean.numel()
        rows.append(_row(metrics, "posterior/active_units", f"of {latents}"))
        if "posterior/moment_kl_diag" in metrics:
            rows.append(
                _row(metrics, "posterior/moment_kl_diag", "nats, of q(z) over the training set to N(0, I), diagonal")
            )
        if "posterior/moment_kl_full" in metrics:
            _, value, unit = _row(metrics, "posterior/moment_kl_full", "nats, full covariance")
            rows.append(("", value, unit))
    if "time/images_per_second" in metrics:
        rows.append(_row(metrics, "time/images_per_second"))
    left = max(len(row[0]) for row in rows)
    right = max(len(row[1]) for row in rows)
    print()
    for name, value, unit in rows:
        print(f"  {name:<{left}}  {value:>{right}}  {unit}")
    if exported := exported_note(directory.read_status()):
        print(f"\n  {exported}")
    print(f"\n  run          {directory.path}")
    if (page := directory.path / f"{REPORT}.html").exists():
        print(f"  report       {page}")
    print(f"  samples      {directory.samples}")
    data = directory.read_data()
    if skipped := data.get("skipped"):
        print(f"  skipped      {len(skipped):,} damaged files, listed in {directory.data}")
    if left_out := data.get("left_out"):
        reasons = in_words({reason: found["n"] for reason, found in left_out.items()})
        print(f"  left out     {reasons}, listed in {directory.data}")
    if (share := metrics.get("time/waiting_share", 0.0)) > _LONG_WAIT and (workers := _workers(directory)) is not None:
        print(f"  waiting      {share:.0%} of the training, for images to be decoded; data.workers={workers}: try more")
    print_tensorboard(directory.path)
    print()
    _print_advice(directory)


def _print_advice(directory: RunDirectory) -> None:
    """What to try next, and the commands for it on lines of their own; nothing where no number gives a reason."""
    if found := advice_of(directory):
        print("  to try next")
        said = ""
        for advice in found:
            print(f"    {'or' if advice.reason == said else advice.reason + ':'} {advice.words}")
            said = advice.reason
            for command in advice.commands:
                print(f"      {command}")
        print()


def _row(metrics: Mapping[str, float], name: str, unit: str | None = None) -> tuple[str, str, str]:
    """Label, value and unit of a metric, as the catalogue has them."""
    metric, value = find_metric(name), metrics[name]
    assert metric is not None
    shown = f"{value:.{metric.digits}f}" if metric.digits else f"{value:,.0f}"
    return metric.label, shown, metric.unit if unit is None else unit


def _workers(directory: RunDirectory) -> int | None:
    """How many processes decoded the images of a run; None where there is nothing to decode."""
    data = directory.read_config().get("data") or {}
    return data.get("workers")
