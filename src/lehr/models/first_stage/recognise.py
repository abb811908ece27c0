"""Which model weights are of: worked out from their shapes, and from what a config.json of diffusers says of them.

Shapes are by diffusers' names. Not in them are the groups of the norms: latent diffusion has 32 everywhere.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from lehr.models.first_stage.base import FirstStage

Shapes = Mapping[str, tuple[int, ...]]

LDM_GROUPS = 32
LOGVAR_BOUNDS = (-30.0, 20.0)
"""Of latent diffusion, and of diffusers whatever the model."""
_CLASSES = ("AutoencoderKL", "AutoencoderTiny", "VQModel")
_FUNCTIONS = {"AutoencoderTiny": {"act_fn": "relu", "upsample_fn": "nearest"}}
_OF_TRUNKS = {"act_fn": "silu"}
"""What the networks here compute with, where diffusers leaves a choice."""


def shapes_of(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of each."""
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}


def recognised(shapes: Shapes, said: Mapping[str, Any]) -> dict[str, Any]:
    """The `model` section of a configuration, `_target_` and the values that decide the network.

    Args:
        shapes: of all weights.
        said: config.json as diffusers writes it; empty where there is none.

    Raises:
        ValueError: in a line, if lehr has no such model, or what decides it is not known.
    """
    name = said.get("_class_name")
    if name is not None and name not in _CLASSES:
        raise ValueError(f"is diffusers' {name}; lehr has {', '.join(_CLASSES)}")
    for key, value in _FUNCTIONS.get(str(name), _OF_TRUNKS if name else {}).items():
        if said.get(key, value) != value:
            raise ValueError(f"config.json says {key}={said[key]}; lehr has {key}={value} alone")
    try:
        return _tiny(shapes) if "encoder.layers.0.weight" in shapes else _residual(shapes, said)
    except (KeyError, IndexError) as error:
        raise ValueError(f"is no whole autoencoder: it has no {error.args[0]}") from error


def image_channels(shapes: Shapes) -> int:
    """Of what is decoded."""
    last = [name for name in shapes if re.fullmatch(r"decoder\.(conv_out|layers\.\d+)\.bias", name)]
    return shapes[max(last, key=_number)][0] if last else 3


def difference(weights: Mapping[str, Tensor], model: FirstStage) -> str | None:
    """What tells weights from those of `model` first, in words that follow "it"; None where all have their shapes."""
    there, wanted = shapes_of(weights), shapes_of(model.state_dict())
    if there == wanted:
        return None
    if differing := [name for name in wanted if name in there and wanted[name] != there[name]]:
        name = differing[0]
        return f"{name} is {there[name]}, and in this model {wanted[name]}"
    missing, extra = sorted(wanted.keys() - there.keys()), sorted(there.keys() - wanted.keys())
    what = [f"has no {missing[0]} and {len(missing) - 1} more"] if missing else []
    what += [f"has {extra[0]} and {len(extra) - 1} more, which this model has not"] if extra else []
    return "; ".join(what)


def _number(name: str) -> int:
    return int(next(iter(re.findall(r"\d+", name)), 0))


def _residual(shapes: Shapes, said: Mapping[str, Any]) -> dict[str, Any]:
    """Of the networks of latent diffusion."""
    first = shapes["encoder.conv_in.weight"]
    levels = _count(shapes, r"encoder\.down_blocks\.(\d+)\.")
    channels = [shapes[f"encoder.down_blocks.{i}.resnets.0.conv1.weight"][0] for i in range(levels)]
    base = math.gcd(*channels)
    latent = shapes["decoder.conv_in.weight"][1]
    values: dict[str, Any] = {
        "latent_channels": latent,
        "base_channels": base,
        "channel_multipliers": [one // base for one in channels],
        "layers": _count(shapes, r"encoder\.down_blocks\.0\.resnets\.(\d+)\."),
        "attention_levels": [i for i in range(levels) if _has(shapes, f"encoder.down_blocks.{i}.attentions.")],
        "mid_attention": _has(shapes, "encoder.mid_block.attentions."),
        "norm_groups": _groups(base, said),
        "fourier_features": (first[1] // image_channels(shapes) - 1) // 2,
    }
    codes = "quantize.embedding.weight"
    if codes not in shapes:
        bounds = dict(zip(("logvar_min", "logvar_max"), LOGVAR_BOUNDS, strict=True))
        quant = _has(shapes, "post_quant_conv.")
        return {"_target_": "lehr.models.KLAutoencoder", **values, "quant_conv": quant, **bounds}
    # taming's weight of 1 on means over latents, beside means over pixel values: (c h w) / (zc zh zw)
    weight = image_channels(shapes) * 4 ** (levels - 1) / latent
    return {
        "_target_": "lehr.models.VQAutoencoder",
        **values,
        "codebook_size": shapes[codes][0],
        "codebook_weight": float(weight),
    }


def _tiny(shapes: Shapes) -> dict[str, Any]:
    """Of the layers of TAESD."""
    layers = range(_count(shapes, r"encoder\.layers\.(\d+)\."))
    # between two convolutions lie the blocks of a level; the last convolution gives the latents
    single = [i for i in layers if f"encoder.layers.{i}.weight" in shapes]
    latent = shapes["decoder.layers.0.weight"][1]
    given = shapes[f"encoder.layers.{layers[-1]}.weight"][0]
    return {
        "_target_": "lehr.models.TinyAutoencoder",
        "latent_channels": latent,
        "base_channels": shapes["encoder.layers.0.weight"][0],
        "blocks": [after - before - 1 for before, after in itertools.pairwise(single)],
        "global_branch": any(".pool." in name for name in shapes),
        "posterior": "gaussian" if given == 2 * latent else "point",
    }


def _groups(base: int, said: Mapping[str, Any]) -> int:
    """Of the norms."""
    groups = said.get("norm_num_groups")
    if isinstance(groups, int) and groups > 0:
        return groups
    if base % LDM_GROUPS:
        raise ValueError(
            f"has {base} channels at first, which the {LDM_GROUPS} groups of latent diffusion's norms do not divide: a "
            "config.json of diffusers beside it has to say norm_num_groups"
        )
    return LDM_GROUPS


def _has(names: Iterable[str], beginning: str) -> bool:
    return any(name.startswith(beginning) for name in names)


def _count(names: Iterable[str], pattern: str) -> int:
    """One more than the largest number that a name has in the place of the group of `pattern`."""
    return 1 + max((int(match[1]) for name in names if (match := re.match(pattern, name))), default=-1)
