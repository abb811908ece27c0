"""What makes two runs the same run: everything that their numbers depend on, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

NOT_PART_OF_IT = (
    "dir", "resume", "resume_from", "overwrite", "evaluate", "report", "debug", "trust", "logger", "data.root",
    "data.source", "data.workers", "data.verify", "data.eval_batch_size", "callbacks.progress", "callbacks.samples",
    "callbacks.checkpoints.every_seconds", "terms.lpips.weights",
    "trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.log_every_n_steps",
)  # fmt: skip
"""Where a run is written and computed, what is shown of it and what is measured afterwards.

`data.path` is part of it: it says which data. `data.source` is not: of what was given from Python the digest says that.
`terms.lpips.sha256` is, and says what is in the file.
"""
LATER: dict[str, Any] = {
    "kl.convention": "nats", "model.mean_bound": None,
    "ema._target_": "lehr.training.EMAPlan", "ema.decay": None, "ema.half_life": None, "optimizer.freeze": [],
    "trainer.check_val_every_n_steps": None, "trainer.limit_examples": None, "trainer.overfit_batches": 0,
    "trainer.channels_last": False,
    "export.weights": None, "start_from": None, "fit_half": False, "stages": [],
    "terms": {}, "data.test_key": None, "data.test_labels_key": None, "data.hidden": "white",
    "data.background": None, "data.enlarge": 1,
    "model.codebook_start": "uniform", "model.revive": 0.0, "model.revive_decay": 0.99,
    "data.resize": None, "data.scale": [0.25, 1.0], "data.ratio": [0.75, 1.3333333333333333], "data.small": "enlarge",
    "data.buckets": None, "data.train_on": None, "data.train_on_factor": None,
}  # fmt: skip
"""Keys that earlier versions had not, with values that change nothing: a run that has them is the run of before."""
# of a data module that was given from Python its own arguments stand in data.values
LATER |= {key.replace("data.", "data.values.", 1): value for key, value in LATER.items() if key.startswith("data.")}
_NOT_PART_OF_IT = frozenset(NOT_PART_OF_IT)
# ASCII, since a path may hold bytes that are no text
_encode = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


def is_part(key: str) -> bool:
    """Whether a run's numbers depend on the value of this dotted key, or on one in the section of that name."""
    return not any(key == name or key.startswith(f"{name}.") for name in NOT_PART_OF_IT)


def parts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of a resolved configuration of `lehr train` what makes up its identity, by dotted key."""
    found: dict[str, Any] = {}
    _collect(config, "", found)
    return found


def differing(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """The keys of `parts` in which two runs differ, sorted; one that only one of them has is among them."""
    return [
        key
        for key in sorted({*there, *here})
        if (key in there) != (key in here) or canonical(there.get(key)) != canonical(here.get(key))
    ]


def identity(config: Mapping[str, Any]) -> str:
    """The hash (40 hexadecimal digits) of a resolved configuration of `lehr train`, its seed included.

    Numbers that are equal are the same (1 and 1.0), the order of keys does not count.
    """
    text = _encode({key: canonical(value) for key, value in parts(config).items()})
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a nested configuration by its dotted key; lists are values, and so are empty sections."""
    for name, value in config.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{key}.")
        else:
            yield key, value


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a run, perhaps of an earlier version, with the sections and commands' keys of later ones.

    The keys of components are left to their classes, which have the same defaults.
    """
    found = dict(config)
    for key, value in LATER.items():
        section, _, name = key.partition(".")
        if not name:
            found.setdefault(section, value)
            continue
        before, node = config.get(section, {}), found.get(section, {})
        if isinstance(node, Mapping) and name not in node and "_target_" not in before:
            found[section] = {**node, name: value}
    return found


def as_it_was(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration that was written, by an earlier version perhaps, with what that did where it had no key yet."""
    found = with_named_loggers(config)
    data = config.get("data")
    if isinstance(data, Mapping) and data.get("_target_") == "lehr.data.Arrays" and "hidden" not in data:
        found["data"] = {**data, "hidden": "keep"}  # of four channels; of others it changes nothing
    return found


def with_named_loggers(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration in which each logger has a name; in earlier versions there was one, without."""
    logger = config.get("logger")
    if isinstance(logger, Mapping) and isinstance(target := logger.get("_target_"), str):
        return {**config, "logger": {target.rpartition(".")[2].lower() or "own": dict(logger)}}
    return dict(config)


def _collect(config: Mapping[str, Any], prefix: str, found: dict[str, Any]) -> None:
    # as `flat`, but what is no part of it is not entered: there may be thousands of configurations
    for name, value in config.items():
        key = f"{prefix}{name}"
        if key in _NOT_PART_OF_IT or (key in LATER and value == LATER[key]):
            continue
        if isinstance(value, dict) and value:
            _collect(value, f"{key}.", found)
        else:
            found[key] = value


def canonical(value: Any) -> Any:
    """The same for values that are the same: a whole number is an integer."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, dict):
        return {str(key): canonical(item) for key, item in value.items()}
    return value
