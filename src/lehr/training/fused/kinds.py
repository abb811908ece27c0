"""Which runs may be trained as one program: said of configurations, before anything is built."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lehr.config.build import find_class
from lehr.objective.rate import RateTerm
from lehr.run.identity import NOT_PART_OF_IT, canonical, flat

_IN_MEMORY = ("lehr.data.Digits", "lehr.data.MNIST", "lehr.data.FashionMNIST", "lehr.data.Arrays")
_ALLOWED: dict[str, tuple[Any, ...]] = {
    "model._target_": ("lehr.models.MLP", "lehr.models.Conv", "lehr.models.Linear"),
    "data._target_": _IN_MEMORY,
    "objective._target_": ("lehr.objective.ELBO", "lehr.objective.IWAE"),
    "objective.gradient": (None, "standard"),  # the other one hangs on a hook, which vmap does not call
    "optimizer._target_": ("torch.optim.Adam", "torch.optim.AdamW"),
    "optimizer.freeze": ([],),
    "terms": ({},),
    "ema.decay": (None,),
    "ema.half_life": (None,),
    "compile": (False,),
    "stages": ([],),
    "debug": (False,),
    "trainer.precision": ("32-true", "64-true"),
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
    "optimizer.decay", "optimizer.final_lr", "trainer.gradient_clip_val", "export", "callbacks",
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
    rate_term = find_class(config["kl"]["_target_"], RateTerm, (), "kl._target_")
    assert isinstance(rate_term, type)
    assert issubclass(rate_term, RateTerm)
    own = {f"kl.{name}" for name in (*rate_term.numbers, *rate_term.annealed, "convention")}
    found: dict[str, Any] = {"decays": bool(_value(config, "optimizer.weight_decay"))}
    for key, value in flat(config):
        outside = _is_below(key, NOT_PART_OF_IT) and key not in _SAME_IN_ALL
        if not outside and not _is_below(key, _OF_A_LANE) and key not in own:
            found[key] = canonical(value)
    return json.dumps(found, sort_keys=True, default=str)


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
