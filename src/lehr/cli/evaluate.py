"""`lehr evaluate`: how good a finished run is, as a table and as `evaluation.json`."""

from __future__ import annotations

from typing import Any

from lehr.cli.help import EVALUATE_HELP
from lehr.cli.simple import run_simple
from lehr.config.schema import EvaluateConfig
from lehr.startup import quick_imports


def main(argv: list[str]) -> int:
    """Measure what was asked for and write it; the exit code."""
    return run_simple("evaluate", argv, EVALUATE_HELP, EvaluateConfig, _act)


def _act(values: dict[str, Any]) -> None:
    with quick_imports():
        from lehr.evaluation.table import evaluation_table
        from lehr.run.evaluate import Request, evaluate_run, evaluate_weights
        from lehr.run.load import load

    request = Request(
        level=values["level"],
        split=values["split"],
        examples=values["examples"],
        iwae_samples=values["iwae_samples"],
        samplers=None if values["samplers"] is None else tuple(values["samplers"]),
        features=values["features"],
        seed=values["seed"],
    )
    if values["weights"]:
        table, path = evaluate_weights(values["run"], values["weights"], request, values["trust"], values["data"])
    else:
        table, path = evaluate_run(load(values["run"], values["trust"]), request, values["trust"], values["data"])
    print(evaluation_table(table))
    print(f"\n  {path}\n")
