"""How a run begins: anew, where an interrupted one of the same values goes on, or from a directory that was named.

Everything that can be checked without data is checked here, before anything that takes seconds is imported.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lehr.compose.components import run_problems
from lehr.compose.composer import Command, Composed, at_home, changed, composed, typed_value
from lehr.config.places import located
from lehr.errors import CheckpointError, ConfigError, LehrError
from lehr.paths import absolute
from lehr.run.directory import RunDirectory
from lehr.run.identity import completed, differing, flat, parts
from lehr.run.status import DONE
from lehr.sweeps.point import FILE, Point
from lehr.training.beginning import beginning, has_begun, start_problems
from lehr.training.debugging.values import debug_directory, debugged, mode_of, resume_problem
from lehr.training.going_on import ended_by
from lehr.training.kept import kept_problems
from lehr.training.launched import rank_from_outside


@dataclass(frozen=True)
class Start:
    """A run that can begin.

    Attributes:
        values: its configuration, resolved and checked.
        directory: where it is written.
        resume: from a checkpoint that is there.
        evaluate: nothing but the evaluation at its end is left to do.
        note: what is said of it.
    """

    values: dict[str, Any]
    directory: RunDirectory
    resume: bool = False
    evaluate: bool = False
    note: str = ""


def checked(command: Command) -> Composed:
    """The configuration of a single run.

    Raises:
        ConfigError: with a line for each mistake.
    """
    config, problems = composed(command)
    for word in command.overrides:
        if word.startswith(("pool.", "sweep.", "hydra.sweep")) or word.upper() == "HYDRA.MODE=MULTIRUN":
            problems.append(f"{word}: is for many runs; add -m")
    if config is not None:
        problems += run_problems(config.values)
    if problems or config is None:
        raise ConfigError(*problems)
    if mode_of(config.values) is None:
        return config
    return replace(config, values=debugged(config.values), output_dir=debug_directory(config.output_dir))


def start(config: Composed) -> Start:
    """Begin the run of this configuration in its directory, or go on with this very run there.

    Raises:
        ConfigError: if the directory is none for it.
    """
    is_rank = rank_from_outside(config.values)
    path = _unused(config.output_dir) if config.is_dated and not is_rank else config.output_dir
    values, directory = {**located(config.values), "dir": absolute(path)}, RunDirectory(path)
    if is_rank:
        return Start(values, directory)  # the first rank has looked
    if problems := directory.problems() or _point_problems(values, directory):
        raise ConfigError(*problems)
    found = beginning(values, directory)
    if not (found.resume or found.evaluate) and (problems := start_problems(values)):
        raise ConfigError(*problems)
    return Start(values, directory, found.resume, found.evaluate, found.note)


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


def to_resume(command: Command) -> RunDirectory | None:
    """The directory of the run that the words say to go on with, if they do.

    Raises:
        ConfigError: if they say with what of it, and not with which.
    """
    resume, checkpoint = typed_value(command, "resume"), typed_value(command, "resume_from")
    if checkpoint and not resume:
        raise ConfigError(f"resume_from={checkpoint}: of which run? say resume=DIR too")
    return RunDirectory(at_home("resume=", str(resume))) if resume else None


@dataclass(frozen=True)
class Resumption:
    """A run to go on with, and with which values.

    Attributes:
        directory: of the run.
        values: its own, with what was said now on top.
        saved: its own.
        checkpoint: to go on from.
        problems: a line for each mistake in what was said.
    """

    directory: RunDirectory
    values: dict[str, Any]
    saved: dict[str, Any]
    checkpoint: Path
    problems: list[str]


def resumption(directory: RunDirectory, command: Command) -> Resumption:
    """The run in `directory`, with its own configuration and what was said now on top.

    Raises:
        LehrError: if there is nothing to go on from.
    """
    resume_from = typed_value(command, "resume_from") or "last"
    # os.path answers for names that no file can have too
    staged = os.path.isdir(directory.path) and not directory.last_checkpoint.exists() and has_begun(directory)
    checkpoint = directory.last_checkpoint if staged else directory.require_checkpoint(resume_from)
    saved = completed(directory.read_config())
    # what a directory says about trust is not believed, only what is said now
    # and a run in which something was looked for goes on as the run that it is
    debug = False if mode_of(saved) == "anomaly" else saved["debug"]
    values, problems = changed({**saved, "trust": [], "debug": debug}, command)
    values |= {"dir": absolute(directory.path), "resume": None, "resume_from": resume_from}
    problems += kept_problems(saved, values)
    problems += [problem] if (problem := resume_problem(values)) else []
    if wrong := run_problems({**values, "resume": values["dir"]}):  # what it began with may be gone
        problems += wrong
    else:
        values = located(debugged(values), but=saved)
        problems += _point_problems(values, directory)
    return Resumption(directory, values, saved, checkpoint, problems)


def resume(found: Resumption) -> Start:
    """Go on with a run.

    Raises:
        ConfigError: if that cannot be done, or leaves nothing to do.
    """
    problems, directory = list(found.problems), found.directory
    if not problems:
        if not rank_from_outside(found.values) and (process := directory.holder()):
            problems.append(f"resume={directory.path}: {process} is running there")
        if directory.state() == DONE:
            problems += _nothing_left(found)
    if problems:
        raise ConfigError(*problems)
    return Start(found.values, directory, resume=True)


def _nothing_left(found: Resumption) -> list[str]:
    """Why a finished run with these values would not be trained further, although that was asked for."""
    about_it = ("trust", "debug", "overwrite", "dir", "resume", "resume_from")
    values, checkpoint = found.values, found.checkpoint
    before = dict(flat({key: value for key, value in found.saved.items() if key not in about_it}))
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
    return [f"resume={found.directory.path}: the run is finished; {advice}"]


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
