"""What a program hands to a run: whether it is what the run was trained on, and as the model takes it.

Images are float in [0, 1], 8-bit levels (divided by 255, as those in files are) or bool; tensors or numpy arrays, which
may be larger than memory. They are looked at and converted in blocks of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from lehr.data.images import to_pixels
from lehr.errors import DataError

Images: TypeAlias = "Tensor | np.ndarray"

_ROUNDING = 1e-5
"""What an average of pixels may lie outside of [0, 1]."""
_ROWS = 1024

_ADVICE = ": x / 255, if they are levels of 8 bits"


def check_images(x: Images, image_shape: tuple[int, ...], any_size: bool = False) -> None:
    """Check for images (b, c, h, w): float in [0, 1], uint8 or bool; with `any_size` of any height and width.

    Raises:
        DataError: for another type, another shape, NaN, or values outside of the range.
    """
    _require_kind("images", x, (np.ndarray, Tensor), "a torch.Tensor or a numpy array")
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        raise DataError("images: has masked values; say what they are, as in images.filled(0)")
    if not (_is_float(x) or _dtype(x) in ("uint8", "bool")):
        raise DataError(f"images: got {x.dtype}, expected floating point in [0, 1], uint8 or bool{_ADVICE}")
    _require_shape("images", x, image_shape, any_size)
    if _is_float(x):
        low, high = _require_finite("images", x)
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise DataError(f"images: values from {low:g} to {high:g}, expected [0, 1]{_ADVICE * (high > 2)}")
    elif _dtype(x) == "uint8" and max((int(part.max()) for part in _blocks(x, _ROWS) if len(part)), default=0) == 1:
        raise DataError(
            "images: only 0 and 1 as uint8, which means 0 and 1/255: hand over binary images as bool or float"
        )


def pixels(x: Images, rows: int) -> Iterator[Tensor]:
    """Images that `check_images` has passed, `rows` of them at a time, as floats in [0, 1] where they lie; no rows give
    one block of none."""
    for part in _blocks(x, rows):
        tensor = part if isinstance(part, Tensor) else _tensor(part)
        yield tensor.to(torch.float32) if tensor.dtype == torch.bool else to_pixels(tensor)


def check_latents(z: Tensor, latent_shape: tuple[int, ...], any_size: bool = False) -> None:
    """Check for latents (b, *latent); with `any_size` for maps of any height and width.

    Raises:
        DataError: for another type, another shape, or NaN.
    """
    _require_kind("latents", z, (Tensor,), "a torch.Tensor")
    if not z.is_floating_point():
        raise DataError(f"latents: got {z.dtype}, expected floating point")
    _require_shape("latents", z, latent_shape, any_size)
    _require_finite("latents", z)


def _require_kind(what: str, given: object, kinds: tuple[type, ...], words: str) -> None:
    if not isinstance(given, kinds):
        raise DataError(f"{what}: got {type(given).__name__}, expected {words}")
    if isinstance(given, Tensor) and (given.layout != torch.strided or given.is_meta):
        kind = "a meta" if given.is_meta else f"a {given.layout}".replace("torch.", "")
        raise DataError(f"{what}: got {kind} tensor, expected one whose numbers are all there")


def _require_shape(what: str, given: Images, shape: tuple[int, ...], any_size: bool) -> None:
    if any_size and given.ndim == 4 and given.shape[1] == shape[0] and 0 not in given.shape[2:]:
        return
    if tuple(given.shape[1:]) != tuple(shape) or given.ndim != len(shape) + 1:
        wanted = f"(b, {', '.join(map(str, shape))})"
        raise DataError(f"{what}: got shape {tuple(given.shape)}, expected {wanted}{_how_to_reshape(given, shape)}")


def _how_to_reshape(given: Images, shape: tuple[int, ...]) -> str:
    """What makes (b, c, h, w) of images in another customary order, where this is one."""
    if len(shape) != 3:
        return ""
    c, h, w = shape
    there = tuple(given.shape)
    permuted = "x.permute(0, 3, 1, 2)" if isinstance(given, Tensor) else "x.transpose(0, 3, 1, 2)"
    if there[1:] == (h, w, c):
        return f": {permuted}, if channels come last"
    if there == (c, h, w):
        return ": x[None], if it is a single image"
    return ": x[:, None], if the only channel is left out" if there[1:] == (h, w) and c == 1 else ""


def _require_finite(what: str, given: Images) -> tuple[float, float]:
    """The lowest and the highest value.

    Raises:
        DataError: if one is not finite.
    """
    low, high, wrong, first, start = float("inf"), -float("inf"), 0, -1, 0
    for part in _blocks(given, _ROWS):
        block = part.detach() if isinstance(part, Tensor) else _tensor(part)
        if block.numel():
            bounds = block.aminmax()
            low, high = min(low, bounds.min.item()), max(high, bounds.max.item())
            if not np.isfinite((bounds.min.item(), bounds.max.item())).all():
                bad = ~torch.isfinite(block).flatten(1).all(1)
                first = first if wrong else start + int(bad.int().argmax())
                wrong += int(bad.sum())
        start += len(block)
    if wrong:
        raise DataError(f"{what}: NaN or infinity in {wrong} of {len(given)}, first in number {first}")
    return (low, high) if low <= high else (0.0, 0.0)


def _blocks(x: Images, rows: int) -> Iterator[Images]:
    for start in range(0, max(len(x), 1), rows):
        yield x[start : start + rows]


def _tensor(block: np.ndarray) -> Tensor:
    """A block of its own, whatever memory and order of bytes it came from."""
    if block.dtype.kind == "f":
        return torch.from_numpy(np.array(block, dtype=np.float32 if block.dtype.itemsize <= 4 else np.float64))
    return torch.from_numpy(np.array(block))


def _is_float(x: Images) -> bool:
    return x.is_floating_point() if isinstance(x, Tensor) else x.dtype.kind == "f"


def _dtype(x: Images) -> str:
    return str(x.dtype).removeprefix("torch.")
