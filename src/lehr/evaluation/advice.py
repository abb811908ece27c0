"""What to try next with a run, where its numbers give a reason: a pure function of what its directory holds.

Each rule has a threshold that is said here, and says nothing on the wrong side of it. Inactive units alone are no
reason: a VAE uses as many latents as pay for themselves. docs/python.md explains the rules to who reads the advice.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lehr.evaluation.next_command import Commands
from lehr.evaluation.verdict import FAR, is_collapsed

MOST = 3
"""Lines of advice, the most important first."""
RISE = 0.02
"""What the ELBO has to gain over the second half of the training, as a share of rate + distortion, to be rising."""
FALL = 0.01
"""What it has to lose since its best validation, as a share of the same, to count as fallen."""
GAP = 0.05
"""How far the ELBO in training has to lie above that of the validation, as a share of the same, to be overfitting."""
_NOISE = 4.0  # standard deviations of the validations about a line, that a rise has to exceed
_POINTS = 3  # validations that a line is laid through, at least
_SETTLED = 0.05  # how far a KL weight may be from the last one, as a share of it, to be the same
_BETTER = 0.75  # of the Frechet distance of the default sampler, below which another is recommended
_CLEARLY = 1.5  # times the distance of real images, by which it has to be below
_LONG = 0.5  # share of the training that is a long warm-up
_MISFIT = 0.1  # nats a pixel that a fixed scale has to cost
_ERROR = "reconstruction/mse_sampled"
_DEQUANTISED = re.compile(r"(\d+) grey levels dequantised")

Config = Mapping[str, Any]
_ANNEALED = ("AnnealedKL", "BetaTC", "FreeBits")


@dataclass(frozen=True, repr=False)
class Advice:
    """One thing to try.

    Attributes:
        reason: what the numbers are that speak for it.
        words: what to do, in words.
        commands: what to type for it, in this order.
    """

    reason: str
    words: str
    commands: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.reason}: {self.words}: {', then '.join(self.commands)}"

    def __repr__(self) -> str:
        return f"<Advice: {self}>"


@dataclass(frozen=True)
class Findings:
    """What a finished run has come to.

    Attributes:
        run: its directory, as a command is told.
        config: its resolved configuration.
        metrics: metrics.json.
        evaluation: evaluation.json; empty where nothing was measured.
        curves: the points of history.jsonl, in their order.
        n_train: training examples; None where that is not known.
    """

    run: str
    config: Config
    metrics: Mapping[str, float]
    evaluation: Mapping[str, Any]
    curves: Sequence[Mapping[str, Any]]
    n_train: int | None = None

    @property
    def commands(self) -> Commands:
        """What to type about it."""
        return Commands(self.run, self.config)


def advise(found: Findings) -> list[Advice]:
    """At most three pieces of advice, the most important first; none where no number gives a reason."""
    rules = (_ill_fitting_density, _collapsed, _cross_entropy, _overfitted, _still_rising, _far_from_prior)
    return [advice for rule in rules for advice in rule(found)][:MOST]


# the rules


def _collapsed(found: Findings) -> Iterator[Advice]:
    """The latents as a whole hold nothing, and the KL term may be what has emptied them."""
    rate, active = _first(found, "rate"), _measured(found, "posterior/active_units", "collapse/active_units")
    kind = _kind(found.config, "kl")
    if rate is None or active is None or kind not in _ANNEALED or not is_collapsed(rate, int(active)):
        return
    kl = found.config["kl"]
    reason = f"the latents have collapsed ({active:.0f} active, a rate of {rate:.2g} nats)"
    if is_heavy := _in_nats(kl) and float(kl.get("weight", 1)) > 1:
        words = f"the KL weight of the ELBO, which is 1, in place of {kl['weight']:g}"
        yield Advice(reason, words, (found.commands.again("kl.weight=1"),))
    if kind == "FreeBits":
        more = found.commands.again(f"kl.free_nats={2 * float(kl['free_nats']):g}")
        yield Advice(reason, "a higher floor below which the rate is free", (more,))
        return
    if not is_heavy and _share_annealed(found) < _LONG:
        slower = ["kl.hold=0.1", "kl.warmup=0.5", "kl.unit=fraction", *["kl.cycles=1"] * (kl.get("cycles", 1) > 1)]
        yield Advice(reason, "a longer warm-up of the KL weight", (found.commands.again(*slower),))
    if _kind(found.config, "prior") == "StandardNormalPrior":
        changes = ["kl=free_bits", f"kl.weight={kl.get('weight', 1):g}"]
        changes += [] if _in_nats(kl) else [f"kl.convention={kl['convention']}"]
        yield Advice(reason, "free bits, below which the rate costs nothing", (found.commands.again(*changes),))


def _cross_entropy(found: Findings) -> Iterator[Advice]:
    """A Bernoulli of grey pixels, whose ELBO bounds nothing."""
    note = str(found.evaluation.get("likelihood/bits_per_dim_note") or "")
    if _kind(found.config, "likelihood") == "Bernoulli" and "cross-entropy" in note:
        reason = "the pixels are grey, and of grey values a Bernoulli is a cross-entropy, whose ELBO bounds nothing"
        yield Advice(reason, "a likelihood of real pixels", (found.commands.again("likelihood=gaussian"),))


def _overfitted(found: Findings) -> Iterator[Advice]:
    """The validation has fallen from its best, while the training is far above it."""
    points = _settled(found.curves)
    scale, training = _scale_of(points), _last_of_training(found.curves)
    if len(points) < _POINTS or scale is None or training is None or _is_best_exported(found):
        return
    best, last = max(points, key=lambda point: point.elbo), points[-1]
    before = _last_of_training(found.curves, best.images)
    if before is not None and training < before:
        return  # by a KL weight below 1 the training itself makes the ELBO, which has weight 1, worse
    fallen = best.elbo - last.elbo
    if fallen > FALL * scale and training - last.elbo > GAP * scale:
        reason = (
            f"the ELBO of the validation fell by {fallen:.2f} nats after {best.images:,} images, "
            f"and is {training - last.elbo:.2f} below that of the training"
        )
        command = found.commands.resume("export.weights=best")
        yield Advice(reason, "end in the weights of the best validation", (command,))


def _still_rising(found: Findings) -> Iterator[Advice]:
    """The validation gains as much over the second half of the training as would be worth more of it."""
    gained = gained_lately(found.curves)
    longer = _longer(found)
    if gained is not None and longer:
        reason = f"the ELBO of the validation still rises ({gained:.2f} nats over the second half of the training)"
        command = found.commands.resume(*longer)
        yield Advice(reason, "train for longer", (command,))


def _far_from_prior(found: Findings) -> Iterator[Advice]:
    """q(z) is far from the prior, or another sampler than the default has been found to be much better."""
    distances = {
        key.split("/")[1]: float(value)
        for key, value in found.evaluation.items()
        if key.startswith("generation/") and key.endswith("/frechet") and isinstance(value, int | float)
    }
    default, noise = distances.get("aggregate"), distances.get("real", 0.0)
    others = {name: value for name, value in distances.items() if name not in ("real", "reconstruction", "aggregate")}
    if default is not None and others:
        best = min(others, key=lambda name: others[name])
        if others[best] < _BETTER * default and default - others[best] > _CLEARLY * noise:
            reason = f"the Frechet distance of {best} samples is {others[best]:.2f}, of aggregate ones {default:.2f}"
            yield Advice(reason, "draw from it", (found.commands.sample(best),))
        return
    if "latent map" in str(found.evaluation.get("collapse/moment_kl_problem")):
        return  # q(z) is for a diffusion model to learn, and need not be near the prior
    known = (_measured(found, f"collapse/moment_kl_{of}", f"posterior/moment_kl_{of}") for of in ("full", "diag"))
    distance = next((value for value in known if value is not None), None)
    bias = float(found.evaluation.get("collapse/moment_kl_bias") or 0)
    if distance is not None and distance - bias > FAR and not distances:
        reason = f"q(z) is {distance:.2f} nats from the prior (moment KL)"
        commands = found.commands
        both = (commands.evaluate(), commands.sample("mixture"))
        yield Advice(reason, "fit a mixture to q(z), and draw from that", both)


def _ill_fitting_density(found: Findings) -> Iterator[Advice]:
    """A fixed scale that is not that of the errors, which may be what has emptied the latents; or a density that says
    less of grey levels than a uniform guess."""
    if found.config.get("terms"):
        return  # the likelihood is then one of several terms, and its scale says how they are weighed
    scale, error = (found.config.get("likelihood") or {}).get("scale"), found.evaluation.get(_ERROR)
    kind, bits = _kind(found.config, "likelihood"), found.evaluation.get("likelihood/bits_per_dim")
    kl = found.config["kl"]
    wants_elbo = _kind(found.config, "kl") == "AnnealedKL" and float(kl.get("weight", 1)) == 1 and _in_nats(kl)
    if kind == "Gaussian" and isinstance(scale, int | float) and error and wants_elbo:
        ratio, better = error / scale**2, math.sqrt(error)
        gain = (ratio - 1 - math.log(ratio)) / 2  # of log N(x; mean, scale^2) in nats a pixel, at the best scale
        if gain > _MISFIT:
            reason = f"a scale of {better:.2g} would gain {gain:.2f} nats a pixel over likelihood.scale={scale:g}"
            yield Advice(reason, "let it be learnt", (found.commands.again("likelihood.scale=learned"),))
            return
    levels = _DEQUANTISED.search(str(found.evaluation.get("likelihood/bits_per_dim_note") or ""))
    if levels and bits is not None and bits > math.log2(int(levels[1])):
        reason = f"{bits:.2f} bits per dimension are more than the {math.log2(int(levels[1])):.2f} of a uniform guess"
        if int(levels[1]) == 2:
            yield Advice(reason, "the probability of a pixel", (found.commands.again("likelihood=bernoulli"),))
            return
        command = found.commands.again("likelihood=discretized_logistic", f"likelihood.levels={levels[1]}")
        yield Advice(reason, "probabilities of the grey levels in place of a density", (command,))


# what they look at


@dataclass(frozen=True)
class Point:
    """A validation.

    Attributes:
        images: seen in training before it.
        elbo, cost: in nats per example; `cost` is rate + |distortion|, a scale that does not vanish.
        kl_weight: in effect.
    """

    images: int
    elbo: float
    cost: float
    kl_weight: float


def gained_lately(curves: Sequence[Mapping[str, Any]]) -> float | None:
    """What the ELBO of the validation gains over the second half of the training, in nats, where it still rises.

    A line is laid by least squares through the validations in the second half at the last KL weight, of which there
    must be three. It rises if the last validation is the best, and the gain along the line is more than `RISE` of
    rate + |distortion| and more than four standard deviations of the validations about it. None where it does not.
    """
    points = _settled(curves)
    if not points:
        return None
    half = points[-1].images / 2
    points = [point for point in points if point.images >= half]
    scale = _scale_of(points)
    if len(points) < _POINTS or scale is None or points[-1].elbo < max(point.elbo for point in points):
        return None
    slope, noise = _line(points)
    gained = slope * half
    return gained if gained > RISE * scale and gained > _NOISE * noise else None


def _settled(curves: Sequence[Mapping[str, Any]]) -> list[Point]:
    """The validations from which on the KL weight is what it is at the end, so that they can be compared."""
    points = [
        Point(int(p["images"]), float(p["val/elbo"]), abs(p["val/distortion"]) + p["val/rate"], p["val/kl_weight"])
        for p in curves
        if all(p.get(name) is not None for name in ("val/elbo", "val/distortion", "val/rate", "val/kl_weight"))
    ]
    first = len(points)
    while first and abs(points[first - 1].kl_weight - points[-1].kl_weight) <= _SETTLED * abs(points[-1].kl_weight):
        first -= 1
    return points[first:]


def _line(points: Sequence[Point]) -> tuple[float, float]:
    """Slope in nats an image, and the standard deviation of the points about the line."""
    n = len(points)
    x, y = (math.fsum(values) / n for values in zip(*((p.images, p.elbo) for p in points), strict=True))
    spread = math.fsum((p.images - x) ** 2 for p in points)
    slope = math.fsum((p.images - x) * (p.elbo - y) for p in points) / spread if spread else 0.0
    rest = math.fsum((p.elbo - y - slope * (p.images - x)) ** 2 for p in points)
    return slope, math.sqrt(rest / max(n - 2, 1))


def _scale_of(points: Sequence[Point]) -> float | None:
    return points[-1].cost if points else None


def _last_of_training(curves: Sequence[Mapping[str, Any]], images: float = math.inf) -> float | None:
    """The ELBO of the training, averaged over the last fifth of its points up to so many images."""
    found = [float(p["train/elbo"]) for p in curves if p.get("train/elbo") is not None and p["images"] <= images]
    last = found[-max(1, len(found) // 5) :]
    return math.fsum(last) / len(last) if last else None


def _longer(found: Findings) -> list[str]:
    """The words that train as long again and leave the schedule of the KL weight as it was; none where that is not
    possible."""
    trainer, kl = found.config["trainer"], found.config["kl"]
    epochs, steps = trainer.get("max_epochs"), trainer.get("max_steps")
    words = [f"trainer.max_epochs={2 * epochs}"] if epochs else []
    words += [f"trainer.max_steps={2 * steps}"] if steps else []
    if kl.get("cycles", 1) > 1:
        return []  # a cycle is a share of the training
    if kl.get("unit") == "fraction" and (kl.get("hold") or kl.get("warmup")):
        if (total := _total_steps(found)) is None:
            return []
        words += ["kl.unit=step", *(f"kl.{key}={kl[key] * total:.10g}" for key in ("hold", "warmup"))]
    return words


def _total_steps(found: Findings) -> int | None:
    """Optimiser steps of the training, as they were configured; of one process."""
    trainer = found.config["trainer"]
    limits = [trainer["max_steps"]] if trainer.get("max_steps") else []
    if trainer.get("max_epochs"):
        if found.n_train is None:
            return None
        batches = math.ceil(found.n_train / found.config["data"]["batch_size"])
        limits.append(trainer["max_epochs"] * math.ceil(batches / trainer.get("accumulate_grad_batches", 1)))
    return min(limits, default=None)


def _share_annealed(found: Findings) -> float:
    """Which share of the training the KL weight was on its way."""
    kl = found.config["kl"]
    length = float(kl.get("hold") or 0) + float(kl.get("warmup") or 0)
    if kl.get("unit") == "fraction":
        return length
    epochs, total = found.config["trainer"].get("max_epochs"), _total_steps(found)
    whole = total if kl.get("unit") == "step" else epochs
    return length / whole if whole else 0.0


def _is_best_exported(found: Findings) -> bool:
    """Whether the run has ended in the weights of its best validation anyway."""
    early = (found.config.get("callbacks") or {}).get("early_stopping") or {}
    wanted = (found.config.get("export") or {}).get("weights")
    return wanted == "best" or (wanted is None and early.get("patience") is not None)


def _in_nats(kl: Mapping[str, Any]) -> bool:
    """Whether the KL weight means what the number says."""
    return bool(kl.get("convention", "nats") == "nats")


def _kind(config: Config, section: str) -> str:
    node = config.get(section)
    return str(node.get("_target_")).rpartition(".")[2] if isinstance(node, Mapping) else ""


def _first(found: Findings, name: str) -> float | None:
    """A metric of the test, or where there is none of the validation."""
    return next((found.metrics[key] for split in ("test", "val") if (key := f"{split}/{name}") in found.metrics), None)


def _measured(found: Findings, *names: str) -> float | None:
    """The first of these that was measured, in the evaluation or at the end of the training."""
    values = (found.evaluation.get(name, found.metrics.get(name)) for name in names)
    return next((float(value) for value in values if value is not None), None)
