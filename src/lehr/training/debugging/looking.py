"""What takes part in a training that looks for what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, Trainer

from lehr.run.directory import RunDirectory
from lehr.training.debugging.values import mode_of
from lehr.training.lean import LeanCallback
from lehr.training.module import VAEModule


def looking(config: Mapping[str, Any], directory: RunDirectory) -> list[Callback]:
    """The callbacks of `debug`, none where nothing is looked for."""
    mode = mode_of(config)
    if mode == "fast":
        return [Fast()]
    if mode == "profile":
        from lehr.training.debugging.profile import StepProfile

        return [StepProfile(directory)]
    if mode == "overfit":
        from lehr.training.debugging.overfit import Overfit

        return [Overfit(directory)]
    if mode == "anomaly":
        from lehr.training.debugging.anomaly import Anomaly

        return [Anomaly()]
    return []


class Fast(LeanCallback):
    """Says that the numbers of this run mean nothing."""

    def on_fit_start(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if trainer.is_global_zero:
            most = pl_module.datamodule.limit
            print(
                f"debug=fast: one step and all that follows it, on at most {most} images of each split; "
                "its numbers mean nothing",
                file=sys.stderr,
                flush=True,
            )
