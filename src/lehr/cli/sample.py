"""`lehr sample`: new images from a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lehr.cli.help import SAMPLE_HELP
from lehr.cli.simple import run_simple
from lehr.config.schema import SampleConfig
from lehr.startup import quick_imports


def main(argv: list[str]) -> int:
    """Draw what was asked for and write it; the exit code."""
    return run_simple("sample", argv, SAMPLE_HELP, SampleConfig, _act, _problems)


def _problems(values: dict[str, Any]) -> list[str]:
    if values["out"] and Path(values["out"]).suffix.lower() not in (".png", ".npy"):
        return [f"out={values['out']}: must end in .png or .npy"]
    return []


def _act(values: dict[str, Any]) -> None:
    for path in draw(values):
        print(path)


def draw(values: dict[str, Any]) -> list[Path]:
    """Draw the images and write them; the files that were written."""
    with quick_imports():
        from lehr.run.load import load
        from lehr.run.sampling import draw_interpolation, draw_samples

    run = load(values["run"], values["trust"])
    default = run.path / "samples" / f"{values['method']}-seed{values['seed']}.png"
    if values["method"] == "interpolate":
        default = run.path / "samples" / f"interpolate-{values['from']}-{values['to']}.png"
    out = Path(values["out"]) if values["out"] else default
    if values["method"] == "interpolate":
        return draw_interpolation(run, values["from"], values["to"], values["steps"], out, values["trust"])
    return draw_samples(run, values["n"], values["method"], values["seed"], values["covariance"], out)
