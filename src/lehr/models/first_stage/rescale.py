"""Smaller activations with equal outputs: the residual stream multiplied by powers of two, so that it fits in float16.

In diffusers' Encoder and Decoder nothing reads the residual stream but group norms, which do not see its scale, and
the convolutions that end a stretch of it: those of a change of size, and the shortcut of a block that changes its
channels. So a stretch is multiplied by s where it begins, and by 1 / s where it ends. What is computed is the same but
for the eps that a norm adds to a variance, now s^2 times as large: an error of about eps / (2 s^2 variance) (ours;
sdxl-vae-fp16-fix, madebyollin 2023, was trained). eps is kept in no file of weights, and so cannot be scaled with them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from lehr.activations import LIMIT
from lehr.models.first_stage.residual import ResidualAutoencoder


@dataclass(frozen=True)
class Rescaled:
    """A stretch whose activations have been multiplied.

    Attributes:
        name: of the module that it begins with.
        largest: |activation| that was measured in it.
        factor: that it has been multiplied by, a power of two.
    """

    name: str
    largest: float
    factor: float


@dataclass
class _Stretch:
    """Activations that can be multiplied by one number without a change of what the network computes.

    Attributes:
        begins: modules whose outputs are in it and whose inputs are of the stretch before.
        adds: modules whose outputs are added to it, and whose inputs are not of it.
        reads: modules whose inputs are of it and whose outputs are not, but for norms.
        sums: modules that give what is within it, without weights of their own.
    """

    begins: list[str] = field(default_factory=list)
    adds: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    sums: list[str] = field(default_factory=list)


def rescale(model: nn.Module, largest: Mapping[str, float], limit: float = LIMIT) -> list[Rescaled]:
    """Multiply every stretch of activations that goes beyond `limit` by the largest power of two that keeps it below.

    In place; weights of float32 stay what they are but for their exponents.

    Args:
        model: that of `rescalable`.
        largest: |activation| of each module by its name in the model, see `lehr.activations.Largest`.
        limit: for |activation|.

    Returns:
        What was multiplied, in the order of the network; nothing where nothing was too large.

    Raises:
        ValueError: in a line, if the model is of another kind, or activations are not finite.
    """
    if problem := rescalable(model):
        raise ValueError(problem)
    if wrong := [name for name, value in largest.items() if not math.isfinite(value)]:
        raise ValueError(f"model: {wrong[0]} gives numbers that are not finite in float32 already")
    done = []
    for part in ("encoder", "decoder"):
        for stretch in _stretches(getattr(model, part), part):
            names = [*stretch.begins, *stretch.adds, *stretch.sums]
            most = max((largest.get(name, 0.0) for name in names), default=0.0)
            if most > limit:
                factor = 2.0 ** -math.ceil(math.log2(most / limit))
                _multiply(model, stretch, factor)
                done.append(Rescaled(stretch.begins[0], most, factor))
    return done


def rescalable(model: nn.Module) -> str | None:
    """Why the activations of a model cannot be rescaled, in a line; None if they can."""
    if isinstance(model, ResidualAutoencoder):
        return None
    return (
        f"model: {type(model).__name__} has no residual stream that is read by group norms alone; rescaling is for the "
        "networks of latent diffusion (kl_..., vq_..., sd3, flux)"
    )


@torch.no_grad()
def _multiply(model: nn.Module, stretch: _Stretch, factor: float) -> None:
    """Multiply the activations of a stretch, and what reads them by the inverse."""
    for name in [*stretch.begins, *stretch.adds]:
        module: Any = model.get_submodule(name)
        module.weight *= factor
        if module.bias is not None:
            module.bias *= factor
    for name in stretch.reads:
        reader: Any = model.get_submodule(name)
        reader.weight /= factor


def _stretches(network: Any, part: str) -> Iterator[_Stretch]:
    """Of diffusers' Encoder or Decoder: stretches of the stream, and those between two norms or within attention."""
    stream = _Stretch(begins=[f"{part}.conv_in"])
    for name, block in _blocks(network, part):
        attentions = getattr(block, "attentions", None) or []
        for i, resnet in enumerate(block.resnets):
            unit = f"{name}.resnets.{i}"
            yield _Stretch(begins=[f"{unit}.conv1"])  # norm2 alone reads it
            if resnet.conv_shortcut is not None:
                stream.reads.append(f"{unit}.conv_shortcut")
                yield stream
                stream = _Stretch(begins=[f"{unit}.conv_shortcut"])
            stream.adds.append(f"{unit}.conv2")
            stream.sums.append(unit)
            if i < len(attentions) and attentions[i] is not None:
                unit = f"{name}.attentions.{i}"
                yield _Stretch(begins=[f"{unit}.to_v"], reads=[f"{unit}.to_out.0"])  # rows of softmax sum up to 1
                stream.adds.append(f"{unit}.to_out.0")
                stream.sums.append(unit)
        for kind in ("downsamplers", "upsamplers"):
            if getattr(block, kind, None):
                conv = f"{name}.{kind}.0.conv"
                stream.reads.append(conv)
                yield stream
                stream = _Stretch(begins=[conv], sums=[f"{name}.{kind}.0"])
    yield stream


def _blocks(network: Any, part: str) -> Iterator[tuple[str, Any]]:
    """Name and module of each, in the order in which they run."""
    middle = (f"{part}.mid_block", network.mid_block)
    if part == "encoder":
        yield from ((f"{part}.down_blocks.{i}", block) for i, block in enumerate(network.down_blocks))
        yield middle
    else:
        yield middle
        yield from ((f"{part}.up_blocks.{i}", block) for i, block in enumerate(network.up_blocks))
