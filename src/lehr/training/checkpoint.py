"""Checkpoints that are whole or absent, hold tensors and plain containers only, and are checked before use."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor, nn

from lehr.errors import CheckpointError
from lehr.files import replacing
from lehr.run.checkpoint_file import read_checkpoint
from lehr.training.history_logger import HistoryLogger
from lehr.training.resuming import recorded


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint under a temporary name, to the disk, then renames it."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        with replacing(Path(path)) as temporary, temporary.open("wb") as file:
            torch.save(_cut_out(checkpoint), file)
            file.flush()
            os.fsync(file.fileno())

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        return read_checkpoint(Path(path), map_location)


def _cut_out(value: Any) -> Any:
    """A value with tensors without what they are a part of, which would be saved with them."""
    if isinstance(value, Tensor):
        is_part = value.untyped_storage().nbytes() > value.nbytes
        return value.detach().clone() if is_part else value
    if isinstance(value, dict):
        found = copy.copy(value)  # of its own kind, as the order that `state_dict` gives
        found.update((key, _cut_out(item)) for key, item in value.items())
        return found
    return type(value)(map(_cut_out, value)) if type(value) in (list, tuple) else value


def batches_seen(checkpoint: Mapping[str, Any]) -> int:
    """Training batches that had been started, over all epochs."""
    return int(checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"])


def require_fit(checkpoint: dict[str, Any], module: nn.Module, path: Path) -> None:
    """Check that the weights of `checkpoint` are those of `module`.

    Raises:
        CheckpointError: names the first weight that differs.
    """
    saved, own = checkpoint["state_dict"], module.state_dict()
    for names, others, was in ((own, saved, "without"), (saved, own, "with")):
        if terms := sorted(_terms(names) - _terms(others)):
            raise CheckpointError(
                f"{path}: was trained {was} {', '.join(terms)}, which has weights of its own: go on {was} it, or "
                "begin a new run with the weights of this one, start_from=RUN"
            )
    for name in own:
        if name not in saved:
            raise CheckpointError(f"{path}: is of another model: it has no {name}")
        if saved[name].shape != own[name].shape:
            raise CheckpointError(
                f"{path}: is of another model: {name} is {tuple(saved[name].shape)}, "
                f"the configured model has {tuple(own[name].shape)}"
            )
    if unknown := next((name for name in saved if name not in own), None):
        raise CheckpointError(f"{path}: is of another model: it has {unknown}, the configured model has not")


def _terms(names: Iterable[str]) -> set[str]:
    """Of weights of these names, the terms of the loss that have some."""
    return {".".join(name.split(".")[1:3]) for name in names if name.startswith("objective.terms.")}


def between_steps(trainer: Trainer) -> bool:
    """Whether, at the end of a training batch, a checkpoint can be resumed from exactly.

    Not where gradients are accumulated, which no checkpoint holds; and neither at the end of an epoch nor after the
    last step of the training, whose validation would be left out.
    """
    loop = trainer.fit_loop.epoch_loop
    if trainer.is_last_batch or loop._should_accumulate():
        return False
    return not (0 <= trainer.max_steps <= trainer.global_step and loop._should_check_val_fx(None))  # type: ignore[arg-type]


def save(trainer: Trainer, path: Path) -> None:
    """Write a checkpoint from the first rank alone, unless the weights are not finite.

    Unlike `Trainer.save_checkpoint` it waits for no other rank, so that one rank can decide by the clock, or upon a
    signal, that now is the time. What was logged up to here is then on disk too, as a resumed run logs only the rest.
    """
    if trainer.is_global_zero and _is_finite(trainer.lightning_module):
        for logger in trainer.loggers:
            logger.save()
        checkpoint = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        checkpoint["history"] = logged_points(trainer)
        checkpoint["data"] = recorded(trainer)
        trainer.strategy.checkpoint_io.save_checkpoint(checkpoint, path)


def logged_points(trainer: Trainer) -> int:
    """How many points the history of the run has."""
    return sum(logger.history.lines for logger in trainer.loggers if isinstance(logger, HistoryLogger))


def _is_finite(module: nn.Module) -> bool:
    total = torch.stack([p.detach().float().sum() for p in module.parameters()]).sum()
    return bool(torch.isfinite(total))
