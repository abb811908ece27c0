"""What a training says of itself: three lines at its start, and the live line: loss, rate, distortion, KL weight."""

from __future__ import annotations

import sys
import time
from typing import Any

from lightning.pytorch import Trainer

from lehr.objective.step import AUTOENCODER
from lehr.run.progress_line import ProgressLine
from lehr.training.lean import LeanCallback
from lehr.training.length import Length
from lehr.training.module import VAEModule
from lehr.training.opening import data_line, length_line, model_line, weight_line

_REDRAW_SECONDS = 0.1
_LINES = 10  # written over the whole training where there is no terminal


class Progress(LeanCallback):
    """What is trained, on what and for how long; then one line that is redrawn on a terminal, or ten over all."""

    def __init__(self) -> None:
        self._line: ProgressLine | None = None
        self._drawn_at = 0.0
        self._written = 0
        self._clock: _Clock | None = None

    def on_train_start(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if trainer.is_global_zero and pl_module.length:
            total, done = pl_module.length.total_steps, trainer.global_step
            lines = (model_line(pl_module), data_line(pl_module.datamodule), weight_line(pl_module))
            for line in lines if done < total else ():
                if line is not None:
                    print(line, file=sys.stderr, flush=True)
            self._line = ProgressLine("training", total, done, keep=True)
            self._written = done * _LINES // total
            self._clock = _Clock(done, total)

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: VAEModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._line is None or pl_module.length is None:
            return
        if self._clock is not None:
            self._tell_length(pl_module.length, trainer.global_step, self._clock)
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
                self._line.say(f"training {done:4.0%}  {_describe(trainer, pl_module)}")

    def on_validation_start(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if self._clock is not None:
            self._clock.stand()  # only steps are counted

    def on_train_end(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if self._line is not None:
            if self._line.is_live:
                self._line.show(trainer.global_step, _describe(trainer, pl_module))
            self._close()

    def on_exception(self, trainer: Trainer, pl_module: VAEModule, exception: BaseException) -> None:  # type: ignore[override]
        self._close()

    def _tell_length(self, length: Length, step: int, clock: _Clock) -> None:
        seconds = clock.per_step(step)
        if self._line is not None and (seconds is not None or step == length.total_steps):
            self._clock = None
            self._line.say(length_line(length, clock.first, seconds))

    def _close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


class _Clock:
    """Measures the seconds of a step on the first steps: for half a second, or a twentieth of what there is to do.

    The very first step is not among them: memory is found and kernels are chosen in it.

    Args:
        step: optimiser steps taken before.
        total: of the whole training.
    """

    _SECONDS, _STEPS, _SHARE = 0.5, 3, 1 / 20

    def __init__(self, step: int, total: int) -> None:
        self.first = step
        self._enough = (total - step) * self._SHARE
        self._steps, self._seconds = 0, 0.0
        self._last: tuple[int, float] | None = None

    def stand(self) -> None:
        """What comes next is no step."""
        self._last = None

    def per_step(self, step: int) -> float | None:
        """The seconds of a step, now that optimiser step `step` is taken; None while that is not known."""
        now = time.perf_counter()
        if self._last is None:
            self._last = step, now
        elif step > self._last[0]:  # batches that are accumulated are of the step that they make
            self._steps += step - self._last[0]
            self._seconds += now - self._last[1]
            self._last = step, now
        known = self._steps >= self._STEPS and (self._seconds >= self._SECONDS or self._steps >= self._enough)
        return self._seconds / self._steps if known else None


def _describe(trainer: Trainer, module: VAEModule) -> str:
    if (result := module.last_step) is None:
        return ""
    # of what the autoencoder minimises; what is shown beside it is for curves
    numbers = {
        name: value
        for name, value in result.numbers().items()
        if result.terms[name].player == AUTOENCODER
        and (result.terms[name].weight is not None or name in ("rate", "distortion"))
    }
    first: dict[str, float] = {name: numbers.pop(name) for name in ("rate", "distortion") if name in numbers}
    shown: dict[str, float] = {"loss": result.objective(), **first, **numbers}
    values = "  ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in shown.items())
    if (psnr := module.evaluated.get("val/psnr")) is not None:
        values += f"  val PSNR {psnr:.2f} dB"
    weight = "" if result.kl_weight is None else f"  KL weight {float(result.kl_weight):.3g}"
    epoch = min(trainer.current_epoch + 1, trainer.max_epochs or 0) if (trainer.max_epochs or 0) > 0 else None
    where = f"epoch {epoch}/{trainer.max_epochs}" if epoch else f"epoch {trainer.current_epoch + 1}"
    return f"{where}  {values}{weight}"
