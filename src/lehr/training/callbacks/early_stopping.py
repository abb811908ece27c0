"""Early stopping on the ELBO of the validation data, once the KL weight has reached its target."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping as LightningEarlyStopping

from lehr.errors import ConfigError
from lehr.limits import NonNegativeFloat, PositiveInt
from lehr.training.lean import LeanCallback
from lehr.training.module import VAEModule


class EarlyStopping(LeanCallback, LightningEarlyStopping):
    """Stops when `val/elbo`, at KL weight 1, has not grown for `patience` validations.

    While the weight anneals the ELBO may fall for good reason, so nothing is counted before it has settled.

    Args:
        patience: validations without improvement; None never stops.
        min_delta: nats that count as an improvement.
    """

    def __init__(self, patience: PositiveInt | None = None, min_delta: NonNegativeFloat = 0.0) -> None:
        self.is_on = patience is not None
        super().__init__(
            monitor="val/elbo",
            mode="max",
            patience=patience or 0,
            min_delta=min_delta,
            verbose=False,
            # else Lightning looks at the ends of epochs instead where every epoch is validated
            check_on_train_epoch_end=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # the patience is that of the configuration at hand, which a resumed run may have changed
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_train_start(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        # a run that was killed after it had stopped is not trained further when it is resumed
        if self.is_on and self.wait_count >= self.patience:
            trainer.should_stop = True

    def on_validation_end(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if self.is_on and trainer.global_step >= pl_module.settled:
            if self.monitor not in pl_module.evaluated:
                raise ConfigError(
                    "callbacks.early_stopping.patience: there is no val/elbo to go by, as the model's posterior has no "
                    "density; say callbacks.early_stopping.patience=null"
                )
            super().on_validation_end(trainer, pl_module)
