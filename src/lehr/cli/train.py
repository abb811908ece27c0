"""`lehr train`: one run, or with -m one for each combination of values."""

from __future__ import annotations

import io
import os
import sys
import time
import traceback
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import Any

import hydra
import yaml
from omegaconf import DictConfig

from lehr.cli import main as entry
from lehr.cli.ending import report, told
from lehr.cli.flags import parse
from lehr.cli.help import train_help
from lehr.compose.components import run_problems
from lehr.compose.composer import (
    VERSION_BASE,
    Command,
    at_home,
    changed,
    composed,
    register_conf_dir,
    typed_value,
)
from lehr.compose.overrides import literal, notes
from lehr.config.places import located
from lehr.config.registry import conf_dir
from lehr.errors import CheckpointError, ConfigError, Interrupted, LehrError, in_a_line, wants_traceback
from lehr.paths import absolute
from lehr.reading import read_json
from lehr.run.claim import Claim
from lehr.run.directory import RunDirectory
from lehr.run.identity import completed, differing, flat, parts
from lehr.run.status import DONE
from lehr.startup import quick_imports
from lehr.sweeps.point import FILE, Point
from lehr.training.beginning import beginning
from lehr.training.going_on import ended_by
from lehr.training.kept import kept_problems
from lehr.training.launched import rank_from_outside


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
    if arguments.hydra_help or arguments.info:
        return run_hydra(argv, config_dir, "train")
    command = Command(arguments.config_name or "train", config_dir, arguments.overrides, bool(arguments.multirun))
    for note in notes(command.overrides, command.multirun):
        print(note, file=sys.stderr)
    resume, checkpoint = typed_value(command, "resume"), typed_value(command, "resume_from")
    if checkpoint and not resume:
        return report([f"resume_from={checkpoint}: of which run? say resume=DIR too"], "train")
    if resume and not command.multirun:
        try:
            directory = RunDirectory(at_home("resume=", str(resume)))
        except ConfigError as error:
            return report(error.problems, "train")
        return _resume(directory, command, show=bool(arguments.cfg))
    if command.multirun:
        from lehr.cli.sweep import sweep

        return sweep(command)
    config, problems = composed(command)
    for word in arguments.overrides:
        if word.startswith(("pool.", "sweep.", "hydra.sweep")) or word.upper() == "HYDRA.MODE=MULTIRUN":
            problems.append(f"{word}: is for many runs; add -m")
    if config is not None:
        problems += run_problems(config.values)
    if not problems and config and not arguments.cfg:
        is_to_be_new = config.is_dated and not rank_from_outside(config.values)
        path = _unused(config.output_dir) if is_to_be_new else config.output_dir
        return _begin({**located(config.values), "dir": absolute(path)}, RunDirectory(path))
    return report(problems, "train") if problems else run_hydra(argv, config_dir, "train")


def _unused(path: str) -> str:
    """`path` or, where it is taken, with a number behind it: commands of the same second by the clock are two runs."""
    for name in (path, *(f"{path}-{number}" for number in range(2, 1000))):
        try:
            os.makedirs(name)
            return name
        except FileExistsError:
            continue
        except OSError:  # is told of in a line when the directory is looked at
            break
    return path


def _begin(values: dict[str, Any], directory: RunDirectory) -> int:
    """Train into `directory`, or go on with this very run there; the exit code."""
    if rank_from_outside(values):
        return run(values, directory)  # the first rank has looked
    if problems := directory.problems() or _point_problems(values, directory):
        return report(problems, "train")
    try:
        found = beginning(values, directory)
    except ConfigError as error:
        return report(error.problems, "train")
    if found.note:
        print(f"note: {found.note}", file=sys.stderr, flush=True)
    if found.evaluate:
        return _evaluate(values, directory)
    return run(values, directory, resume=found.resume)


def _evaluate(values: dict[str, Any], directory: RunDirectory) -> int:
    """The evaluation at the end of a run that is done but for that, and how the run went; the exit code."""
    with quick_imports():
        from lehr.cli.summary import print_summary
        from lehr.run.evaluate import evaluate_finished
    claim = Claim.take(directory.path)
    if claim is None:
        return report([f"dir={directory.path}: {directory.holder() or 'another process'} is running there"], "train")
    with claim:
        evaluate_finished(values, directory, tuple(values["trust"]))
    _print_evaluation(directory)
    print_summary(read_json(directory.metrics), directory)
    return 0


def _resume(directory: RunDirectory, command: Command, show: bool) -> int:
    """Go on with the run in `directory`, with its own configuration and what was said on the command line on top."""
    try:
        resume_from = typed_value(command, "resume_from") or "last"
        checkpoint = directory.require_checkpoint(resume_from)
        saved = completed(directory.read_config())
    except LehrError as error:
        return told(error, "train", wants_traceback())
    # what a directory says about trust is not believed, only what is said now
    values, problems = changed({**saved, "trust": []}, command)
    values |= {"dir": absolute(directory.path), "resume": None, "resume_from": resume_from}
    problems += kept_problems(saved, values)
    if wrong := run_problems(values):
        problems += wrong
    else:
        values = located(values, but=saved)
        problems += _point_problems(values, directory)
    if show and not problems:
        print(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), end="")
        return 0
    if not problems:
        if not rank_from_outside(values) and (process := directory.holder()):
            problems.append(f"resume={directory.path}: {process} is running there")
        if directory.state() == DONE:
            problems += _nothing_left(values, saved, directory, checkpoint)
    if problems:
        return report(problems, "train")
    return run(values, directory, resume=True)


def _nothing_left(
    values: dict[str, Any], saved: dict[str, Any], directory: RunDirectory, checkpoint: Path
) -> list[str]:
    """Why a finished run with these values would not be trained further, although that was asked for."""
    about_it = ("trust", "debug", "overwrite", "dir", "resume", "resume_from")
    before = dict(flat({key: value for key, value in saved.items() if key not in about_it}))
    now = dict(flat({key: value for key, value in values.items() if key not in about_it}))
    changed_keys = [key for key in now if now[key] != before.get(key)]
    longer = [key for key in changed_keys if key in ("trainer.max_epochs", "trainer.max_steps") or "patience" in key]
    if changed_keys and not longer:
        return []  # what is done at the end may be another
    try:
        limits = ended_by(checkpoint, values)
    except LehrError as error:
        return [str(error)]
    if longer and limits:
        if reached := [key for key in longer if key in limits]:
            return [f"{key}={now[key]}: the run is as far as that already; raise it" for key in reached]
        return [f"{key}={now[key]}: leaves nothing to train; raise {' and '.join(limits)} as well" for key in longer]
    if longer:
        return []
    again = f"from {checkpoint.name} it would be trained in the same way again"
    advice = f"to go on raise {' and '.join(limits)}" if limits else again
    return [f"resume={directory.path}: the run is finished; {advice}"]


def _point_problems(values: dict[str, Any], directory: RunDirectory) -> list[str]:
    """Where a run is no longer the point of a sweep that the sweep would take it for."""
    if not (directory.path / FILE).exists():
        return []
    with suppress(CheckpointError):
        there, here = parts(Point.read(directory.path).config), parts(values)
        return [
            f"{key}={here.get(key)}: the run in {directory.path} is a point of a sweep with {key}={there.get(key)}"
            for key in differing(there, here)
            if there.get(key) != here.get(key)  # null, and a key that is not there, are the same to a person
        ]
    return []


def run(values: dict[str, Any], directory: RunDirectory, resume: bool = False) -> int:
    """Train, and say how it went; the exit code."""
    debug = wants_traceback(values["debug"])
    with quick_imports():
        from lehr.cli.summary import print_summary
        from lehr.training.session import train
    imported = time.perf_counter() - entry.STARTED
    try:
        metrics = train(values, directory, resume=resume, trust=tuple(values["trust"]), import_seconds=imported)
    except Interrupted as interruption:
        is_done = directory.state() == DONE
        report([f"{interruption}" + ("" if is_done else f"; go on with: lehr train resume={directory.path}")], "train")
        return interruption.exit_code
    except Exception as error:
        told(error, "train", debug)
        return 1
    if rank_from_outside(values):
        return 0
    _print_evaluation(directory)
    print_summary(metrics, directory)
    return 0


def _print_evaluation(directory: RunDirectory) -> None:
    from lehr.evaluation.table import evaluation_table

    with suppress(OSError, ValueError):
        print("\n" + evaluation_table(read_json(directory.evaluation())), end="")


def _refuse_to_run(config: DictConfig) -> None:
    raise AssertionError("Hydra was asked for information only")


def run_hydra(argv: list[str], config_dir: Path | None, name: str) -> int:
    """Let Hydra inform of the configuration `name`; the exit code.

    Hydra's own --config-dir comes after the application's folder; the user's is to come first.
    """
    arguments = [literal(word) for word in argv]
    for i, word in enumerate(argv):
        flag, _, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            del arguments[i : i + (1 if value else 2)]
            break
    register_conf_dir()
    first = config_dir or conf_dir()
    before, sys.argv = sys.argv, ["lehr", *arguments]
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            hydra.main(config_path=str(first.absolute()), config_name=name, version_base=VERSION_BASE)(_refuse_to_run)()
    except SystemExit as stop:
        if stop.code in (None, 0):
            return 0
        words = said.getvalue().partition("\nSet the environment variable")[0].partition("Config search path:")[0]
        if "Traceback (most recent call last)" in words and not wants_traceback():
            words = next((line for line in reversed(words.splitlines()) if line and not line[0].isspace()), words)
        return report([" ".join(words.split()) or str(stop.code)], name)
    except Exception as error:  # Hydra's own command line finds fault with assertions and bare errors
        if wants_traceback():
            traceback.print_exc()
        return report([in_a_line(error)], name)
    finally:
        sys.argv = before
    return 0
