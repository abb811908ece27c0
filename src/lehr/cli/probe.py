"""`lehr probe`: known faults of a trained model, as a table, `probes.json` and pictures."""

from __future__ import annotations

from typing import Any

from lehr.api.probe import is_run, probe
from lehr.cli.flags import parse
from lehr.cli.help import PROBE_HELP
from lehr.cli.simple import run_simple
from lehr.config.schema import ProbeConfig


def main(argv: list[str]) -> int:
    """Look for what was asked for and write it; the exit code."""
    place = next((word.partition("=")[2] for word in argv if word.startswith("run=")), None)
    if place is None or is_run(place):
        return run_simple("probe", argv, PROBE_HELP, ProbeConfig, lambda values: _act(values, [], None))
    about_data = [word for word in argv if word.startswith(("data=", "data.", "+data."))]
    others = [word for word in argv if word not in about_data]

    def act(values: dict[str, Any]) -> None:
        _act(values, about_data, parse(others).config_dir)

    return run_simple("probe", others, PROBE_HELP, ProbeConfig, act, of_run=False)


def _act(values: dict[str, Any], words: list[str], config_dir: str | None) -> None:
    names = ("other", "probes", "examples", "sizes", "split", "seed", "out", "trust")
    options = {name: values[name] for name in names}
    print(probe(values["run"], words, **options, moved=values["data"], config_dir=config_dir))
