"""The weights of first-stage models by other names: of latent diffusion, of TAESD, of older diffusers.

diffusers' own are those of the models here. Nothing but names and the shape of attention's matrices, which are 1x1
convolutions in latent diffusion, is changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from torch import Tensor

Weights = dict[str, Tensor]

_PARTS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.", "quantize.")
_AROUND = ("first_stage_model.", "model.", "vae.", "module.")
"""What checkpoints of whole systems put before the names of the autoencoder's weights."""
_BLOCK = {"nin_shortcut": "conv_shortcut"}
_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
_LDM: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("encoder.down.{level}.block.{i}.", "encoder.down_blocks.{level}.resnets.{i}.", _BLOCK),
    ("encoder.down.{level}.attn.{i}.", "encoder.down_blocks.{level}.attentions.{i}.", _ATTENTION),
    ("encoder.down.{level}.downsample.", "encoder.down_blocks.{level}.downsamplers.0.", {}),
    ("decoder.up.{height}.block.{i}.", "decoder.up_blocks.{height}.resnets.{i}.", _BLOCK),
    ("decoder.up.{height}.attn.{i}.", "decoder.up_blocks.{height}.attentions.{i}.", _ATTENTION),
    ("decoder.up.{height}.upsample.", "decoder.up_blocks.{height}.upsamplers.0.", {}),
    *(
        (f"{part}.mid.{ldm}.", f"{part}.mid_block.{diffusers}.", names)
        for part in ("encoder", "decoder")
        for ldm, diffusers, names in (
            ("block_1", "resnets.0", _BLOCK),
            ("block_2", "resnets.1", _BLOCK),
            ("attn_1", "attentions.0", _ATTENTION),
        )
    ),
    *((f"{part}.norm_out.", f"{part}.conv_norm_out.", {}) for part in ("encoder", "decoder")),
)
"""What a name begins with in latent diffusion and in diffusers, and what the next part of it is called in either.

A `height` is a level of the decoder: diffusers counts from the lowest resolution, latent diffusion from the highest.
"""
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_MATRIX = re.compile(r"\.attentions\.\d+\.to_(q|k|v|out\.0)\.weight$")


def own_names(weights: Mapping[str, Tensor]) -> Weights:
    """Weights of any known layout by diffusers' names; what is not of the autoencoder, such as a loss, is left out.

    Raises:
        ValueError: in a line, if the layout is not known.
    """
    inner = _inner(weights)
    if any(re.match(r"(encoder\.down|decoder\.up|encoder\.mid)\.", name) for name in inner):
        inner = ldm_to_diffusers(inner)
    elif any(re.match(r"(encoder|decoder)\.\d+\.", name) for name in inner):
        inner = taesd_to_diffusers(inner)
    if not any(re.match(r"encoder\.(down_blocks|layers)\.", name) for name in inner):
        some = ", ".join(sorted(weights)[:2]) or "nothing"
        raise ValueError(f"holds no autoencoder of a known layout (diffusers, latent diffusion, TAESD): {some} ...")
    return {_modern(name): _as_linear(name, tensor) for name, tensor in inner.items()}


def ldm_to_diffusers(weights: Mapping[str, Tensor]) -> Weights:
    """From the names of latent diffusion and taming to those of diffusers."""
    levels = _levels(weights, r"decoder\.up\.(\d+)\.")
    found = {_renamed(name, levels, to_ldm=False): tensor for name, tensor in weights.items()}
    return {name: tensor.flatten(1) if _MATRIX.search(name) else tensor for name, tensor in found.items()}


def diffusers_to_ldm(weights: Mapping[str, Tensor]) -> Weights:
    """The reverse of `ldm_to_diffusers`."""
    levels = _levels(weights, r"decoder\.up_blocks\.(\d+)\.")
    return {
        _renamed(name, levels, to_ldm=True): tensor[:, :, None, None] if _MATRIX.search(name) else tensor
        for name, tensor in weights.items()
    }


def taesd_to_diffusers(weights: Mapping[str, Tensor]) -> Weights:
    """From encoder.N and decoder.N of TAESD's files to layers; its decoder counts the clamp at its beginning too."""

    def name_of(name: str) -> str:
        part, number, rest = name.split(".", 2)
        return f"{part}.layers.{int(number) - (part == 'decoder')}.{rest}"

    return {name_of(name): tensor for name, tensor in weights.items()}


def diffusers_to_taesd(weights: Mapping[str, Tensor]) -> Weights:
    """The reverse of `taesd_to_diffusers`."""

    def name_of(name: str) -> str:
        part, _, number, rest = name.split(".", 3)
        return f"{part}.{int(number) + (part == 'decoder')}.{rest}"

    return {name_of(name): tensor for name, tensor in weights.items()}


def _inner(weights: Mapping[str, Tensor]) -> Weights:
    """Those of the autoencoder, without what stands before their names; as they are if it has no such parts."""
    for before in ("", *_AROUND):
        found = {
            name.removeprefix(before): tensor
            for name, tensor in weights.items()
            if name.startswith(before) and name.removeprefix(before).startswith(_PARTS)
        }
        if found:
            return found
    return dict(weights)


def _levels(weights: Mapping[str, Tensor], pattern: str) -> int:
    return 1 + max((int(match[1]) for name in weights if (match := re.match(pattern, name))), default=0)


def _renamed(name: str, levels: int, to_ldm: bool) -> str:
    """A name of the one layout in the other, of networks with so many levels."""
    for pattern, beginning, names in _table(to_ldm):
        if match := pattern.match(name):
            numbers = {key: int(number) for key, number in match.groupdict().items()}
            if "height" in numbers:
                numbers["height"] = levels - 1 - numbers["height"]
            rest = name[match.end() :]
            found = next((one for one in names if rest == one or rest.startswith(f"{one}.")), "")
            return beginning.format(**numbers) + names.get(found, "") + rest.removeprefix(found)
    return name


@cache
def _table(to_ldm: bool) -> list[tuple[re.Pattern[str], str, dict[str, str]]]:
    """What a name begins with, what it begins with in the other layout, and the names there of what follows."""
    found = []
    for ldm, diffusers, names in _LDM:
        one, other = (diffusers, ldm) if to_ldm else (ldm, diffusers)
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>\\d+)", re.escape(one))
        found.append((re.compile(pattern), other, {b: a for a, b in names.items()} if to_ldm else names))
    return found


def _modern(name: str) -> str:
    before, dot, last = name.rpartition(".")
    block, _, matrix = before.rpartition(".")
    if ".attentions." in f"{block}." and matrix in _OLD_ATTENTION:
        return f"{block}.{_OLD_ATTENTION[matrix]}{dot}{last}"
    return name


def _as_linear(name: str, tensor: Tensor) -> Tensor:
    return tensor.flatten(1) if _MATRIX.search(_modern(name)) and tensor.ndim == 4 else tensor
