"""What was measured of a run, and why something was not: a search that goes by it says so."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lehr.errors import CheckpointError
from lehr.reading import read_json
from lehr.run.directory import RunDirectory
from lehr.sweeps.point import Point

_MEASURED_BY = {"likelihood": "quick", "collapse": "quick", "reconstruction": "quick", "generation": "full",
                "representation": "full"}  # fmt: skip
"""The sections of an evaluation, and the least level that has them."""
_OF_A_DENSITY = ("elbo", "rate", "kl_weight", "bits_per_dim", "loss")


def results(run_dir: Path) -> dict[str, Any]:
    """What was measured of a run, metrics.json and evaluation.json together."""
    found: dict[str, Any] = {}
    for path in (RunDirectory(run_dir).metrics, RunDirectory(run_dir).evaluation()):
        with suppress(OSError, ValueError, TypeError):
            found |= dict(read_json(path))
    return found


def cause(metric: str, run_dir: Path, found: Mapping[str, Any]) -> str | None:
    """Why a finished run has no `metric` although there is such a one, to stand after a colon; None if it is not known.

    Args:
        metric: its name, `test/elbo`.
        run_dir: of the run.
        found: what was measured of it.
    """
    section, _, name = metric.partition("/")
    config: Mapping[str, Any] = {}
    with suppress(CheckpointError):
        config = Point.read(run_dir).config
    if section in _MEASURED_BY:
        return _why_not_evaluated(section, run_dir, config, found)
    if section == "posterior" and not (config.get("callbacks") or {"aggregate": True}).get("aggregate"):
        return "callbacks.aggregate=null measures no statistics of q(z)"
    if section == "test" and not any(key.startswith("test/") for key in found):
        return "its data have no test split" if found else "its metrics.json is missing or damaged"
    if name in _OF_A_DENSITY and f"{section}/distortion" in found:
        return "its posterior has no density"
    if section == "train":
        return "what the steps of training come to is in history.jsonl alone"
    return None


def _why_not_evaluated(section: str, run_dir: Path, config: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    level, least = config.get("evaluate"), _MEASURED_BY[section]
    if level == "none" or (level == "quick" and least == "full"):
        return f"evaluate={level} does not measure that, evaluate={least} does"
    if error := RunDirectory(run_dir).read_status().get("evaluation_error"):
        return f"its evaluation failed ({error})"
    if not (config.get("callbacks") or {"aggregate": True}).get("aggregate"):
        return "callbacks.aggregate=null measures no statistics of q(z), which an evaluation needs"
    note = found.get(f"{section}/note")
    return str(note) if note else None
