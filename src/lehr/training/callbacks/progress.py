"""The live line of training: loss, rate, distortion, KL weight and the time left."""

from __future__ import annotations

import sys
import time
from typing import Any

from lightning.pytorch import Trainer

from lehr.run.progress_line import ProgressLine
from lehr.training.lean import LeanCallback
from lehr.training.module import VAEModule

_REDRAW_SECONDS = 0.1
_LINES = 10  # written over the whole training where there is no terminal


class Progress(LeanCallback):
    """One line that is redrawn on a terminal; about ten lines over the training where there is none."""

    def __init__(self) -> None:
        self._line: ProgressLine | None = None
        self._drawn_at = 0.0
        self._written = 0

    def on_train_start(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if trainer.is_global_zero and pl_module.length:
            total, done = pl_module.length.total_steps, trainer.global_step
            self._line = ProgressLine("training", total, done, keep=True)
            self._written = done * _LINES // total

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: VAEModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._line is None or pl_module.length is None:
            return
        if self._line.is_live:
            now = time.monotonic()
            if now - self._drawn_at >= _REDRAW_SECONDS:
                self._drawn_at = now
                self._line.show(trainer.global_step, _describe(trainer, pl_module))
        else:
            lines = trainer.global_step * _LINES // pl_module.length.total_steps
            if lines > self._written:
                self._written = lines
                done = trainer.global_step / pl_module.length.total_steps
                print(f"training {done:4.0%}  {_describe(trainer, pl_module)}", file=sys.stderr, flush=True)

    def on_train_end(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if self._line is not None:
            if self._line.is_live:
                self._line.show(trainer.global_step, _describe(trainer, pl_module))
            self._close()

    def on_exception(self, trainer: Trainer, pl_module: VAEModule, exception: BaseException) -> None:  # type: ignore[override]
        self._close()

    def _close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


def _describe(trainer: Trainer, module: VAEModule) -> str:
    if (result := module.last_step) is None:
        return ""
    numbers = result.numbers()
    first: dict[str, float] = {name: numbers.pop(name) for name in ("rate", "distortion") if name in numbers}
    shown: dict[str, float] = {"loss": result.objective(), **first, **numbers}
    values = "  ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in shown.items())
    weight = "" if result.kl_weight is None else f"  KL weight {float(result.kl_weight):.3g}"
    epoch = min(trainer.current_epoch + 1, trainer.max_epochs or 0) if (trainer.max_epochs or 0) > 0 else None
    where = f"epoch {epoch}/{trainer.max_epochs}" if epoch else f"epoch {trainer.current_epoch + 1}"
    return f"{where}  {values}{weight}"
