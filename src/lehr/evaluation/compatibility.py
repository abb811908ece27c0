"""Whether two autoencoders have one latent space, or spaces that a linear map takes to each other.

The map is fitted to half of the images and judged by the other half: positions of one image are not independent.

Shapes: n images, c h w image, zc zh zw latent map (a flat latent is one of 1 x 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from lehr.errors import DataError
from lehr.evaluation.fidelity import MOST
from lehr.evaluation.image_errors import in_8_bits
from lehr.evaluation.pictures import image_grid
from lehr.evaluation.reconstruction import mse, psnr
from lehr.posterior.posterior import Posterior

LEAST_IMAGES = 8
"""Four to fit a map and four to judge it, of which the debiased CKA needs as many."""
MOST_LOST = 1.0
"""dB: an error larger by a quarter."""
PER_WEIGHT = 4
"""Positions that a map is fitted to for each of its weights: with fewer it loses more than `MOST_LOST` by chance."""
_ROWS = 16  # images whose positions are looked at once
_RIDGE = 1e-10  # of each mean square, so that channels which are the same have a map too
_TINY = 1e-100  # for channels that are 0 everywhere
_AT_ONCE = 8  # images that pass a network at once
_SHOWN = 6


class Coder(Protocol):
    """What encodes images (b, c, h, w) in [0, 1], and decodes latents to such: a `Run` or a `LoadedModel`."""

    def encode(self, x: Tensor, /) -> Posterior: ...

    def decode(self, z: Tensor, /) -> Tensor: ...


@dataclass(frozen=True)
class Compatibility:
    """The latents of A beside those of B, at the means of the posteriors, for images that no map was fitted to.

    Attributes:
        cka: debiased linear CKA: 1 where latents are the same but for a rotation of channels and a scale, 0 where they
            have nothing in common. Channels with a large variance count for more.
        r2: of B's latents by the best affine map of A's at the same position, the mean over channels.
        r2_3x3: by the best one of A's 3 x 3 around it; None of flat latents, or of too few images.
        psnr_own: of B's latents decoded by B, in dB, pictures of 8 bits, the mean over images.
        psnr_mapped: of A's latents, mapped, decoded by B.
        psnr_mapped_3x3: the same with the other map.
        psnr_direct: of A's latents as they are, decoded by B; None where they have another number of channels.
        fitted, held_out: how many images there were.
        picture: images, B's own, and A's latents decoded by B, as they are and mapped: (c, H, W) uint8.
    """

    cka: float
    r2: float
    r2_3x3: float | None
    psnr_own: float
    psnr_mapped: float
    psnr_mapped_3x3: float | None
    psnr_direct: float | None
    fitted: int
    held_out: int
    picture: Tensor

    @property
    def are_interchangeable(self) -> bool:
        """Whether B decodes A's latents about as well as its own, as they are."""
        return self.psnr_direct is not None and self.psnr_own - self.psnr_direct <= MOST_LOST

    @property
    def are_linearly_mapped(self) -> bool:
        """Whether it does so after a linear map."""
        best = max(self.psnr_mapped, self.psnr_mapped if self.psnr_mapped_3x3 is None else self.psnr_mapped_3x3)
        return self.psnr_own - best <= MOST_LOST

    @property
    def sentence(self) -> str:
        """What was found, for people."""
        own = f"its own {self.psnr_own:.1f} dB"
        if self.are_interchangeable:
            return f"one latent space: the other decodes these latents with {self.psnr_direct:.1f} dB, {own}"
        direct = "has other channels" if self.psnr_direct is None else f"{self.psnr_direct:.1f} dB as they are"
        by = f"{self.psnr_mapped:.1f} dB by a linear map of each position"
        if self.psnr_mapped_3x3 is not None:
            by += f", {self.psnr_mapped_3x3:.1f} dB by one of 3 x 3"
        kind = "spaces that a linear map takes to each other" if self.are_linearly_mapped else "different latent spaces"
        return f"{kind}: the other decodes these latents with {by} ({direct}), {own}; CKA {self.cka:.2f}"


@torch.no_grad()
def compatibility(a: Coder, b: Coder, images: Tensor) -> Compatibility:
    """Compare the latent spaces of two autoencoders.

    Args:
        a, b: in evaluation mode.
        images: (n, c, h, w) in [0, 1]; every second one is for the maps.

    Raises:
        DataError: if there are too few images, the two have latent maps of other sizes, or B decodes its own latents no
            better than those of another image.
    """
    if len(images) < LEAST_IMAGES:
        raise DataError(f"images: {len(images)}, and two latent spaces are compared by {LEAST_IMAGES} or more")
    fit, held = images[::2], images[1::2]
    of_a, of_b = (_maps(_encoded(coder, fit)) for coder in (a, b))
    if of_a.shape[2:] != of_b.shape[2:]:
        here, there = (" x ".join(map(str, z.shape[1:])) for z in (of_a, of_b))
        raise DataError(
            f"latents of these images are {here} of the one and {there} of the other: positions cannot be compared; "
            "take models with the same down-sampling"
        )
    target = _encoded(b, held)
    held_a, held_b = _maps(_encoded(a, held)), _maps(target)
    cells = held_a[0, 0].numel()
    needed = {size: math.ceil(PER_WEIGHT * (held_a.shape[1] * size**2 + 1) / cells) for size in (1, 3)}
    if len(fit) < needed[1]:
        raise DataError(
            f"images: {len(images)}, and a map of {held_a.shape[1]} channels, {cells} positions an image, is fitted to "
            f"half of {2 * needed[1]} or more"
        )
    maps = {size: fit_map(of_a, of_b, size) for size in ((1, 3) if cells > 1 and len(fit) >= needed[3] else (1,))}
    mapped = {size: apply_map(weight, held_a) for size, weight in maps.items()}
    latents = {"own": held_b, **{f"mapped {size}": z for size, z in mapped.items()}}
    if held_a.shape == held_b.shape:
        latents["direct"] = held_a
    pictures = {name: _decoded(b, z.reshape(target.shape).to(target)) for name, z in latents.items()}
    held = held.cpu()
    decibels = {name: _psnr(held, y) for name, y in pictures.items()}
    of_another = _psnr(held.roll(1, 0), pictures["own"])
    if decibels["own"] - of_another <= MOST_LOST:
        raise DataError(
            f"the other decodes its own latents to images that are {decibels['own']:.1f} dB from their own and "
            f"{of_another:.1f} dB from another one: whether it decodes these latents cannot be told"
        )
    shown = [held, pictures["own"], *([pictures["direct"]] if "direct" in pictures else []), pictures["mapped 1"]]
    return Compatibility(
        cka=debiased_cka(held_a, held_b),
        r2=r_squared(mapped[1], held_b),
        r2_3x3=r_squared(mapped[3], held_b) if 3 in mapped else None,
        psnr_own=decibels["own"],
        psnr_mapped=decibels["mapped 1"],
        psnr_mapped_3x3=decibels.get("mapped 3"),
        psnr_direct=decibels.get("direct"),
        fitted=len(fit),
        held_out=len(held),
        picture=image_grid(torch.cat([part[:_SHOWN] for part in shown]), columns=min(_SHOWN, len(held))),
    )


def _decoded(coder: Coder, z: Tensor) -> Tensor:
    """E[x|z] (n, c, h, w) of latents (n, *latent), on the CPU."""
    return torch.cat([coder.decode(part).cpu() for part in z.split(_AT_ONCE)])


def _encoded(coder: Coder, images: Tensor) -> Tensor:
    """E[z|x] (n, *latent)."""
    return torch.cat([coder.encode(part).mean for part in images.split(_AT_ONCE)])


def debiased_cka(x: Tensor, y: Tensor) -> float:
    """Linear CKA (Kornblith et al. 2019) of latents (n, zc, zh, zw) and (n, zc', zh, zw), debiased.

    The unbiased HSIC of Song et al. 2012, section 3, with images as examples, summed over positions; so its expectation
    is 0 of independent latents, however many channels there are. It may be a little below 0, or beyond 1.
    """
    x, y = (z.double().flatten(2).permute(2, 0, 1) for z in (x, y))  # (positions, n, zc)
    sums = torch.zeros(3, dtype=torch.float64, device=x.device)
    for u, v in zip(x.split(_ROWS), y.split(_ROWS), strict=True):
        k, m = (_kernel(z) for z in (u, v))
        sums += torch.stack([_hsic(k, m), _hsic(k, k), _hsic(m, m)])
    of_both, of_x, of_y = sums.tolist()
    return of_both / (of_x * of_y) ** 0.5 if of_x > 0 and of_y > 0 else 0.0


def _kernel(z: Tensor) -> Tensor:
    """z z' of (positions, n, zc) centred, without its diagonal."""
    z = z - z.mean(1, keepdim=True)
    return (z @ z.mT).masked_fill(torch.eye(z.shape[1], dtype=torch.bool, device=z.device), 0.0)


def _hsic(k: Tensor, m: Tensor) -> Tensor:
    """Eq. 5 of Song et al. 2012 for kernels (positions, n, n) without diagonals, summed over positions."""
    n = k.shape[1]
    rows, columns = k.sum(2), m.sum(2)
    whole = rows.sum(1) * columns.sum(1) / ((n - 1) * (n - 2))
    crossed = 2 / (n - 2) * (rows * columns).sum(1)
    return (((k * m).sum((1, 2)) + whole - crossed) / (n * (n - 3))).sum()


def fit_map(x: Tensor, y: Tensor, size: int = 1) -> Tensor:
    """The affine map of least squares from `size` x `size` positions of x (n, zc, zh, zw) to one of y (n, zc', zh, zw).

    Positions beyond the border are zeros, as a convolution has them. By the normal equations, in float64.

    Returns:
        (zc size size + 1, zc'), the last row the intercept.
    """
    gram: Tensor | float = 0.0
    moment: Tensor | float = 0.0
    for part, target in zip(x.split(_ROWS), y.split(_ROWS), strict=True):
        rows, wanted = _rows(part, size), target.double().movedim(1, -1).flatten(0, 2)
        gram, moment = gram + rows.T @ rows, moment + rows.T @ wanted
    assert isinstance(gram, Tensor)
    scale = gram.diagonal().clamp(min=_TINY).sqrt()[:, None]
    ridge = _RIDGE * torch.eye(len(gram), dtype=gram.dtype)
    return torch.linalg.solve(gram / scale / scale.T + ridge, moment / scale) / scale


def apply_map(weight: Tensor, x: Tensor) -> Tensor:
    """What `fit_map` gives, of latents (n, zc, zh, zw): (n, zc', zh, zw) float64."""
    size = round(((len(weight) - 1) / x.shape[1]) ** 0.5)
    parts = [(_rows(part, size) @ weight).unflatten(0, (len(part), *x.shape[2:])) for part in x.split(_ROWS)]
    return torch.cat(parts).movedim(-1, 1)


def _rows(x: Tensor, size: int) -> Tensor:
    """(n zh zw, zc size size + 1): what lies around each position, and 1."""
    around = F.unfold(x.double(), size, padding=size // 2).movedim(1, -1).flatten(0, 1)
    return F.pad(around, (0, 1), value=1.0)


def r_squared(found: Tensor, expected: Tensor) -> float:
    """1 - |expected - found|^2 / |expected - mean|^2 of (n, zc, zh, zw), the mean of channels that are not constant."""
    found, expected = found.double(), expected.double()
    dims = (0, 2, 3)
    total = (expected - expected.mean(dims, keepdim=True)).square().sum(dims)
    rest = (expected - found).square().sum(dims)
    varies = total > 0
    return float((1 - rest[varies] / total[varies]).mean()) if varies.any() else 0.0


def _maps(z: Tensor) -> Tensor:
    """Latents as maps (n, zc, zh, zw), on the CPU."""
    z = z.detach().cpu()
    return z if z.ndim == 4 else z.flatten(1)[:, :, None, None]


def _psnr(images: Tensor, found: Tensor) -> float:
    return float(psnr(mse(in_8_bits(images), in_8_bits(found)).clamp(min=10 ** (-MOST / 10))).mean())
