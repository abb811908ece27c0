"""A large map in overlapping tiles, each by itself, whose results are blended: for less memory.

Shapes: b batch, c h w map; a tile is counted in cells, positions of the latent map.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_OVERLAP = 4  # the part of a tile that is shared with the next one is 1 / _OVERLAP of it, as diffusers has it


def tiled(network: Callable[[Tensor], Tensor], x: Tensor, tile: int, cell_in: int, cell_out: int) -> Tensor:
    """`network` on tiles of x (b, c, h, w), blended linearly where they overlap; at once if x is a single tile.

    Args:
        network: gives maps of cell_out / cell_in times the size.
        x: with sides that are multiples of `cell_in`.
        tile: cells along the side of a tile, at least 4.
        cell_in, cell_out: pixels along the side of a cell in what the network takes and gives.
    """
    height, width = x.shape[2] // cell_in, x.shape[3] // cell_in
    if height <= tile and width <= tile:
        return network(x)
    found: Tensor | None = None
    weights: Tensor | None = None
    for top in _starts(height, tile):
        for left in _starts(width, tile):
            part = network(x[:, :, _pixels(top, tile, cell_in), _pixels(left, tile, cell_in)])
            weight = _ramp(part.shape[2], tile, cell_out)[:, None] * _ramp(part.shape[3], tile, cell_out)
            weight = weight.to(part)
            if found is None or weights is None:
                found = part.new_zeros(*part.shape[:2], height * cell_out, width * cell_out)
                weights = torch.zeros_like(found[:1, :1])
            rows, columns = _pixels(top, tile, cell_out), _pixels(left, tile, cell_out)
            found[:, :, rows, columns] += part * weight
            weights[:, :, rows, columns] += weight
    assert found is not None
    assert weights is not None
    return found / weights


def _pixels(start: int, tile: int, cell: int) -> slice:
    return slice(start * cell, (start + tile) * cell)


def _starts(cells: int, tile: int) -> list[int]:
    """Where tiles begin, so that the last one ends with the map."""
    last = max(0, cells - tile)
    return [*range(0, last, tile - tile // _OVERLAP), last]


def _ramp(pixels: int, tile: int, cell: int) -> Tensor:
    """(pixels,) weights of a tile's rows or columns: rising from its ends over what it shares with the next."""
    place = torch.arange(pixels, dtype=torch.float32)
    shared = tile // _OVERLAP * cell
    return torch.minimum(place + 1, pixels - place).clamp(max=shared) / shared
