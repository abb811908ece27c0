"""`lehr train`: one run, or with -m one for each combination of values."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from lehr.cli import main as entry
from lehr.cli.components import component_problems, let_import
from lehr.cli.compose import (
    VERSION_BASE,
    Command,
    Composed,
    changed,
    composed,
    conf_dir,
    parse,
    points,
    register_conf_dir,
    report,
    typed_value,
    wants_traceback,
)
from lehr.cli.help import train_help
from lehr.config.problems import train_problems
from lehr.errors import ConfigError, LehrError
from lehr.training.directory import DONE, RunDirectory
from lehr.training.preflight import combination_problems, directory_problems


def main(argv: list[str]) -> int:
    """Check everything that can be checked without data, then train; the exit code."""
    try:
        arguments = parse(argv)
    except ConfigError as error:
        return report(error.problems, "train")
    config_dir = Path(arguments.config_dir) if arguments.config_dir else None
    if arguments.help:
        print(train_help(config_dir))
        return 0
    if arguments.hydra_help or arguments.info or arguments.shell_completion:
        return run_hydra(argv, config_dir, "train")
    command = Command(arguments.config_name or "train", config_dir, arguments.overrides, bool(arguments.multirun))
    resume = typed_value(command, "resume")
    if resume and not command.multirun:
        return _resume(RunDirectory(str(resume)), command, show=bool(arguments.cfg))
    config, problems = _checked(command)
    if command.multirun:
        problems += ["resume: a run is resumed by itself, without -m"] if resume else []
        if typed_value(command, "dir"):
            problems.append("dir: is of a single run; say hydra.sweep.dir=DIR, each run of a sweep has a folder in it")
        if config:
            # of the lines about a run's directory, those that hold for any directory
            problems += [f"hydra.sweep.{line}" for line in RunDirectory(config.sweep_dir).problems(overwrite=True)]
        for point in points(command):
            problems += [problem for problem in _checked(point)[1] if problem not in problems]
    if not problems and config and not (command.multirun or arguments.cfg):
        directory = RunDirectory(config.output_dir)
        problems += directory_problems(config.values, directory)
        if not problems:
            return run({**config.values, "dir": config.output_dir}, directory)
    return report(problems, "train") if problems else run_hydra(argv, config_dir, "train", _train_one_of_many)


def _checked(command: Command) -> tuple[Composed | None, list[str]]:
    """The configuration and everything that is wrong with it by itself."""
    config, problems = composed(command)
    if config is not None:
        problems += train_problems(config.values)
        if not problems:
            problems += _deeper_problems(config.values)
    return config, problems


def _deeper_problems(values: dict[str, Any]) -> list[str]:
    """What is wrong with a configuration that has passed the schema, as far as it is known without data."""
    let_import(values["trust"])
    return [*combination_problems(values), *component_problems(values, values["trust"])]


def _resume(directory: RunDirectory, command: Command, show: bool) -> int:
    """Go on with the run in `directory`, with its own configuration and what was said on the command line on top."""
    try:
        directory.require_checkpoint()
        saved = directory.read_config()
    except LehrError as error:
        if wants_traceback():
            traceback.print_exc()
        return report([str(error)], "train")
    # what a directory says about trust is not believed, only what is said now
    values, problems = changed({**saved, "trust": []}, command)
    values |= {"dir": str(directory.path), "resume": None}
    problems += train_problems(values)
    if not problems:
        problems += _deeper_problems(values)
    if show and not problems:
        print(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), end="")
        return 0
    if not problems:
        if process := directory.holder():
            problems.append(f"resume={directory.path}: {process} is running there")
        about_it = ("trust", "debug", "overwrite", "dir", "resume")
        if directory.state() == DONE and all(values[key] == saved.get(key) for key in values if key not in about_it):
            problems.append(f"resume={directory.path}: the run is finished; to go on raise trainer.max_epochs")
    if problems:
        return report(problems, "train")
    return run(values, directory, resume=True)


def run(values: dict[str, Any], directory: RunDirectory, resume: bool = False) -> int:
    """Train, and say how it went; the exit code."""
    debug = wants_traceback(values["debug"])
    from lehr.cli.summary import print_summary
    from lehr.cli.table import evaluation_table
    from lehr.training.callbacks.interruption import Interrupted
    from lehr.training.run import train

    imported = time.perf_counter() - entry.STARTED
    try:
        metrics = train(values, directory, resume=resume, trust=tuple(values["trust"]), import_seconds=imported)
    except Interrupted as interruption:
        print(
            f"lehr train: {interruption}; go on with: lehr train resume={directory.path}", file=sys.stderr, flush=True
        )
        return interruption.exit_code
    except LehrError as error:
        if debug:
            traceback.print_exc()
        report(str(error).splitlines(), "train")
        return 1
    except Exception as error:
        if debug:
            traceback.print_exc()
        else:
            line = " ".join(f"{type(error).__name__}: {error}".split())
            report([f"{line} (debug=true shows where)"], "train")
        return 1
    with suppress(OSError, ValueError):
        print("\n" + evaluation_table(json.loads(directory.evaluation().read_text())), end="")
    print_summary(metrics, directory)
    return 0


def _train_one_of_many(config: DictConfig) -> None:
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    output_dir = HydraConfig.get().runtime.output_dir
    directory = RunDirectory(os.path.relpath(output_dir))
    plain = {str(key): value for key, value in values.items()} | {"dir": str(directory.path)}
    problems = train_problems(plain) or [
        *_deeper_problems(plain),
        *directory_problems(plain, directory),
    ]
    code = report(problems, "train") if problems else run(plain, directory)
    if code > 128:
        sys.exit(code)  # a signal ends the whole sweep; an error only this run
    _failures.append(code)


_failures: list[int] = []


def _refuse_to_run(config: DictConfig) -> None:
    raise AssertionError("Hydra was asked for information only")


def run_hydra(
    argv: list[str], config_dir: Path | None, name: str, task: Callable[[DictConfig], None] = _refuse_to_run
) -> int:
    """Let Hydra take it from here, with the configuration `name`; without a `task` only to inform. The exit code.

    Hydra's own --config-dir comes after the application's folder; the user's is to come first.
    """
    _failures.clear()
    arguments = list(argv)
    for i, word in enumerate(argv):
        flag, _, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            del arguments[i : i + (1 if value else 2)]
            break
    register_conf_dir()
    first = config_dir or conf_dir()
    before, sys.argv = sys.argv, ["lehr", *arguments]
    try:
        hydra.main(config_path=str(first.absolute()), config_name=name, version_base=VERSION_BASE)(task)()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        sys.argv = before
    return max(_failures, default=0)
