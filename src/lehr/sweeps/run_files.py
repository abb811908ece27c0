"""The files of a run of a sweep, read for tables: what cannot be read is said, and ends no table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from lehr import reading
from lehr.sweeps.comparable import read_evaluated


def read_metrics(
    path: Path, model: Any, wrong: list[str]
) -> tuple[dict[str, float | int | bool | None], dict[str, Any]]:
    """metrics.json, and evaluation.json if it is of the same model; and what that says of itself."""
    found = read_json(path, "metrics.json", wrong)
    if not found and not wrong:
        wrong.append("metrics.json: is missing")
    evaluation = read_json(path, "evaluation.json", wrong)
    if model is not None and evaluation.get("model") not in (None, model):
        evaluation = {}
    measured = {key: value for key, value in evaluation.items() if "/" in key}
    metrics = {
        sys.intern(key): value if value is not None and reading.is_finite(value) else None
        for key, value in (*found.items(), *measured.items())
        if value is None or isinstance(value, int | float)
    }
    return metrics, read_evaluated(evaluation)


def read_json(path: Path, name: str, wrong: list[str]) -> dict[str, Any]:
    """What the file holds; empty where there is none, and where it is damaged, which goes to `wrong`."""
    try:
        found = reading.read_json(f"{path}/{name}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        wrong.append(f"{name}: cannot be read ({' '.join(str(error).split())})")
        return {}
    if not isinstance(found, dict):
        wrong.append(f"{name}: is not what a run writes there")
        return {}
    return found


def read_config(path: Path, wrong: list[str]) -> dict[str, Any]:
    try:
        found = reading.read_yaml(path / "config.yaml")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        wrong.append(f"config.yaml: cannot be read ({' '.join(str(error).split())})")
        return {}
    return found if isinstance(found, dict) else {}
