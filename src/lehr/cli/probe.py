"""`lehr probe`: known faults of a trained model, as a table, `probes.json` and pictures."""

from __future__ import annotations

from typing import Any

from lehr.api.probe import probe
from lehr.cli.help import PROBE_HELP
from lehr.cli.simple import run_simple
from lehr.config.schema import ProbeConfig


def main(argv: list[str]) -> int:
    """Look for what was asked for and write it; the exit code."""
    return run_simple("probe", argv, PROBE_HELP, ProbeConfig, _act)


def _act(values: dict[str, Any]) -> None:
    names = ("probes", "examples", "sizes", "split", "seed", "out", "trust")
    print(probe(values["run"], **{name: values[name] for name in names}, moved=values["data"]))
