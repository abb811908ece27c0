"""Grids of images as one picture, PNG and GIF."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lehr.errors import NonFinite
from lehr.files import replacing
from lehr.finite import DIVERGED
from lehr.tensors import MODEL

if TYPE_CHECKING:
    from torch import Tensor

_SMALLEST_SIDE = 48  # pixels of a tile: smaller images are enlarged by whole factors, so that a person sees them
GAP = 2
"""Pixels around each tile of a grid."""
_BACKGROUND = 255
NOTHING_ABOUT: Mapping[str, str] = {}
ERROR_FACTOR = 4
ERROR_SCALE = f"{ERROR_FACTOR} times the absolute error: white is {1 / ERROR_FACTOR:g} or more of the range of a pixel"


def image_grid(images: Tensor, columns: int | None = None) -> Tensor:
    """Images (n, c, h, w) in [0, 1] side by side: one picture (c, H, W) uint8, rows filled from the left.

    Small images are enlarged without smoothing. 1, 3 or 4 channels; with any other number the first is shown.

    Raises:
        NonFinite: if a pixel is NaN, which no picture can show.
    """
    import torch

    _require_numbers(images)
    n, channels, height, width = images.shape
    if channels not in (1, 3, 4):
        images, channels = images[:, :1], 1
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    factor = max(1, math.ceil(_SMALLEST_SIDE / min(height, width)))
    tiles = images.detach().float().clamp(0, 1).mul(255).round().to("cpu", torch.uint8)
    tiles = torch.cat([tiles, tiles.new_full((rows * columns - n, *tiles.shape[1:]), _BACKGROUND)])
    tiles = tiles.view(rows, columns, channels, height, width).permute(2, 0, 3, 1, 4)  # (c, rows, h, columns, w)
    height, width = height * factor, width * factor
    grid = torch.full(
        (channels, rows * (height + GAP) + GAP, columns * (width + GAP) + GAP), _BACKGROUND, dtype=torch.uint8
    )
    places = grid[:, GAP:, GAP:].unflatten(1, (rows, height + GAP)).unflatten(3, (columns, width + GAP))
    places = places[:, :, :height, :, :width].unflatten(2, (-1, factor)).unflatten(5, (-1, factor))
    places.copy_(tiles[:, :, :, None, :, :, None])
    return grid


def error_images(images: Tensor, reconstructions: Tensor) -> Tensor:
    """|x - y| as images (n, c, h, w) in [0, 1]: see `ERROR_SCALE`, the same for every picture.

    The opacity of four channels is left at 1, and its error shown in all colours.
    """
    import torch

    error = ERROR_FACTOR * (images - reconstructions.clamp(0, 1)).abs()
    if images.shape[1] == 4:
        error = torch.cat([error[:, :3].maximum(error[:, 3:]), torch.ones_like(error[:, 3:])], 1)
    return error.clamp(max=1)


def _require_numbers(images: Tensor) -> None:
    if wrong := int(images.isnan().flatten(1).any(1).sum()):
        raise NonFinite(f"pictures: {wrong:,} of {len(images):,} images have pixels that are NaN; {DIVERGED}")


def _to_pil(picture: Tensor) -> object:
    from PIL import Image

    array = picture.permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def png(picture: Tensor, about: Mapping[str, str] = NOTHING_ABOUT) -> bytes:
    """A picture (c, H, W) uint8 as the bytes of a PNG, and texts that it holds, by name."""
    from PIL.PngImagePlugin import PngInfo

    texts, found = PngInfo(), BytesIO()
    for name, text in about.items():
        texts.add_text(name, text)
    # by runs: half the time of deflating at level 4, and as many bytes, of photographs too
    _to_pil(picture).save(found, format="PNG", pnginfo=texts, compress_type=zlib.Z_RLE)  # type: ignore[attr-defined]
    return found.getvalue()


def save_png(path: Path, picture: Tensor, model: str | None = None, note: str | None = None) -> None:
    """Write a picture (c, H, W) uint8 as PNG; the id of the model that made it becomes its text `model`.

    What there is to say of it becomes its text `Description`.
    """
    about = {MODEL: model, "Description": note}
    with replacing(path) as temporary:
        temporary.write_bytes(png(picture, {name: text for name, text in about.items() if text is not None}))


def save_gif(path: Path, images: Tensor, milliseconds: int = 80, model: str | None = None) -> None:
    """Write images (n, c, h, w) in [0, 1] as an animation that runs to the end and back, for ever.

    The id of the model that made it becomes its comment.
    """
    about = {} if model is None else {"comment": f"{MODEL} {model}"}
    frames = [_to_pil(image_grid(image[None], columns=1)) for image in images]
    frames += frames[-2:0:-1]
    with replacing(path) as temporary:
        frames[0].save(  # type: ignore[attr-defined]
            temporary, format="GIF", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0, **about
        )


def save_npy(path: Path, images: Tensor) -> None:
    """Write the pixel values (n, c, h, w) in [0, 1] as float32.

    Raises:
        NonFinite: if a pixel is NaN.
    """
    _require_numbers(images)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, images.detach().float().cpu().numpy())
