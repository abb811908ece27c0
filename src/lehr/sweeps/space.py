"""What a search is over: the distributions that are typed on the command line, and their values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, ValueType
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from lehr.errors import ConfigError

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution


def load_optuna() -> Any:
    """Optuna, which says only what it cannot do.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(f"hydra/sweeper=optuna: needs Optuna ({error}); pip install 'lehr[optuna]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def space(texts: Mapping[str, str]) -> dict[str, BaseDistribution]:
    """What to search over, from what was typed for each key.

    `a,b,c` and `choice(a,b,c)` are choices without an order, `range(1,10)` numbers with a step and without its end,
    `interval(0.1,4)` numbers between the two, `int(interval(2,64))` integers; `tag(log, interval(1e-4,1e-1))` on a
    logarithmic scale. The values of choices are texts, as they would be typed.

    Raises:
        ConfigError: one line for each that cannot be searched over, or none was given.
    """
    load_optuna()
    found: dict[str, BaseDistribution] = {}
    problems = []
    for key, text in texts.items():
        try:
            found[key] = _distribution(OverridesParser.create().parse_override(f"{key}={text}"))
        except ConfigError as error:
            problems += [f"{key}={text}: {problem}" for problem in error.problems]
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            problems.append(f"{key}={text}: cannot be read ({str(error).splitlines()[0]})")
    if not texts:
        problems.append("there is nothing to search over; say for instance 'kl.weight=interval(0.1,4)'")
    if problems:
        raise ConfigError(*problems)
    return found


def _distribution(override: Override) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution

    value: Any = override.value()
    tags: set[str] = getattr(value, "tags", set())
    if unknown := sorted(tags - {"log"}):
        raise ConfigError(f"tag {unknown[0]} is not known; there is log")
    if isinstance(value, IntervalSweep):
        return _interval(value, "log" in tags)
    if isinstance(value, RangeSweep):
        return _range(value, "log" in tags)
    if override.value_type == ValueType.GLOB_CHOICE_SWEEP:
        raise ConfigError(f"write out the choices, as in {override.key_or_group}=a,b")
    if tags:
        raise ConfigError("log is for intervals; choices have no order")
    choices = override.sweep_string_iterator() if override.is_sweep_override() else [override.get_value_string()]
    return CategoricalDistribution(list(dict.fromkeys(choices)))


def _interval(value: IntervalSweep, log: bool) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high = value.start, value.end
    assert low is not None
    assert high is not None
    if not (math.isfinite(low) and math.isfinite(high)) or low > high:
        raise ConfigError("an interval has a lower bound, then an upper one")
    if log and low <= 0:
        raise ConfigError("on a logarithmic scale the bounds must be greater than 0")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log)
    return FloatDistribution(low, high, log)


def _range(value: RangeSweep, log: bool) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    # in decimals: in binary 0.1 + 0.2 is another number than 0.3, and what is behind the end would be in the range
    start, stop, step = (Decimal(str(number)) for number in (value.start, value.stop, value.step))
    steps = math.ceil((stop - start) / step) if step and start.is_finite() and stop.is_finite() else 0
    if steps < 1:
        raise ConfigError("has no values")
    low, high = sorted((start, start + (steps - 1) * step))
    if log:
        raise ConfigError("log is for intervals, as in tag(log, int(interval(1,64)))")
    if all(isinstance(number, int) for number in (value.start, value.stop, value.step)):
        return IntDistribution(int(low), int(high), step=int(abs(step)))
    return FloatDistribution(float(low), float(high), step=float(abs(step)))


def suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    """The value of `name` in `trial`, which keeps what it has, in as many digits as it is to be trained with."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match distribution:
        case CategoricalDistribution():
            return trial.suggest_categorical(name, distribution.choices)
        case IntDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_int(name, low, high, step=step, log=log)
        case FloatDistribution(low=low, high=high, step=None, log=log):
            # in so many digits as people read, so that what the summary shows is what was trained
            return float(f"{trial.suggest_float(name, low, high, log=log):.6g}")
        case FloatDistribution(low=low, high=high, step=step):
            # 0.3 and not 0.1 + 0.2, so that it is the run that a grid would have
            return float(f"{trial.suggest_float(name, low, high, step=step):.12g}")
    raise TypeError(f"{name}: cannot be searched over as a {type(distribution).__name__}")


def size_of(space: Mapping[str, BaseDistribution]) -> int | None:
    """How many combinations there are; None for no end of them."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    size = 1
    for distribution in space.values():
        match distribution:
            case CategoricalDistribution():
                size *= len(distribution.choices)
            case IntDistribution(low=low, high=high, step=step):
                size *= (high - low) // step + 1
            case FloatDistribution(low=low, high=high, step=step) if step or low == high:
                size *= round((high - low) / step) + 1 if step else 1
            case _:
                return None
    return size


def range_shown(distribution: Mapping[str, Any]) -> str:
    about = distribution["attributes"]
    if "choices" in about:
        return "|".join(about["choices"])
    kind = "integers " if distribution["name"].startswith("Int") else ""
    step = f" in steps of {about['step']:g}" if about.get("step") not in (None, 1) else ""
    return f"{kind}{about['low']:g} to {about['high']:g}{step}{', logarithmic' if about['log'] else ''}"
