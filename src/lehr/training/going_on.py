"""Whether a training has steps left from a checkpoint on, and what says that it has not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_EARLY_STOPPING = "lehr.training.EarlyStopping"


def ended_by(path: Path, config: Mapping[str, Any]) -> list[str]:
    """The keys whose values end the training that stands at the checkpoint `path`; none where it would go on.

    Raises:
        CheckpointError: if it cannot be read.
    """
    from lehr.run.checkpoint_file import read_checkpoint

    checkpoint, trainer, found = read_checkpoint(path), config["trainer"], []
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    if trainer["max_epochs"] is not None and epochs >= trainer["max_epochs"]:
        found.append("trainer.max_epochs")
    if trainer["max_steps"] is not None and checkpoint["global_step"] >= trainer["max_steps"]:
        found.append("trainer.max_steps")
    waited = [
        state["wait_count"] for name, state in checkpoint["callbacks"].items() if name.startswith("EarlyStopping")
    ]
    for name, patience in patiences(config).items():
        if waited and waited[0] >= patience:
            found.append(f"callbacks.{name}.patience")
    return found


def patiences(config: Mapping[str, Any]) -> dict[str, int]:
    """The patience of each callback that stops early, by its name; none where none does."""
    return {
        name: node["patience"]
        for name, node in config["callbacks"].items()
        if node and node["_target_"] == _EARLY_STOPPING and node.get("patience") is not None
    }
