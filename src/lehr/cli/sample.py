"""`lehr sample`: new images from a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lehr.cli.help import SAMPLE_HELP
from lehr.cli.simple import run_simple
from lehr.config.schema import SampleConfig
from lehr.startup import quick_imports

_HEEDED_BY = {
    "from": (0, ("interpolate",)),
    "to": (1, ("interpolate",)),
    "steps": (10, ("interpolate",)),
    "covariance": ("diag", ("aggregate", "aggregate_full")),
}
"""Keys that not every method heeds: their default, with which nothing was asked for, and which methods do."""


def main(argv: list[str]) -> int:
    """Draw what was asked for and write it; the exit code."""
    return run_simple("sample", argv, SAMPLE_HELP, SampleConfig, _act, _problems)


def _problems(values: dict[str, Any]) -> list[str]:
    method, problems = values["method"], []
    if values["out"] and Path(values["out"]).suffix.lower() not in (".png", ".npy"):
        problems.append(f"out={values['out']}: must end in .png or .npy")
    for key, (default, methods) in _HEEDED_BY.items():
        if values[key] != default and method not in methods:
            problems.append(f"{key}={values[key]}: method={method} does not heed it; say method={methods[0]}")
    return problems


def _act(values: dict[str, Any]) -> None:
    with quick_imports():
        from lehr.run.load import load
        from lehr.run.sampling import draw

    written = draw(
        load(values["run"], values["trust"]),
        values["method"],
        values["n"],
        values["seed"],
        values["covariance"],
        (values["from"], values["to"]),
        values["steps"],
        Path(values["out"]) if values["out"] else None,
        values["trust"],
        values["data"],
    )
    for path in written:
        print(path)
