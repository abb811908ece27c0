"""Which weights a run ends in: its statistics, pictures, test, exported model and evaluation are of these.

Those of the last step, their average, or those of best.ckpt, as the validation had them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from lehr.errors import CheckpointError
from lehr.run.checkpoint_file import read_checkpoint
from lehr.run.directory import RunDirectory
from lehr.training.callbacks.checkpoints import Checkpoints
from lehr.training.checkpoint import batches_seen
from lehr.training.going_on import patiences
from lehr.training.module import VAEModule

BEST, EMA, LAST = "best", "ema", "last"
_NAMES = {EMA: "the average of the weights", LAST: "the last weights"}


@dataclass(frozen=True)
class Exported:
    """What a run ends in.

    Attributes:
        weights: "best", "ema" or "last".
        step: optimiser steps that they have had.
        images: training images that they have seen, on the x-axis of everything that is logged.
        validated: the metrics of the validation of these weights; none if there was none.
    """

    weights: str
    step: int
    images: int
    validated: Mapping[str, float]

    def applied(self, module: VAEModule) -> AbstractContextManager[None]:
        """Within it the `module` has these weights."""
        return nullcontext() if self.weights == LAST else module.averaged()

    def record(self) -> dict[str, Any]:
        """What status.json says of it."""
        elbo = self.validated.get("val/elbo")
        return {"weights": self.weights, "step": self.step, "images": self.images, "val/elbo": elbo}


def wanted(config: Mapping[str, Any]) -> str:
    """The weights that a configuration asks for: by default the best with early stopping, else the average if any."""
    if weights := (config.get("export") or {}).get("weights"):
        return str(weights)
    if patiences(config):
        return BEST
    ema = config.get("ema") or {}
    return LAST if ema.get("decay") is None and ema.get("half_life") is None else EMA


def export(weights: str, trainer: Trainer, module: VAEModule, validated_at: int) -> Exported:
    """Load the `weights` that are wanted into the `module`, or if there are no best ones what there is, and say so.

    All ranks take part, and have the same weights then; the first one reads the checkpoint.

    Args:
        weights: "best", "ema" or "last".
        trainer: that has trained.
        module: that was trained.
        validated_at: images seen at the last validation of the training.
    """
    if weights == BEST:
        found = None
        if trainer.is_global_zero:
            try:
                found = _best(trainer, module, RunDirectory(trainer.default_root_dir).best_checkpoint)
            except CheckpointError as error:
                found = str(error)
        found = trainer.strategy.broadcast(found)
        if isinstance(found, dict):
            module.load_state_dict(found["state_dict"])
            module.averaging.restore(found, module.networks)
            return Exported(BEST, found["step"], found["images"], found["evaluated"])
        weights = EMA if module.averaging.plan.is_on else LAST
        if trainer.is_global_zero:
            print(f"note: {_NAMES[weights]} are exported, not the best: {found}", file=sys.stderr)
    # the validation is of the average where there is one
    is_of_these = validated_at == module.images_seen and not (weights == LAST and module.averaging.plan.is_on)
    validated = dict(module.evaluated) if is_of_these else {}
    return Exported(weights, trainer.global_step, module.images_seen, validated)


def _best(trainer: Trainer, module: VAEModule, path: Path) -> dict[str, Any] | str:
    """What there is to know of the best checkpoint, or why there is none."""
    callback = next((c for c in trainer.callbacks if isinstance(c, Checkpoints)), None)  # type: ignore[attr-defined]
    if callback is None:
        return "callbacks.checkpoints=null, so none was kept"
    if not path.exists():
        return (
            f"no validation with a finite ELBO came after the weights of the loss had settled, at step {module.settled}"
        )
    saved = read_checkpoint(path)
    if saved["callbacks"].get(callback.state_key) != callback.state_dict():
        return f"{path} is of steps that were trained in another way since"
    assert module.length is not None
    return {
        "state_dict": saved["state_dict"],
        "ema": saved.get("ema"),
        "step": saved["global_step"],
        "images": module.length.images(batches_seen(saved)),
        "evaluated": saved["evaluated"],
    }
