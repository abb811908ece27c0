"""What a run keeps when it is gone on with: its counters, its splits and its best score so far have to bear the rest.

All that is not named here may change: how it is computed and shown, for how long it is trained, the optimizer, the
objective, the callbacks. Where the data lie may change too; that they are the same says their fingerprint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]

_COUNTED = "batches, steps and images are counted by it"
_SPLIT = "it says which images are held out"
_PIXELS = "it says what the pixels are"
_SCORE = "the best ELBO so far is of it"
_BEGUN = "it has begun with what that says; a new run (dir=OTHER) can begin with other weights"
KEPT = {
    "seed": "every random number follows from it",
    "start_from": _BEGUN,
    "fit_half": _BEGUN,
    "model.pretrained": _BEGUN,
    "data.batch_size": _COUNTED,
    "trainer.accumulate_grad_batches": _COUNTED,
    "data.seed": _SPLIT,
    "data.split_seed": _SPLIT,
    "data.val_fraction": _SPLIT,
    "data.test_fraction": _SPLIT,
    "data.train_on": _SPLIT,
    "data.train_on_factor": _SPLIT,
    "data.binarize": _PIXELS,
    "data.size": _PIXELS,
    "data.channels": _PIXELS,
    "data.resize": _PIXELS,
    "data.background": _PIXELS,
    "data.enlarge": _PIXELS,
    "data.buckets": _COUNTED,
    "model": "the weights are of it",
    "likelihood": _SCORE,
    "prior": _SCORE,
}
"""What a run keeps when it is gone on with, a key or a whole section, and why."""


def kept_problems(before: Config, now: Config) -> list[str]:
    """A line for each value in the configuration `now` that a run of the configuration `before` cannot go on with."""
    return differences(kept(before), kept(now))


def kept(config: Config) -> dict[str, Any]:
    """What is to be kept, by dotted key."""
    found: dict[str, Any] = {}
    for key in KEPT:
        section, _, name = key.partition(".")
        value = config.get(section)
        if not name and isinstance(value, Mapping):
            found |= {f"{section}.{one}": value[one] for one in value}
        elif not name:
            if key in config:
                found[key] = value
        elif isinstance(value, Mapping) and name in value:
            found[key] = value[name]
    return found


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """A line for each value of `kept` that is another `here` than it was `there`."""
    # a key that only one of them has, the other's version had not yet
    return [
        f"{key}={shown(here[key])}: a resumed run keeps its own {key}={shown(there[key])}: "
        f"{KEPT.get(key) or KEPT[key.partition('.')[0]]}"
        for key in there
        if key in here and there[key] != here[key]
    ]


def shown(value: Any) -> str:
    """A value in a message."""
    return "null" if value is None else str(value)
