"""What a training does in a directory that holds a run already: go on with it, evaluate it, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lehr.config.stages import NAME, STAGES
from lehr.errors import CheckpointError, ConfigError
from lehr.run.directory import RunDirectory
from lehr.run.identity import LATER, differing, parts
from lehr.run.status import DONE, FAILED, INTERRUPTED, lacks_evaluation
from lehr.startup import quick_imports
from lehr.training.launched import rank_from_outside

_PRETRAINED = "model.pretrained"
_LONGEST = 80  # letters of a value that it names
_NAMED = 4  # keys that a refusal names
_ANEW = "choose another directory, or say overwrite=true to begin anew"


@dataclass(frozen=True)
class Beginning:
    """How a run begins.

    Attributes:
        resume: from the checkpoint that is there.
        evaluate: nothing but the evaluation at its end is left to do.
        note: what is said of it.
    """

    resume: bool = False
    evaluate: bool = False
    note: str = ""


def beginning(config: Mapping[str, Any], directory: RunDirectory) -> Beginning:
    """How the run of this configuration begins in `directory`, which nobody is working in.

    A run that was interrupted or killed goes on, so that one command, given as often as need be, ends in one run. What
    somebody may want to keep is never removed unasked.

    Raises:
        ConfigError: if something else is there than this run, or this run has failed or is finished.
    """
    status, dir_ = directory.read_status(), f"dir={directory.path}"
    state = status.get("state")
    if not directory.is_run() or config["overwrite"]:
        return Beginning()
    if state == DONE:
        error = status.get("evaluation_error")
        left = lacks_evaluation(status, config["evaluate"]) and error in (None, INTERRUPTED)
        if left and not _differences(config, directory):
            return _unless_with_others(
                config, Beginning(evaluate=True, note=f"{dir_}: holds this run, done but for its evaluation")
            )
        raise ConfigError(f"{dir_}: holds a finished run; choose another directory, or say overwrite=true")
    if not has_begun(directory):
        return Beginning()
    done = _steps(directory) if directory.last_checkpoint.exists() else _stages(directory)
    if not done:
        return Beginning()
    go_on = f"resume={directory.path} goes on with it"
    if differences := _differences(config, directory):
        raise ConfigError(f"{dir_}: holds an unfinished run of other values ({differences}); {go_on}; or {_ANEW}")
    if state == FAILED:
        raise ConfigError(f"{dir_}: holds this run, which has failed after {done}; {go_on}; or {_ANEW}")
    note = f"{dir_}: holds this run, interrupted; it goes on after {done} (overwrite=true begins anew)"
    return _unless_with_others(config, Beginning(resume=True, note=note))


def start_problems(config: Mapping[str, Any]) -> list[str]:
    """Why a run of this configuration cannot begin with the weights that it says; whether they fit is seen later."""
    if (run := config.get("start_from")) is None:
        if config.get("fit_half") and not config.get("stages") and not config["model"].get("pretrained"):
            return ["fit_half=true: is for weights that there are; say start_from=RUN or model.pretrained=FILE"]
        return []
    directory = RunDirectory(run)
    if not directory.path.is_dir():
        return [f"start_from={run}: there is no such directory"]
    if not directory.model.is_dir():
        why = directory.unfinished() or "it is not the directory of a finished run"
        return [f"start_from={run}: has no model/; {why}"]
    return []


def _unless_with_others(config: Mapping[str, Any], found: Beginning) -> Beginning:
    if rank_from_outside(config) is not None:
        raise ConfigError(f"{found.note}; of processes that were started together each is to be told: resume=DIR")
    return found


def _differences(config: Mapping[str, Any], directory: RunDirectory) -> str:
    """Where the run in `directory` differs from one of `config`, in words; empty where it is the same run.

    Raises:
        ConfigError: if its configuration cannot be read.
    """
    try:
        there, here = parts(directory.read_config()), parts(config)
    except CheckpointError as error:
        raise ConfigError(f"{error}; {_ANEW}") from error
    _compare_weights(there, here, config, directory)
    _compare_stages(there, here)
    keys = differing(there, here)
    both = [(key, *(_short(_value(side, key)) for side in (there, here))) for key in keys[:_NAMED]]
    named = [f"{key}={one} there, {other} here" for key, one, other in both]
    return "; ".join([*named, *([f"and {len(keys) - _NAMED} more"] if len(keys) > _NAMED else [])])


def _value(found: Mapping[str, Any], key: str) -> Any:
    """In the parts of a run; what a stage does not say is as in the last one."""
    if key.startswith(f"{STAGES}.") and key not in found:
        return _value(found, key.split(".", 2)[2])
    return found.get(key, LATER.get(key))


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _compare_stages(there: dict[str, Any], here: dict[str, Any]) -> None:
    """Let the stages of both runs stand in their parts by name, and where these are the same what each says."""
    names = [[stage[NAME] for stage in side.get(STAGES) or ()] for side in (there, here)]
    for side, own in zip((there, here), names, strict=True):
        for stage in side.pop(STAGES, None) or ():
            if names[0] == names[1]:
                side |= {f"{STAGES}.{stage[NAME]}.{key}": value for key, value in stage.items() if key != NAME}
        side[STAGES] = f"[{', '.join(own)}]"


def _compare_weights(
    there: dict[str, Any], here: dict[str, Any], config: Mapping[str, Any], directory: RunDirectory
) -> None:
    """Of pretrained weights, let what they hold stand in the parts of both runs where it is known of the one there."""
    begun = [run.read_status().get("started_from") for run in (*directory.stage_directories(), directory)]
    known = next((of["weights"] for of in begun if isinstance(of, Mapping) and "weights" in of), None)
    if known is None or not (there.get(_PRETRAINED) and here.get(_PRETRAINED)):
        return
    with quick_imports():
        from lehr.run.pretrained import Pretrained
    found = Pretrained.of(config)
    assert found is not None
    if found.id == known:
        there[_PRETRAINED] = here[_PRETRAINED]
    elif there[_PRETRAINED] == here[_PRETRAINED]:
        here[_PRETRAINED] = f"(other weights now) {here[_PRETRAINED]}"


def has_begun(directory: RunDirectory) -> bool:
    """Whether there is something to go on from: a checkpoint, or in an earlier stage of the run one, or its end."""
    return directory.last_checkpoint.exists() or any(
        stage.state() == DONE or stage.last_checkpoint.exists() for stage in directory.stage_directories()
    )


def _stages(directory: RunDirectory) -> str:
    """In words what has been done where the last stage has not begun."""
    done = [stage.path.name for stage in directory.stage_directories() if stage.state() == DONE]
    return f"stage {' and '.join(done)}" if done else "a part of its first stage"


def _steps(directory: RunDirectory) -> str:
    """How many steps the checkpoint has taken, in words; empty with none, as there is nothing to lose.

    Raises:
        ConfigError: if it cannot be read.
    """
    with quick_imports():
        from lehr.run.checkpoint_file import read_checkpoint
    try:
        steps = int(read_checkpoint(directory.last_checkpoint).get("global_step", 0))
    except CheckpointError as error:
        raise ConfigError(f"{error}; {_ANEW}") from error
    return f"{steps:,} steps" if steps else ""
