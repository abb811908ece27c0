"""Small grids drawn at random: what the lanes of a program share, and the numbers that each has of its own."""

from __future__ import annotations

import copy
import random
from typing import Any


class Draws:
    """Everything is a function of the `seed`."""

    def __init__(self, seed: int, base: dict[str, Any]) -> None:
        self._random = random.Random(seed)
        self._base = base

    def _of(self, *choices: Any) -> Any:
        return self._random.choice(choices)

    def _between(self, low: float, high: float) -> float:
        """Evenly on a scale of ratios."""
        return low * (high / low) ** self._random.random()

    def grid(self, lanes: int) -> list[dict[str, Any]]:
        """The configurations of so many lanes of one program."""
        shared = self._shared()
        clips, weight_decay, averages = (self._of(True, False) for _ in range(3))
        rate_term = self._of(*_RATE_TERMS)
        found = []
        for _ in range(lanes):
            config = copy.deepcopy(self._base | shared)
            config["seed"] = config["data"]["seed"] = self._random.randrange(1000)
            config["kl"] = self._rate_term(rate_term)
            if isinstance(config["likelihood"].get("scale"), float):
                config["likelihood"]["scale"] = self._between(0.1, 1.0)
            config["optimizer"] |= {
                "_target_": shared["optimizer"]["_target_"],
                "lr": self._between(3e-4, 1e-2),
                "betas": [self._of(0.8, 0.9), self._of(0.99, 0.999)],
                "weight_decay": self._between(1e-4, 0.1) if weight_decay else 0.0,
                "decay": self._of("none", "cosine", "stages"),
                "final_lr": self._of(0.0, 1e-4),
            }
            if averages:
                memory = self._of({"decay": self._between(0.5, 0.99)}, {"half_life": self._between(50, 500)})
                config["ema"] |= memory
            config["trainer"] |= {
                "gradient_clip_val": self._of(None, self._between(0.1, 100)) if clips else None,
                "max_epochs": self._of(4, 5),
                "check_val_every_n_epoch": self._of(1, 2),
            }
            config["callbacks"]["early_stopping"]["patience"] = self._of(None, 1)
            found.append(config)
        return found

    def _shared(self) -> dict[str, Any]:
        grey, likelihood = self._of(
            (False, {"_target_": "lehr.objective.Bernoulli"}),
            (True, {"_target_": "lehr.objective.Gaussian", "scale": self._of(0.5, "learned", "optimal")}),
            (True, {"_target_": "lehr.objective.Laplace", "scale": self._of(0.5, "learned")}),
            (True, {"_target_": "lehr.objective.DiscretizedLogistic", "levels": 17, "scale": self._of(0.5, "learned")}),
            (True, {"_target_": "lehr.objective.ContinuousBernoulli"}),
        )
        activation = self._of("relu", "elu", "gelu", "leaky_relu", "silu", "softplus", "tanh")
        model = self._of(
            {"_target_": "lehr.models.MLP", "hidden": self._of([8], [12, 6], []), "activation": activation},
            {"_target_": "lehr.models.Conv", "channels": self._of([4], [4, 8]), "hidden": self._of(0, 8)}
            | {"activation": activation},
            {"_target_": "lehr.models.Linear"},
        )
        sizes = {"latent_dim": self._random.randint(1, 5), "logvar_min": -20.0, "logvar_max": 10.0}
        adam = self._of("torch.optim.Adam", "torch.optim.AdamW")
        data = {"binarize": "none" if grey else self._of("threshold", "dynamic"), "batch_size": self._of(32, 40, 150)}
        return {
            "model": model | sizes,
            "likelihood": likelihood,
            "prior": self._of(
                {"_target_": "lehr.objective.StandardNormalPrior"},
                {"_target_": "lehr.objective.StandardNormalPrior"},
                {"_target_": "lehr.objective.MixturePrior", "components": 3, "weights": self._of("learned", "equal")},
            ),
            "data": self._base["data"] | data,
            "optimizer": self._base["optimizer"] | {"_target_": adam},
        }

    def _rate_term(self, name: str) -> dict[str, Any]:
        numbers = {key: self._between(low, high) for key, (low, high) in _RATE_TERMS[name].items()}
        seed = {"seed": self._random.randrange(3)} if name == "MMD" else {}
        return {"_target_": f"lehr.objective.{name}", **numbers, **seed, **self._annealing(name)}

    def _annealing(self, name: str) -> dict[str, Any]:
        if name in ("ControlVAE", "GECO"):
            return {}
        hold, warmup = self._of((0, 0), (0, 1), (1, 1.5), (0.5, 2))
        found = {"hold": hold, "warmup": warmup, "shape": self._of("linear", "cosine", "sigmoid"), "unit": "epoch"}
        return found if name == "Capacity" else found | {"cycles": self._of(1, 1, 2) if warmup < 1.5 else 1}


_RATE_TERMS: dict[str, dict[str, tuple[float, float]]] = {
    "AnnealedKL": {"weight": (0.1, 5)},
    "FreeBits": {"weight": (0.1, 5), "free_nats": (0.05, 2)},
    "Capacity": {"capacity": (1, 10), "gamma": (1, 20)},
    "ControlVAE": {"target_rate": (1, 10), "kp": (0.005, 0.5), "ki": (1e-4, 1e-2)},
    "GECO": {"target_distortion": (10, 40), "speed": (1e-3, 1e-1), "weight": (0.5, 2)},
    "BetaTC": {"beta": (1, 8), "weight": (0.5, 2)},
    "MMD": {"alpha": (0.1, 0.9), "lambda_": (1, 100), "weight": (0.5, 2)},
}
"""Of each rate term its numbers, within bounds."""
