"""The weights of first-stage models by other names: of latent diffusion, of TAESD, of older diffusers.

All are turned into diffusers' own, which are those of the models here. Nothing but names and the shape of attention's
matrices, which are 1x1 convolutions in latent diffusion, is changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

Weights = dict[str, Tensor]

_PARTS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.", "quantize.")
_AROUND = ("first_stage_model.", "model.", "vae.", "module.")
"""What checkpoints of whole systems put before the names of the autoencoder's weights."""
_BLOCK = (("nin_shortcut", "conv_shortcut"),)
_ATTENTION = (("norm", "group_norm"), ("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0"))
_ENDS = (("norm_out", "conv_norm_out"),)
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
    found = {_from_ldm(name, levels): tensor for name, tensor in weights.items()}
    return {name: tensor.flatten(1) if _MATRIX.search(name) else tensor for name, tensor in found.items()}


def diffusers_to_ldm(weights: Mapping[str, Tensor]) -> Weights:
    """The reverse of `ldm_to_diffusers`."""
    levels = _levels(weights, r"decoder\.up_blocks\.(\d+)\.")
    return {
        _to_ldm(name, levels): tensor[:, :, None, None] if _MATRIX.search(name) else tensor
        for name, tensor in weights.items()
    }


def taesd_to_diffusers(weights: Mapping[str, Tensor]) -> Weights:
    """From encoder.N and decoder.N of TAESD's files to layers; its decoder counts the clamp at its beginning too."""

    def name_of(name: str) -> str:
        part, number, rest = name.split(".", 2)
        return f"{part}.layers.{int(number) - (part == 'decoder')}.{rest}"

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


def _renamed(text: str, names: tuple[tuple[str, str], ...], back: bool = False) -> str:
    """`text` with the beginning of it that is one of the names replaced."""
    for ldm, diffusers in names:
        one, other = (diffusers, ldm) if back else (ldm, diffusers)
        if text == one or text.startswith(f"{one}."):
            return other + text.removeprefix(one)
    return text


def _from_ldm(name: str, levels: int) -> str:
    if match := re.fullmatch(r"(encoder\.down|decoder\.up)\.(\d+)\.(block|attn)\.(\d+)\.(.*)", name):
        part, level, kind, number, rest = match.groups()
        place = f"{part}_blocks.{_reversed(part, level, levels)}"
        if kind == "block":
            return f"{place}.resnets.{number}.{_renamed(rest, _BLOCK)}"
        return f"{place}.attentions.{number}.{_renamed(rest, _ATTENTION)}"
    if match := re.fullmatch(r"(encoder\.down|decoder\.up)\.(\d+)\.(down|up)sample\.(.*)", name):
        part, level, kind, rest = match.groups()
        return f"{part}_blocks.{_reversed(part, level, levels)}.{kind}samplers.0.{rest}"
    if match := re.fullmatch(r"(encoder|decoder)\.mid\.(block|attn)_(\d)\.(.*)", name):
        part, kind, number, rest = match.groups()
        if kind == "block":
            return f"{part}.mid_block.resnets.{int(number) - 1}.{_renamed(rest, _BLOCK)}"
        return f"{part}.mid_block.attentions.{int(number) - 1}.{_renamed(rest, _ATTENTION)}"
    part, _, rest = name.partition(".")
    return f"{part}.{_renamed(rest, _ENDS)}"


def _to_ldm(name: str, levels: int) -> str:
    if match := re.fullmatch(r"(encoder\.down|decoder\.up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.*)", name):
        part, level, kind, number, rest = match.groups()
        place = f"{part}.{_reversed(part, level, levels)}"
        if kind == "resnets":
            return f"{place}.block.{number}.{_renamed(rest, _BLOCK, back=True)}"
        return f"{place}.attn.{number}.{_renamed(rest, _ATTENTION, back=True)}"
    if match := re.fullmatch(r"(encoder\.down|decoder\.up)_blocks\.(\d+)\.(down|up)samplers\.0\.(.*)", name):
        part, level, kind, rest = match.groups()
        return f"{part}.{_reversed(part, level, levels)}.{kind}sample.{rest}"
    if match := re.fullmatch(r"(encoder|decoder)\.mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        part, kind, number, rest = match.groups()
        if kind == "resnets":
            return f"{part}.mid.block_{int(number) + 1}.{_renamed(rest, _BLOCK, back=True)}"
        return f"{part}.mid.attn_{int(number) + 1}.{_renamed(rest, _ATTENTION, back=True)}"
    part, _, rest = name.partition(".")
    return f"{part}.{_renamed(rest, _ENDS, back=True)}"


def _reversed(part: str, level: str, levels: int) -> int:
    """diffusers counts the decoder's blocks from the lowest resolution, latent diffusion from the highest."""
    return levels - 1 - int(level) if part == "decoder.up" else int(level)


def _modern(name: str) -> str:
    before, dot, last = name.rpartition(".")
    block, _, matrix = before.rpartition(".")
    if ".attentions." in f"{block}." and matrix in _OLD_ATTENTION:
        return f"{block}.{_OLD_ATTENTION[matrix]}{dot}{last}"
    return name


def _as_linear(name: str, tensor: Tensor) -> Tensor:
    return tensor.flatten(1) if _MATRIX.search(_modern(name)) and tensor.ndim == 4 else tensor
