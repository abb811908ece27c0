"""Which runs may be trained as one program: said of configurations, before anything is built."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from lehr.config.build import find_class
from lehr.objective.likelihood import Likelihood
from lehr.objective.rate import RateTerm
from lehr.run.identity import NOT_PART_OF_IT, canonical, flat

T = TypeVar("T")
_IN_MEMORY = ("lehr.data.Digits", "lehr.data.MNIST", "lehr.data.FashionMNIST", "lehr.data.Arrays")
_ALLOWED: dict[str, tuple[Any, ...]] = {
    "model._target_": ("lehr.models.MLP", "lehr.models.Conv", "lehr.models.Linear"),
    "data._target_": _IN_MEMORY,
    "objective._target_": ("lehr.objective.ELBO", "lehr.objective.IWAE"),
    "objective.gradient": (None, "standard"),  # the other one hangs on a hook, which vmap does not call
    "optimizer._target_": ("torch.optim.Adam", "torch.optim.AdamW"),
    "optimizer.freeze": ([],),
    "terms": ({},),
    "compile": (False,),
    "stages": ([],),
    "debug": (False,),
    "trainer.precision": ("32-true", "64-true", "bf16-mixed"),
    "trainer.devices": (1, "auto"),
    "trainer.num_nodes": (1,),
    "trainer.strategy": ("auto",),
    "trainer.accumulate_grad_batches": (1,),
    "trainer.overfit_batches": (0, None),
    "trainer.channels_last": (False,),
}
"""What these keys may be where a run is trained in step with others."""
_OF_A_PROCESS = ("lehr.training.WandB", "lehr.training.MLflow")
"""Loggers of which a process can have one at a time."""
_OF_A_LANE = (
    "seed", "data.seed", "optimizer.lr", "optimizer.betas", "optimizer.eps", "optimizer.weight_decay",
    "optimizer.decay", "optimizer.final_lr", "trainer.gradient_clip_val", "trainer.max_epochs", "trainer.max_steps",
    "trainer.check_val_every_n_epoch", "trainer.check_val_every_n_steps", "ema.decay", "ema.half_life", "export",
    "callbacks",
)  # fmt: skip
"""What may be another in each lane, besides the numbers of the rate term and what no number depends on."""
_SAME_IN_ALL = ("trainer.log_every_n_steps", "trainer.accelerator")
"""Of what no number depends on, what all lanes share: when somebody looks at a step, and where it is taken."""


def obstacle(config: Mapping[str, Any]) -> str | None:
    """Why a run of this configuration is not trained in step with others, as key=value; None if it may be."""
    values = dict(flat(config))
    for key, allowed in _ALLOWED.items():
        if (value := _value(config, key)) not in allowed and (value is not None or None in allowed):
            shown = value if isinstance(value, str | int | float | bool) else json.dumps(value, default=str)
            return f"{key}={shown}" if not isinstance(value, dict) else key
    own = [key for key, value in values.items() if _looks_at_steps(key, value)]
    return f"{own[0]}={values[own[0]]}" if own else None


def kind(config: Mapping[str, Any]) -> str:
    """What runs have in common that are one program with other numbers."""
    rate_term, likelihood = _class(config, "kl", RateTerm), _class(config, "likelihood", Likelihood)
    own = {f"kl.{name}" for name in (*rate_term.numbers, *rate_term.annealed, "convention")}
    fixed = {f"likelihood.{name}" for name in likelihood.numbers}
    averages = any(_value(config, key) is not None for key in ("ema.decay", "ema.half_life"))
    found: dict[str, Any] = {"decays": bool(_value(config, "optimizer.weight_decay")), "averages": averages}
    for key, value in flat(config):
        outside = _is_below(key, NOT_PART_OF_IT) and key not in _SAME_IN_ALL
        if not outside and not _is_below(key, _OF_A_LANE) and key not in own:
            is_own = key in fixed and isinstance(value, int | float)  # a word, such as learned, is another program
            found[key] = "a number" if is_own else canonical(value)
    return json.dumps(found, sort_keys=True, default=str)


def _class(config: Mapping[str, Any], group: str, base: type[T]) -> type[T]:
    found = find_class(config[group]["_target_"], base, (), f"{group}._target_")
    assert isinstance(found, type)
    assert issubclass(found, base)
    return found


def _looks_at_steps(key: str, value: Any) -> bool:
    """Whether a class takes part that is not known to look at no step, and to keep nothing for the process."""
    return key.endswith("._target_") and (
        not str(value).startswith(("lehr.", "torch.optim.")) or value in _OF_A_PROCESS
    )


def _is_below(key: str, names: tuple[str, ...]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)


def _value(config: Mapping[str, Any], key: str) -> Any:
    node: Any = config
    for name in key.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return node
