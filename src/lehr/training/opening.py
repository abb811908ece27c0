"""What is said at the start of a training: what is trained, on what, and for how long."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from torch import nn

from lehr.data.splits import IN_WORDS
from lehr.models.wrapped import Wrapped

if TYPE_CHECKING:
    from lehr.data.module import ImageDataModule
    from lehr.training.length import Length
    from lehr.training.module import VAEModule


def model_line(module: VAEModule) -> str:
    """Parameters by part, and which of them are frozen."""
    parts = {name: _count(parameters) for name, parameters in parts_of(module).items()}
    parts = {name: counts for name, counts in parts.items() if counts[0]}
    total, trained = (sum(counts[i] for counts in parts.values()) for i in (0, 1))
    model = module.model.module if isinstance(module.model, Wrapped) else module.model
    each = ", ".join(f"{name} {_counted(*counts)}" for name, counts in parts.items())
    frozen = f", {total - trained:,} of them frozen" if trained < total else ""
    return f"model   {type(model).__name__}, {total:,} parameters{frozen}: {each}"


def parts_of(module: VAEModule) -> dict[str, list[nn.Parameter]]:
    """The parameters of each part that is trained, each once: those of encoder and decoder where the model has such."""
    model = module.model.module if isinstance(module.model, Wrapped) else module.model
    networks = dict(module.networks) | {"rate term": module.rate_term} | dict(module.objective.players)
    found: dict[str, list[nn.Parameter]] = {}
    seen: set[int] = set()
    for name in ("encoder", "decoder"):
        part = getattr(model, name, None)
        if isinstance(part, nn.Module):
            found[name] = list(_unseen(part.parameters(), seen))
    rest = list(_unseen(networks.pop("model").parameters(), seen))
    found["rest of the model" if any(found.values()) else "model"] = rest
    for name, network in networks.items():
        found[name] = list(_unseen(network.parameters(), seen))
    return found


def data_line(data: ImageDataModule) -> str:
    """Images in each split, their shape, and how many levels a pixel has for the model."""
    counts = {"train": data.n_train, "val": data.n_val, "test": data.n_test}
    splits = ", ".join(f"{n:,} {IN_WORDS[split]}" for split, n in counts.items() if n)
    channels, height, width = data.shape
    levels = "levels not known" if data.levels is None else f"{data.levels} levels"
    made = f" (binarize={data.binarize})" if data.binarize != "none" else ""
    return f"data    {data.name}: {splits} images of {channels} x {height} x {width}, {levels}{made}"


def weight_line(module: VAEModule) -> str | None:
    """The target of the KL weight in nats, where it is said in another convention."""
    term = module.rate_term
    if term.convention == "nats":
        return None
    model, weight = module.model, term.annealing.weight
    pixels, latents = math.prod(model.image_shape), math.prod(model.latent_shape)
    nats = weight * term.nats_per_weight
    on_means = nats * latents / pixels / module.likelihood.fixed_error_weight()
    return (
        f"kl      weight {weight:g} by kl.convention={term.convention}: {nats:.3g} in nats per example, {on_means:.3g} "
        f"beside means ({pixels:,} pixel values, {latents:,} latents)"
    )


def length_line(length: Length, step: int, seconds_per_step: float | None) -> str:
    """How long the training is, or from `step` on what is left of it, and how long that takes; validations apart."""
    left, in_epoch = length.total_steps - step, length.steps_per_epoch
    epochs = f"{left / in_epoch:,.1f}".removesuffix(".0")
    line = f"length  {_of(left, 'step')}" + (f" of {length.total_steps:,} left" if step else "")
    line += (
        f": {epochs} epoch{'' if epochs == '1' else 's'} of {in_epoch:,}"
        if left >= in_epoch
        else f", an epoch has {in_epoch:,}"
    )
    if seconds_per_step is None:
        return line
    return f"{line}, about {duration(left * seconds_per_step)} of training ({_per_step(seconds_per_step)} a step)"


def duration(seconds: float) -> str:
    """A time in words, to two digits or so."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    hours = round(seconds / 3600)
    return f"{seconds / 3600:.1f} h" if hours < 10 else f"{hours:,} h" if hours < 48 else f"{hours / 24:.1f} days"


def _of(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def _per_step(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _unseen(parameters: Iterable[nn.Parameter], seen: set[int]) -> Iterator[nn.Parameter]:
    for parameter in parameters:
        if id(parameter) not in seen:
            seen.add(id(parameter))
            yield parameter


def _count(parameters: Iterable[nn.Parameter]) -> tuple[int, int]:
    """All numbers, and those that are trained."""
    sizes = [(p.numel(), p.requires_grad) for p in parameters]
    return sum(n for n, _ in sizes), sum(n for n, is_trained in sizes if is_trained)


def _counted(total: int, trained: int) -> str:
    if trained == total:
        return f"{total:,}"
    return f"{total:,} (frozen)" if not trained else f"{total:,} ({total - trained:,} frozen)"
