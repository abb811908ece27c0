"""What a run that looks for what is wrong is told, in place of what was configured.

A function from values to values, applied before anything is built: so config.yaml says what was done, and such a run is
never taken for the real one, whose identity it has not. torch is not needed for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any, get_args

from lehr.config.schema import DebugMode

Config = Mapping[str, Any]

MODES = get_args(DebugMode)
OVERFIT_STEPS = 2000
"""After so many optimiser steps one batch counts as not learnt, unless `trainer.max_steps` says another number."""
UNTIMED, TIMED, WARMING, RECORDED = 3, 8, 2, 10
"""Steps of a profile: left out at the start, timed by the clock alone, and with the profiler before and while it
records."""
_FEW = 64  # images of a split, if a batch needs no more


def mode_of(config: Config) -> str | None:
    """How the run looks for what is wrong; None where it does not, or only shows tracebacks."""
    mode = config.get("debug")
    return mode if mode in MODES else None


def debugged(config: Config) -> dict[str, Any]:
    """The configuration that `debug` makes of one that has passed the schema."""
    mode = mode_of(config)
    return dict(config) if mode is None else _CHANGES[mode](config)


def debug_directory(path: str) -> str:
    """Where such a run lies unless it was said: `outputs/debug/...` in place of `outputs/...`."""
    first, *rest = PurePath(path).parts or ("",)
    return str(PurePath(first, "debug", *rest)) if first == "outputs" else path


def several_problem(config: Config) -> str | None:
    """Why a sweep cannot have this `debug`, if it cannot."""
    mode = mode_of(config)
    return f"debug={mode}: is of a single run; leave out -m" if mode else None


def resume_problem(config: Config) -> str | None:
    """Why a run that is gone on with cannot have this `debug`, if it cannot: it would be another run."""
    mode = mode_of(config)
    if mode in (None, "anomaly"):
        return None
    return f"debug={mode}: is of a new run; leave out resume, or say debug=anomaly, which goes on as it was"


def _fast(config: Config) -> dict[str, Any]:
    trainer = {"max_epochs": None, "max_steps": 1, "limit_examples": _few(config, _accumulated(config))}
    return {**_settled(config), "trainer": {**config["trainer"], **trainer}}


def _overfit(config: Config) -> dict[str, Any]:
    """One batch, the KL weight 0: what is left to be tested is the networks and their optimizer."""
    trainer = {
        "max_epochs": None,
        "max_steps": config["trainer"]["max_steps"] or OVERFIT_STEPS,
        "accumulate_grad_batches": 1,
        "limit_examples": _few(config),
        "overfit_batches": 1,
    }
    kl = {"_target_": "lehr.objective.AnnealedKL", "weight": 0.0, "hold": 0, "warmup": 0, "cycles": 1}
    others = {"shape": "linear", "unit": "epoch", "convention": "nats"}
    return {**_steps_alone(config, trainer), "kl": {**kl, **others}, "ema": None}


def _profile(config: Config) -> dict[str, Any]:
    steps = UNTIMED + TIMED + WARMING + RECORDED + 1  # what follows the last step is none of it
    trainer = {
        "max_epochs": None,
        "max_steps": steps,
        "limit_examples": _few(config, steps * _accumulated(config)),
    }
    return _steps_alone(_settled(config), trainer)


def _anomaly(config: Config) -> dict[str, Any]:
    """The same run, to the bit where it is not compiled: operations within compiled code cannot be told apart."""
    return {**config, "compile": False, "trainer": {**config["trainer"], **_ALONE}}


_ALONE = {"devices": 1, "num_nodes": 1, "strategy": "auto"}
_CHANGES: dict[str, Callable[[Config], dict[str, Any]]] = {
    "overfit": _overfit,
    "fast": _fast,
    "profile": _profile,
    "anomaly": _anomaly,
}


def _steps_alone(config: Config, trainer: Config) -> dict[str, Any]:
    """With these values of `trainer`, nothing besides the steps, and nothing at the end of them."""
    callbacks = {name: node for name, node in config["callbacks"].items() if name != "early_stopping"}
    unvalidated = {"check_val_every_n_epoch": None, "check_val_every_n_steps": None}
    return {
        **config,
        "export": {"weights": "last"},
        "evaluate": "none",
        "callbacks": callbacks | {"aggregate": None, "samples": None},
        "trainer": {**config["trainer"], **unvalidated, **trainer, **_ALONE},
    }


def _settled(config: Config) -> dict[str, Any]:
    """With the KL weight at its target from the first step on: a schedule would not end within so few."""
    now = {"hold": 0, "warmup": 0, "cycles": 1}
    return {**config, "kl": {**config["kl"], **{key: now[key] for key in now if key in config["kl"]}}}


def _accumulated(config: Config) -> int:
    return int(config["trainer"]["accumulate_grad_batches"])


def _few(config: Config, batches: int = 1) -> int:
    """Images of a split that so many batches take, or a few more."""
    data = config["data"]
    size = data.get(
        "batch_size", (data.get("values") or {}).get("batch_size")
    )  # which a class of one's own need not have
    return max(_FEW, batches * size if isinstance(size, int) else 0)
