"""diffusers' networks, imported when one is built."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Trunk:
    """The residual networks of Rombach et al. 2022, in numbers.

    Attributes:
        channels: of each level.
        attention: the levels whose blocks have attention, 0 is the full resolution.
        layers: residual blocks of each level of the encoder; the decoder has one more.
        mid_attention: whether there is attention between the two blocks at the lowest resolution.
        norm_groups: of the group norms.
    """

    channels: tuple[int, ...]
    attention: tuple[int, ...]
    layers: int
    mid_attention: bool
    norm_groups: int

    @classmethod
    def of(
        cls,
        base_channels: int,
        channel_multipliers: Sequence[int],
        attention_levels: Sequence[int],
        layers: int,
        mid_attention: bool,
        norm_groups: int,
    ) -> Trunk:
        """From the arguments of a model.

        Raises:
            ValueError: if they do not fit together.
        """
        levels = len(channel_multipliers)
        if beyond := [level for level in attention_levels if level >= levels]:
            raise ValueError(f"model.attention_levels: {beyond[0]} is no level of the {levels}, 0 to {levels - 1}")
        if base_channels % norm_groups:
            raise ValueError(f"model.base_channels={base_channels}: must be a multiple of norm_groups={norm_groups}")
        channels = tuple(base_channels * multiplier for multiplier in channel_multipliers)
        return cls(channels, tuple(attention_levels), layers, mid_attention, norm_groups)

    @property
    def factor(self) -> int:
        """Of the down-sampling."""
        return 1 << (len(self.channels) - 1)

    def encoder(self, in_channels: int, out_channels: int) -> nn.Module:
        """From images (b, in_channels, h, w) to (b, out_channels, h / factor, w / factor)."""
        from diffusers.models.autoencoders.vae import Encoder

        return Encoder(
            in_channels,
            out_channels,
            down_block_types=self._blocks("DownEncoderBlock2D", range(len(self.channels))),
            block_out_channels=self.channels,
            layers_per_block=self.layers,
            norm_num_groups=self.norm_groups,
            double_z=False,
            mid_block_add_attention=self.mid_attention,
        )

    def decoder(self, in_channels: int, out_channels: int) -> nn.Module:
        """The reverse."""
        from diffusers.models.autoencoders.vae import Decoder

        return Decoder(
            in_channels,
            out_channels,
            up_block_types=self._blocks("UpDecoderBlock2D", reversed(range(len(self.channels)))),
            block_out_channels=self.channels,
            layers_per_block=self.layers,
            norm_num_groups=self.norm_groups,
            mid_block_add_attention=self.mid_attention,
        )

    def config(self) -> dict[str, Any]:
        """As diffusers' classes take it."""
        levels = range(len(self.channels))
        return {
            "down_block_types": list(self._blocks("DownEncoderBlock2D", levels)),
            "up_block_types": list(self._blocks("UpDecoderBlock2D", reversed(levels))),
            "block_out_channels": list(self.channels),
            "layers_per_block": self.layers,
            "norm_num_groups": self.norm_groups,
            "mid_block_add_attention": self.mid_attention,
            "act_fn": "silu",
        }

    def _blocks(self, name: str, levels: Iterable[int]) -> tuple[str, ...]:
        return tuple(f"Attn{name}" if level in self.attention else name for level in levels)
