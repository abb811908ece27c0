"""`lehr sample`: new images from a finished run."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

from lehr.cli.components import let_import
from lehr.cli.compose import Command, composed, parse, report, wants_traceback
from lehr.cli.help import SAMPLE_HELP
from lehr.cli.train import run_hydra
from lehr.config.schema import SampleConfig, section_problems
from lehr.errors import ConfigError, LehrError


def main(argv: list[str]) -> int:
    """Draw what was asked for and write it; the exit code."""
    try:
        arguments = parse(argv)
    except ConfigError as error:
        return report(error.problems, "sample")
    config_dir = Path(arguments.config_dir) if arguments.config_dir else None
    if arguments.help:
        print(SAMPLE_HELP)
        return 0
    if arguments.hydra_help or arguments.info or arguments.shell_completion or arguments.cfg:
        return run_hydra(argv, config_dir, "sample")
    if arguments.multirun:
        return report(["-m: sampling is one picture at a time"], "sample")
    config, problems = composed(Command(arguments.config_name or "sample", config_dir, arguments.overrides))
    if config is not None:
        values = {key: None if value == "???" else value for key, value in config.values.items()}
        problems += section_problems(SampleConfig, values)
        if not problems and values["out"] and Path(values["out"]).suffix.lower() not in (".png", ".npy"):
            problems.append(f"out={values['out']}: must end in .png or .npy")
    if config is None or problems:
        return report(problems, "sample")
    try:
        for path in draw(values):
            print(path)
    except LehrError as error:
        if wants_traceback(bool(values["debug"])):
            traceback.print_exc()
        return report(str(error).splitlines(), "sample")
    return 0


def draw(values: dict[str, Any]) -> list[Path]:
    """Draw the images and write them; the files that were written."""
    from lehr.training.load import load
    from lehr.training.sampling import draw_interpolation, draw_samples

    let_import(values["trust"])
    run = load(values["run"], values["trust"])
    default = run.path / "samples" / f"{values['method']}-seed{values['seed']}.png"
    if values["method"] == "interpolate":
        default = run.path / "samples" / f"interpolate-{values['from']}-{values['to']}.png"
    out = Path(values["out"]) if values["out"] else default
    if values["method"] == "interpolate":
        return draw_interpolation(run, values["from"], values["to"], values["steps"], out, values["trust"])
    return draw_samples(run, values["n"], values["method"], values["seed"], values["covariance"], out)
