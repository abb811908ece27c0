"""`lehr train`: one run, or with -m one for each combination of values."""

from __future__ import annotations

import io
import sys
import traceback
from contextlib import redirect_stderr, suppress
from pathlib import Path

import hydra
import yaml
from omegaconf import DictConfig

from lehr.api.start import Start, checked, resume, resumption, start, to_resume
from lehr.api.train import carry_out
from lehr.cli import main as entry
from lehr.cli.ending import report, told
from lehr.cli.flags import parse
from lehr.cli.help import train_help
from lehr.compose.composer import VERSION_BASE, Command, register_conf_dir
from lehr.compose.overrides import literal, notes
from lehr.config.registry import conf_dir
from lehr.errors import ConfigError, Interrupted, LehrError, in_a_line, wants_traceback
from lehr.reading import read_json
from lehr.run.directory import RunDirectory
from lehr.run.status import DONE
from lehr.startup import quick_imports
from lehr.training.debugging.values import mode_of
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
    try:
        directory = to_resume(command)
        if command.multirun:
            from lehr.cli.sweep import sweep

            return sweep(command)
        if directory is None:
            config = checked(command)
            return run_hydra(argv, config_dir, "train") if arguments.cfg else run(start(config))
        found = resumption(directory, command)
        if arguments.cfg and not found.problems:
            print(yaml.safe_dump(found.values, sort_keys=False, allow_unicode=True), end="")
            return 0
        return run(resume(found))
    except LehrError as error:
        return told(error, "train", wants_traceback())


def run(begun: Start) -> int:
    """Train, and say how it went; the exit code."""
    values, directory = begun.values, begun.directory
    try:
        metrics = carry_out(begun, entry.STARTED)
    except Interrupted as interruption:
        is_done = directory.state() == DONE
        report([f"{interruption}" + ("" if is_done else f"; go on with: lehr train resume={directory.path}")], "train")
        return interruption.exit_code
    except Exception as error:
        told(error, "train", wants_traceback(values["debug"] is True))
        return 1
    if rank_from_outside(values):
        return 0
    with quick_imports():
        from lehr.cli.summary import print_summary
    if mode_of(values) in ("overfit", "profile"):  # has said what it has found; its numbers are of no real training
        print(f"\n  run          {directory.path}\n")
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


def run_hydra(argv: list[str], config_dir: Path | None, name: str, command: str | None = None) -> int:
    """Let Hydra inform of the configuration `name` of a command, which has the same name if no other; the exit code.

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
        return report([" ".join(words.split()) or str(stop.code)], command or name)
    except Exception as error:  # Hydra's own command line finds fault with assertions and bare errors
        if wants_traceback():
            traceback.print_exc()
        return report([in_a_line(error)], command or name)
    finally:
        sys.argv = before
    return 0
