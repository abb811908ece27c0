"""A training in stages: each begins with the weights that the one before has ended in, all in one run directory.

Every stage but the last is a run of its own in DIR/stages/NAME; the last is the run in DIR. What has ended is not done
again, and what was interrupted goes on, whether it was killed within a stage or between two.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch

from lehr.config.stages import stage_names, stage_of
from lehr.errors import ConfigError
from lehr.paths import absolute
from lehr.run.claim import holder
from lehr.run.directory import RunDirectory
from lehr.run.model_files import build_model
from lehr.run.status import DONE, Status
from lehr.training import session
from lehr.training.building import Config
from lehr.training.debugging.values import debugged
from lehr.training.ending import ending_recorded
from lehr.training.extras import NO_EXTRAS, Extras
from lehr.training.starting import weights_differ


def train(
    config: Config, directory: RunDirectory, resume: bool = False, extras: Extras = NO_EXTRAS
) -> dict[str, float]:
    """Train the stages of a configuration, or the whole of it where it has none; the final metrics of the last.

    Args, Raises: as of `lehr.training.session.train`.
    """
    names = stage_names(config)
    if len(names) < 2:
        return session.train(config, directory, resume, extras)
    with ExitStack() as held:
        if (claim := extras.claim) is None:
            claim = held.enter_context(directory.claimed())
            resume = resume or session.goes_on(config, directory)
        anew = not resume and directory.is_run()
        left = [i for i in range(len(names) - 1) if anew or _stage(directory, names[i]).state() != DONE]
        if left:
            if "model" not in extras.given:
                _require_one_model(config, names, extras.trust)
            status = Status(directory.status)

            def clear() -> None:
                directory.clear(but_status=True)
                session.begin(directory, config, status, None)

            with ending_recorded(status, directory, {}):
                if not anew:
                    session.begin(directory, config, status, None)
                for i in left:
                    before = clear if anew and i == 0 else None
                    _train_stage(config, directory, i, replace(extras, claim=claim, before=before))
                    extras = replace(extras, import_seconds=0.0)
        _say(directory, names, len(names) - 1)
        extras = replace(extras, claim=claim, stage=len(names) - 1, stages=len(names))
        return session.train(config, directory, directory.last_checkpoint.exists(), extras)


def configuration(config: Config, directory: RunDirectory, number: int) -> dict[str, Any]:
    """That of the run which a stage but the last is."""
    names = stage_names(config)
    values = stage_of(config, number)
    if number:
        values["start_from"] = absolute(_stage(directory, names[number - 1]).path)
    own = {"dir": absolute(_stage(directory, names[number]).path), "overwrite": False, "resume_from": "last"}
    # what is evaluated at the end is what the run has ended in
    return debugged({**values, **own, "evaluate": "none"})


def _train_stage(config: Config, directory: RunDirectory, number: int, extras: Extras) -> None:
    """Train one stage; of an earlier run in `directory` nothing is touched until `extras.before` is called."""
    names = stage_names(config)
    stage = _stage(directory, names[number])

    def fraction() -> float:
        found = holder(stage.path)
        return (number + ((found.fraction if found else None) or 0.0)) / len(names)

    assert extras.claim is not None
    extras.claim.fraction = fraction
    _say(directory, names, number)
    anew = extras.before is not None
    values = {**configuration(config, directory, number), "overwrite": anew}
    # the stage claims its own directory, and a sweep compares and prunes by the last one
    own = replace(extras, claim=None, hyperparameters=None, callbacks=())
    session.train(values, stage, not anew and stage.last_checkpoint.exists(), own)


def _require_one_model(config: Config, names: list[str], trust: tuple[str, ...]) -> None:
    """Find out before the first stage, and not after it, that the next one cannot begin with its weights.

    Raises:
        ConfigError: in a line, if a stage has a model of other weights than the one before.
    """
    stages = [stage_of(config, i) for i in range(len(names) - 1)] + [dict(config)]
    for before, after, name, next_name in zip(stages, stages[1:], names, names[1:], strict=False):
        if before["model"] == after["model"]:
            continue
        data = before["data"]
        shape = (data.get("channels") or 3, data.get("size") or 64, data.get("size") or 64)  # the same for both
        try:
            with torch.device("meta"):  # shapes alone
                there, here = (build_model(stage, shape, trust).state_dict() for stage in (before, after))
        except Exception:  # what cannot be built so, or for such images, is told of when it is built
            continue
        if problem := weights_differ(there, here):
            raise ConfigError(
                f"stages.{next_name}: begins with the weights of {name}, and its model has others: {problem}"
            )


def _stage(directory: RunDirectory, name: str) -> RunDirectory:
    return RunDirectory(directory.stages / name)


def _say(directory: RunDirectory, names: list[str], number: int) -> None:
    where = "" if number == len(names) - 1 else f", in {_stage(directory, names[number]).path}"
    print(f"stage {number + 1} of {len(names)}: {names[number]}{where}", file=sys.stderr, flush=True)
