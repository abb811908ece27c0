"""Swept keys, their values and numbers of metrics in the words of a sentence. All is text, not HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lehr.evaluation.catalogue import find_metric
from lehr.evaluation.intervals import Interval
from lehr.sweeps.results import SEED, RunResult, natural, shown
from lehr.sweeps.tables import cut, digits_of, in_digits

_KEYS = {
    "kl": "KL term",
    "kl.weight": "KL weight",
    "kl.warmup": "warm-up",
    "kl.hold": "hold",
    "kl.cycles": "cycles of the KL weight",
    "kl.shape": "shape of the warm-up",
    "kl.free_nats": "free bits",
    "kl.beta": "beta",
    "kl.capacity": "capacity",
    "kl.target_rate": "target rate",
    "model": "model",
    "model.latent_dim": "latent size",
    "model.latent_channels": "latent channels",
    "model.hidden": "hidden sizes",
    "data": "data set",
    "data.batch_size": "batch size",
    "likelihood": "likelihood",
    "prior": "prior",
    "optimizer": "optimizer",
    "optimizer.lr": "learning rate",
    "optimizer.weight_decay": "weight decay",
    "trainer.precision": "precision",
    "trainer.max_epochs": "training length",
    "trainer.max_steps": "training length",
    "trainer.gradient_clip_val": "gradient clipping",
    SEED: "seed",
}
_FIXED_UNITS = {"trainer.max_epochs": "epochs", "trainer.max_steps": "steps", "kl.free_nats": "nats",
                "kl.capacity": "nats", "kl.target_rate": "nats"}  # fmt: skip
_ANNEALED = ("kl.warmup", "kl.hold")
_UNITS = {"epoch": "epochs", "step": "steps", "fraction": "of the training"}


_TURNS = dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])


@dataclass(frozen=True)
class Words:
    """How the keys of a sweep are called.

    Attributes:
        labels: of each key.
        units: of those that have one, to stand behind the number.
    """

    labels: Mapping[str, str]
    units: Mapping[str, str]

    def label(self, key: str) -> str:
        """What a key is called: the field's words, or the key itself."""
        return self.labels.get(key, cut(plain(key)))

    def value(self, key: str, value: Any, unit: bool = True) -> str:
        """A value as one would type it, with its unit, no longer than there is room for."""
        text = cut(plain(shown(value))) or "''"
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        name = self.units.get(key)
        if not (unit and name and is_number):
            return text
        return f"{text} {name[:-1] if value == 1 and name.endswith('s') else name}"

    def combination(self, values: Mapping[str, Any]) -> str:
        """Several keys with their values: "KL weight 1, warm-up 10 epochs"."""
        return ", ".join(f"{self.label(key)} {self.value(key, value)}" for key, value in values.items())


def words_for(keys: Iterable[str], runs: Sequence[RunResult]) -> Words:
    """The words for these keys; units from the configurations of the runs, where they were read and agree."""
    keys = list(keys)
    labels = {key: _KEYS[key] for key in keys if key in _KEYS}
    units = {key: _FIXED_UNITS[key] for key in keys if key in _FIXED_UNITS}
    named = {natural(run.config.get("kl.unit")): run.config.get("kl.unit") for run in runs if run.config}
    if len(named) == 1 and "kl.unit" not in keys:
        unit = _UNITS.get(str(next(iter(named.values()))))
        units |= {key: unit for key in keys if key in _ANNEALED and unit}
    return Words(labels, units)


@dataclass(frozen=True)
class Quantity:
    """A metric in words.

    Attributes:
        name: of the metric.
        label: of the catalogue, or the name.
        unit: "" where it has none.
        more_is_better: None where that is not known.
    """

    name: str
    label: str
    unit: str
    more_is_better: bool | None

    @property
    def words(self) -> str:
        """What stands behind a number: "nats ELBO", "active units", "images per second"."""
        if self.name.startswith("time/") and self.unit:
            return self.unit
        return " ".join(filter(None, [self.unit, self.label]))

    def better(self, difference: float) -> bool | None:
        """Whether a difference is an improvement; None where that is not known, or there is none."""
        return None if self.more_is_better is None or not difference else (difference > 0) == self.more_is_better


def quantity(metric: str) -> Quantity:
    """A metric by its line in the catalogue; of one that has none its name."""
    known = find_metric(metric)
    if known is None:
        return Quantity(metric, plain(metric), "", None)
    section, *rest = metric.split("/")
    label = known.label or metric
    if section == "generation" and len(rest) == 2:  # of which sampler
        label = f"{label} of {plain(rest[0])}"
    unit = "" if known.unit == "true or false" else known.unit  # 1 or 0, whose mean is a share
    return Quantity(metric, label, unit, known.more_is_better)


def signed(value: float, digits: int | None) -> str:
    """A difference with its sign, in the digits of a table."""
    text = in_digits(value, digits)
    return text if text.startswith("-") else f"+{text}"


def digits_for(numbers: Iterable[float | None], deviation: float | None) -> int | None:
    """The decimals of `numbers` with this standard deviation, as a table of results has them."""
    return digits_of(numbers, [deviation])


def digits_of_difference(
    means: Iterable[float], difference: float, interval: Interval | None, deviation: float | None
) -> int | None:
    """The decimals of a difference of `means` and its interval: those of the means, unless all of it would be 0 then.

    Of precisions, say, which differ in the seventh digit: what is beyond chance is not told as 0.
    """
    digits = digits_for((*means, difference), deviation)
    told = [difference, *((interval.low, interval.high) if interval else ())]
    return None if digits is not None and any(told) and not any(round(x, digits) for x in told) else digits


def count(n: int, word: str) -> str:
    """ "1 seed", "3 seeds", "2,000 runs"."""
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def joined(words: Sequence[str]) -> str:
    """ "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""


def duration(seconds: float) -> str:
    """A time of two units at most: "4.2 s", "2 min 5 s", "1 h 3 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, hours = round(seconds / 60), whole >= 3600
    large, small = divmod(minutes if hours else whole, 60)
    names = ("h", "min") if hours else ("min", "s")
    return f"{large:,} {names[0]}" + (f" {small} {names[1]}" if small else "")


def plain(text: str) -> str:
    """A text on one line, without the characters that turn the direction of all that follows them."""
    return " ".join(text.translate(_TURNS).split())
