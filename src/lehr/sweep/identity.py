"""What makes two runs the same run: everything that their numbers depend on, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

NOT_PART_OF_IT = (
    "dir", "resume", "overwrite", "evaluate", "debug", "trust", "logger", "data.root", "data.workers",
    "callbacks.progress", "trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy",
    "trainer.log_every_n_steps",
)  # fmt: skip
"""Where a run is written and computed, what is shown of it and what is measured afterwards.

`data.path` is part of it: it says which data.
"""


def identity(config: Mapping[str, Any]) -> str:
    """The hash (40 hexadecimal digits) of a resolved configuration of `lehr train`, its seed included.

    Numbers that are equal are the same (1 and 1.0), the order of keys does not count.
    """
    kept = [
        (key, _canonical(value))
        for key, value in sorted(flat(config))
        if not any(key == name or key.startswith(f"{name}.") for name in NOT_PART_OF_IT)
    ]
    text = json.dumps(kept, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a nested configuration by its dotted key; lists are values, and so are empty sections."""
    for name, value in config.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{key}.")
        else:
            yield key, value


def _canonical(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    return value
