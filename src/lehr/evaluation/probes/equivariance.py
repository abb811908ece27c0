"""Whether what is done to a latent map is done to its image: shifts by a cell, flips, turns and scales.

A flip or a turn has a floor: an encoder whose strided convolutions are padded at the right and below alone, as those
of latent diffusion are, has its cells (f - 1) / 2 pixels off the middle, 3.5 of f = 8, and a flip takes that to the
other side.

Shapes: b batch, c h w image, zc zh zw latent map; f = h / zh pixels to a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lehr.evaluation.fidelity import MOST
from lehr.evaluation.pictures import image_grid
from lehr.evaluation.probes.probe import Probe, Probed, ProbeInputs, lacks_map
from lehr.evaluation.reconstruction import mse, psnr
from lehr.objective.terms.equivariance import scaled_and_turned

MOST_LOST = 3.0
"""dB by a shift of a whole cell: twice the squared error. Convolutions with this stride do not see such a shift, and
what norms over the whole map and attention see of it costs little (1.1 dB of TAEF2), so a model that loses more goes by
where on the map something lies. Of flips, turns and scales nothing is a fault: no autoencoder that was not trained for
them has them (TAEF2 loses 8.5 to 10 dB), and nobody asks for them but who trains it so.
"""
_LEAST_CELLS = 4  # along a side, so that something lies within after a shift


Coded = tuple[Tensor, Tensor, Tensor]
"""Images in [0, 1], their latents, and what these are decoded to."""


@dataclass(frozen=True)
class Transform:
    """Of maps, be they images or latents.

    Attributes:
        of: maps (b, c, h, w) and the size of a cell in them, f of images and 1 of latents -> transformed.
        of_any_size: whether it needs a model that takes other sizes.
        inside: whether only the middle half is compared, away from what the border is padded with.
    """

    of: Callable[[Tensor, int], Tensor]
    of_any_size: bool = False
    inside: bool = False


def _halved(x: Tensor, cell: int) -> Tensor:
    return scaled_and_turned(x, [max(1, side // cell // 2) * cell for side in x.shape[2:]], 0)


TRANSFORMS = {
    "shift": Transform(lambda x, cell: x[..., cell:, cell:], of_any_size=True, inside=True),
    "flip_horizontal": Transform(lambda x, cell: x.flip(-1)),
    "flip_vertical": Transform(lambda x, cell: x.flip(-2)),
    "rotation": Transform(lambda x, cell: scaled_and_turned(x, x.shape[2:], 1)),
    "scale": Transform(_halved, of_any_size=True),
}
"""T: without the first row and column of cells; mirrored; turned by 90 degrees; at half the size, bilinear."""


@dataclass(frozen=True)
class Errors:
    """How far a model is from equivariance; errors are relative to the deviation of maps from their channels' means.

    Attributes:
        encoder: |enc(T x) - T enc(x)| / |T enc(x) - mean|.
        decoder: |dec(T z) - T dec(z)| / |T dec(z) - mean|.
        lost: PSNR of dec(enc(T x)) less that of dec(T enc(x)), both against T x, in dB, the mean over images.
    """

    encoder: float
    decoder: float
    lost: float


def equivariance(
    transform: Transform,
    encode: Callable[[Tensor], Tensor],
    decode: Callable[[Tensor], Tensor],
    coded: Iterable[Coded],
    cell: int,
) -> Errors:
    """Measure one transform.

    Args:
        transform: T.
        encode: images (b, c, h, w) to latents (b, zc, zh, zw).
        decode: the reverse.
        coded: batches of images whose sides are multiples of `cell`.
        cell: f.
    """
    encoder, decoder, lost, n = _Relative(), _Relative(), 0.0, 0
    for x, z, decoded in coded:
        moved, moved_z = transform.of(x, cell), transform.of(z, 1)
        of_moved = encode(moved)
        own, y = decode(of_moved), decode(moved_z)
        expected = transform.of(decoded, cell)
        parts = [_middle(map_) if transform.inside else map_ for map_ in (of_moved, moved_z, y, expected, own, moved)]
        encoder.add(parts[0], parts[1])
        decoder.add(parts[2], parts[3])
        lost += float((_psnr(parts[4], parts[5]) - _psnr(parts[2], parts[5])).sum())
        n += len(x)
    return Errors(encoder.error, decoder.error, lost / n)


class _Relative:
    """|found - expected| / |expected - the mean of its channel|, over all that is added."""

    def __init__(self) -> None:
        self._error = self._scale = 0.0

    def add(self, found: Tensor, expected: Tensor) -> None:
        found, expected = found.double(), expected.double()
        self._error += float((found - expected).square().sum())
        self._scale += float((expected - expected.mean((0, 2, 3), keepdim=True)).square().sum())

    @property
    def error(self) -> float:
        return (self._error / self._scale) ** 0.5 if self._scale else float(self._error > 0)


def _middle(x: Tensor) -> Tensor:
    top, left = (side // 4 for side in x.shape[2:])
    return x[..., top : x.shape[2] - top, left : x.shape[3] - left]


def _psnr(found: Tensor, expected: Tensor) -> Tensor:
    return psnr(mse(found.double().clamp(0, 1), expected.double()).clamp(min=10 ** (-MOST / 10)))


def _equivariance(inputs: ProbeInputs) -> Probed:
    cell = inputs.factor
    images = [_whole_cells(x, cell) if inputs.model.any_size else x for x in inputs.images]
    encode, decode = _encoding(inputs), _decoding(inputs)
    coded = [(x, z := encode(x), decode(z)) for x in images]
    square = all(x.shape[2] == x.shape[3] for x in images)
    values: dict[str, float] = {}
    lost: dict[str, float] = {}
    for name, transform in TRANSFORMS.items():
        if not inputs.model.any_size and (transform.of_any_size or (name == "rotation" and not square)):
            continue
        errors = equivariance(transform, encode, decode, coded, cell)
        values |= {f"{name}_lost": errors.lost, f"{name}_encoder": errors.encoder, f"{name}_decoder": errors.decoder}
        lost[name] = errors.lost
    worst = max(lost, key=lambda name: lost[name])
    sentence = (
        f"latents that undergo {worst.replace('_', ' ')} decode to images that are {lost[worst]:.1f} dB further from "
        f"the transformed ones than reconstructions of these are ({_others(lost, worst)})"
    )
    is_fault = lost.get("shift", 0.0) > MOST_LOST
    if is_fault:
        sentence += f"; a shift by a cell, which convolutions do not see, costs {lost['shift']:.1f} dB"
    else:
        sentence += f"; only a shift that costs more than {MOST_LOST:g} dB is a fault"
    picture = _picture(encode, decode, images[0][:1], list(lost), cell)
    return Probed({"lost": lost[worst], **values}, sentence, is_fault, picture)


def _whole_cells(x: Tensor, cell: int) -> Tensor:
    return x[..., : x.shape[2] // cell * cell, : x.shape[3] // cell * cell]


def _others(lost: dict[str, float], worst: str) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.1f}" for name, value in lost.items() if name != worst)


def _encoding(inputs: ProbeInputs) -> Callable[[Tensor], Tensor]:
    return lambda x: inputs.encode(x).mean


def _decoding(inputs: ProbeInputs) -> Callable[[Tensor], Tensor]:
    cell = inputs.factor

    def decode(z: Tensor) -> Tensor:
        # what model.fit adds around images of its own size is not of the cells
        return inputs.decode(z)[..., : z.shape[2] * cell, : z.shape[3] * cell]

    return decode


def _picture(
    encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor], x: Tensor, names: list[str], cell: int
) -> Tensor:
    """A row for each transform: T x, dec(enc(T x)), dec(T enc(x))."""
    tiles = []
    for name in names:
        transform = TRANSFORMS[name]
        moved = transform.of(x, cell)
        shown = [moved, decode(encode(moved)), decode(transform.of(encode(x), 1))]
        tiles += [F.interpolate(tile, x.shape[2:], mode="nearest") for tile in shown]
    return image_grid(torch.cat(tiles), columns=3)


def _lacks(inputs: ProbeInputs) -> str | None:
    if (reason := lacks_map(inputs)) is not None:
        return reason
    cells = min(side // inputs.factor for x in inputs.images for side in x.shape[2:])
    return None if cells >= _LEAST_CELLS else f"needs {_LEAST_CELLS} cells along each side of an image, here {cells}"


EQUIVARIANCE = Probe("equivariance", _equivariance, _lacks)
