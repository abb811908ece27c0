"""A training in stages: each begins with the weights that the one before has ended in, all in one run directory.

Every stage but the last is a run of its own in DIR/stages/NAME; the last is the run in DIR. What has ended is not done
again, and what was interrupted goes on, whether it was killed within a stage or between two.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

from lehr.config.given import NOTHING, Given
from lehr.config.stages import stage_names, stage_of
from lehr.paths import absolute
from lehr.run.claim import Claim, holder
from lehr.run.directory import RunDirectory
from lehr.run.status import DONE, Status
from lehr.training import session
from lehr.training.building import Config, Extras
from lehr.training.debugging.values import debugged
from lehr.training.ending import ending_recorded


def train(
    config: Config,
    directory: RunDirectory,
    resume: bool = False,
    trust: tuple[str, ...] = (),
    import_seconds: float = 0.0,
    claim: Claim | None = None,
    extras: Extras | None = None,
    given: Given = NOTHING,
) -> dict[str, float]:
    """Train the stages of a configuration, or the whole of it where it has none; the final metrics of the last.

    Args, Raises: as of `lehr.training.session.train`.
    """
    names = stage_names(config)
    if len(names) < 2:
        return session.train(config, directory, resume, trust, import_seconds, claim, extras, given)
    with ExitStack() as held:
        if claim is None:
            claim = held.enter_context(session.claimed(directory))
            resume = resume or session.goes_on(config, directory)
        if not resume and directory.is_run():
            directory.clear()
        left = [i for i in range(len(names) - 1) if _stage(directory, names[i]).state() != DONE]
        if left:
            status = Status(directory.status)
            with ending_recorded(status, directory, {}):
                session.begin(directory, config, status, None)
                for i in left:
                    _train_stage(config, directory, i, trust, import_seconds, claim, given)
                    import_seconds = 0.0
        _say(directory, names, len(names) - 1)
        extras = extras or Extras()
        extras = Extras(extras.hyperparameters, extras.callbacks, stage=len(names) - 1, stages=len(names))
        resume = directory.last_checkpoint.exists()
        return session.train(config, directory, resume, trust, import_seconds, claim, extras, given)


def configuration(config: Config, directory: RunDirectory, number: int) -> dict[str, Any]:
    """That of the run which a stage but the last is."""
    names = stage_names(config)
    values = stage_of(config, number)
    if number:
        values["start_from"] = absolute(_stage(directory, names[number - 1]).path)
    own = {"dir": absolute(_stage(directory, names[number]).path), "overwrite": False, "resume_from": "last"}
    # what is evaluated at the end is what the run has ended in
    return debugged({**values, **own, "evaluate": "none"})


def _train_stage(
    config: Config,
    directory: RunDirectory,
    number: int,
    trust: tuple[str, ...],
    import_seconds: float,
    claim: Claim,
    given: Given,
) -> None:
    names = stage_names(config)
    stage = _stage(directory, names[number])

    def fraction() -> float:
        found = holder(stage.path)
        return (number + ((found.fraction if found else None) or 0.0)) / len(names)

    claim.fraction = fraction
    _say(directory, names, number)
    values = configuration(config, directory, number)
    session.train(values, stage, stage.last_checkpoint.exists(), trust, import_seconds, given=given)


def _stage(directory: RunDirectory, name: str) -> RunDirectory:
    return RunDirectory(directory.stages / name)


def _say(directory: RunDirectory, names: list[str], number: int) -> None:
    where = "" if number == len(names) - 1 else f", in {_stage(directory, names[number]).path}"
    print(f"stage {number + 1} of {len(names)}: {names[number]}{where}", file=sys.stderr, flush=True)
