"""A run that is gone on with: its data, its counters and its schedules are to be what they were.

What may change otherwise says `kept.py`. A length that moves a schedule under the run is refused, or said.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from lightning.pytorch import Trainer
from torch.optim import Adam

from lehr.config.build import build
from lehr.data.fingerprint import Fingerprint
from lehr.data.module import ImageDataModule
from lehr.errors import ConfigError, DataError
from lehr.objective.rate import RateTerm
from lehr.run.data_record import require_same_data
from lehr.run.directory import RunDirectory
from lehr.training.kept import Config, differences, kept, kept_problems, shown
from lehr.training.length import Length
from lehr.training.players import PlayerPlan

_LOOKED_AT = 64  # of the steps that are to come, to see whether anything scheduled moves
_WITH_OPACITY = 4  # channels
_OF_DATA = (
    "batch_size", "seed", "split_seed", "val_fraction", "test_fraction", "binarize", "size", "channels", "resize",
    "buckets", "train_on", "train_on_factor",
)  # fmt: skip


def recorded(trainer: Trainer) -> dict[str, Any] | None:
    """What a checkpoint says of the data that are trained on, and of what its counters count."""
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, ImageDataModule):
        return None
    of_data = {f"data.{name}": getattr(data, name) for name in _OF_DATA if hasattr(data, name)}
    return {
        "splits": data.fingerprint.plain(files=False),
        "kept": {**of_data, "trainer.accumulate_grad_batches": trainer.accumulate_grad_batches},
        "batches_per_epoch": Length.of(trainer, data).batches_per_epoch,
    }


class Resumption:
    """A run that is to go on from a checkpoint.

    Args:
        checkpoint: as it was read.
        directory: of the run, with the configuration that it has had until now.
        config: that it is to have.
    """

    def __init__(self, checkpoint: Mapping[str, Any], directory: RunDirectory, config: Config) -> None:
        self._directory, self._before, self._now = directory, directory.read_config(), config
        self._step = int(checkpoint["global_step"])
        recorded = checkpoint.get("data")
        self._recorded: Mapping[str, Any] = recorded if isinstance(recorded, Mapping) else {}

    @property
    def knows_data(self) -> bool:
        """Whether the checkpoint says which data it was trained on: they were found to be whole then."""
        return Fingerprint.read(self._recorded.get("splits")) is not None

    def require_kept(self) -> None:
        """Check that the configuration has what is to be kept.

        Raises:
            ConfigError: a line for each value that is another.
        """
        problems = kept_problems(self._before, self._now)
        own = self._recorded.get("kept")
        problems += differences(own if isinstance(own, Mapping) else {}, kept(self._now))
        if problems:
            raise ConfigError(*dict.fromkeys(problems))

    def require_same(self, data: ImageDataModule, length: Length) -> None:
        """Check that what is trained on, and counted, is what it was.

        Raises:
            DataError: if it is not.
        """
        # of a run of an earlier version no fingerprint says it
        there, here = (config["data"].get("hidden") for config in (self._before, self._now))
        if there != here and data.shape[0] == _WITH_OPACITY:
            raise DataError(f"data.hidden={here}: a resumed run keeps its own data.hidden={there}: other pixels follow")
        advice = "; put those back, or start a new run with these"
        require_same_data(self._directory, data, self._recorded.get("splits"), advice)
        batches = self._recorded.get("batches_per_epoch", length.batches_per_epoch)
        if batches != length.batches_per_epoch:
            raise DataError(
                f"{data.name}: an epoch has {length.batches_per_epoch} batches on these devices, and had {batches}; "
                "say as many trainer.devices as the run had"
            )

    def require_length(self, length: Length, trust: Iterable[str]) -> None:
        """Check that the run is not longer already, and that no schedule jumps; say what moves.

        Raises:
            ConfigError: if it is, or one does.
        """
        self._require_steps(length)
        sections = [(self._before[name], self._now[name]) for name in ("kl", "optimizer")]
        of_kl, of_optimizer = sections
        if self._steps_before(length) == length.total_steps and all(before == now for before, now in sections):
            return
        if of_kl[0].get("_target_") == of_kl[1].get("_target_"):
            before, now = (build(node, RateTerm, key="kl", trust=trust) for node in of_kl)
            self._require_schedule(before, now, length)
        if of_optimizer[0] == of_optimizer[1]:
            self._tell_of_rate(of_optimizer[0], length)

    def _require_steps(self, length: Length) -> None:
        epochs, steps = (self._now["trainer"][name] for name in ("max_epochs", "max_steps"))
        if self._step <= length.total_steps:
            return
        if steps is not None and steps < self._step:
            raise ConfigError(f"trainer.max_steps={steps}: the run is at step {self._step} already")
        done = self._step / length.steps_per_epoch
        raise ConfigError(f"trainer.max_epochs={epochs}: the run has done {done:.4g} epochs already")

    def _require_schedule(self, before: RateTerm, now: RateTerm, length: Length) -> None:
        total = self._steps_before(length)
        try:
            before.start(total, length.steps_per_epoch)
        except ConfigError:  # of a configuration that has never trained
            return
        now.start(length.total_steps, length.steps_per_epoch)
        if before.convention != now.convention:
            print(f"note: kl.convention={now.convention}: it was {before.convention}", file=sys.stderr)
        changes, where = _changes(before, now, self._step), f"at step {self._step}"
        if self._before["kl"] != self._now["kl"]:
            if changes:
                print(f"note: kl: {' and '.join(changes)} {where}", file=sys.stderr)
            return
        how = f"{self._what_is_longer()}: with kl.unit={now.annealing.unit}"
        how += f" and kl.cycles={now.annealing.cycles}" if now.annealing.cycles > 1 else ""
        if changes:
            raise ConfigError(f"{how} {' and '.join(changes)} jumps {where}; say {self._to_keep(before, length)}")
        to_come = range(self._step, min(total, length.total_steps), max(1, (total - self._step) // _LOOKED_AT))
        if (moved := next((step for step in to_come if _changes(before, now, step)), None)) is not None:
            change = " and ".join(_changes(before, now, moved))
            print(f"note: {how} {change} at step {moved} is not what it was to be", file=sys.stderr)

    def _tell_of_rate(self, optimizer: Config, length: Length) -> None:
        lr, decay = float(optimizer["lr"]), {name: optimizer.get(name) for name in ("decay", "final_lr")}
        plan = PlayerPlan(Adam, **{name: value for name, value in decay.items() if value is not None})
        totals = self._steps_before(length), length.total_steps
        old, new = (lr * plan.factor(self._step, total, lr) if lr else 0.0 for total in totals)
        if abs(new - old) > 1e-3 * max(old, new):
            print(
                f"note: {self._what_is_longer()}: optimizer.decay={plan.decay} is over the whole training, so the "
                f"learning rate goes from {old:.3g} to {new:.3g} at step {self._step}",
                file=sys.stderr,
            )

    def _steps_before(self, length: Length) -> int:
        """How many steps the training was to have."""
        trainer = self._before["trainer"]
        epochs, steps = trainer["max_epochs"], trainer["max_steps"]
        limits = [None if epochs is None else epochs * length.steps_per_epoch, steps]
        return min(limit for limit in limits if limit is not None)

    def _what_is_longer(self) -> str:
        """The keys that say how long the training is, of those that have changed."""
        there, here = self._before["trainer"], self._now["trainer"]
        keys = [key for key in ("max_epochs", "max_steps") if there[key] != here[key]]
        return ", ".join(f"trainer.{key}={shown(here[key])}" for key in keys)

    def _to_keep(self, before: RateTerm, length: Length) -> str:
        """What to say so that the schedule stays as it was."""
        schedule, annealing = before.schedule, before.annealing
        words = []
        if annealing.unit == "fraction":
            words = ["kl.unit=step", f"kl.hold={schedule.hold:.10g}", f"kl.warmup={schedule.warmup:.10g}"]
        if annealing.cycles > 1:
            cycles = (length.total_steps - schedule.hold) / schedule.period
            if abs(cycles - round(cycles)) > 1e-6:
                return (
                    f"a length in which cycles of {schedule.period:.10g} steps go without a rest, or what kl is to be"
                )
            words.append(f"kl.cycles={round(cycles)}")
        return f"{' '.join(words)} to keep it"


def _changes(before: RateTerm, now: RateTerm, step: int) -> list[str]:
    """What has another value at `step` in the one than in the other."""
    there, here = before.values(step), now.values(step)
    return [
        f"the {'KL weight' if name == 'weight' else name} (now {float(there[name]):.4g}, then {float(here[name]):.4g})"
        for name in there.keys() & here.keys()
        if abs(float(there[name]) - float(here[name])) > 1e-6 * max(abs(float(there[name])), abs(float(here[name])))
    ]
