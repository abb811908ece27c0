"""How much generated images are like real ones, told from their features. All in float64.

Shapes: n real and m generated ("fake") images, f features. None of these numbers means anything by itself: each has
the value of real images against other real images beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lehr.errors import DataError

NEAREST = 5
"""k of density and coverage (Naeem et al. 2020, section 4)."""

_BLOCK = 2**23  # values of a block of pairs: 64 MiB, whatever the number of images


@dataclass(frozen=True)
class Generation:
    """What features say of generated images.

    Attributes:
        frechet: Frechet distance, in squared units of the features; 0 is best.
        kernel: kernel distance, unbiased, so about 0 and now and then negative for images of the same kind.
        density: how closely real images surround a generated one; about 1 for images of the same kind, not bounded.
        coverage: the part of the real images that have a generated one near, in [0, 1].
        n_real, n_fake: numbers of images.
        note: what to beware of, empty if nothing.
    """

    frechet: float
    kernel: float
    density: float
    coverage: float
    n_real: int
    n_fake: int
    note: str = ""


def compare_features(fake: Tensor, real: Tensor) -> Generation:
    """Compare the features of generated images, (m, f), with those of real ones, (n, f).

    Raises:
        DataError: if there are too few images of either kind, or a feature is not finite.
        ValueError: if the two do not have the same features.
    """
    if fake.ndim != 2 or real.ndim != 2 or fake.shape[1] != real.shape[1]:
        raise ValueError(f"expected features (m, f) and (n, f), got {tuple(fake.shape)} and {tuple(real.shape)}")
    for kind, x in (("generated", fake), ("real", real)):
        if len(x) <= NEAREST:
            raise DataError(f"generation: {len(x)} {kind} images are too few, {NEAREST + 1} or more are needed")
        if not x.isfinite().all():
            raise DataError(f"generation: a feature of the {kind} images is not finite")
    fake, real = fake.double(), real.double()
    density, coverage = density_and_coverage(fake, real)
    return Generation(
        frechet=frechet_distance(fake, real),
        kernel=kernel_distance(fake, real),
        density=density,
        coverage=coverage,
        n_real=len(real),
        n_fake=len(fake),
        note=_rank_note(fake, real),
    )


def _rank_note(fake: Tensor, real: Tensor) -> str:
    f = real.shape[1]
    few = [f"{len(x)} {kind}" for kind, x in (("generated", fake), ("real", real)) if len(x) <= f]
    if not few:
        return ""
    return f"covariance rank-deficient: {' and '.join(few)} images for {f} features, so frechet is far too large"


def frechet_distance(fake: Tensor, real: Tensor) -> float:
    """|mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), with covariances over n - 1. Heusel et al. 2017, eq. 6.

    The squared 2-Wasserstein distance of the two Gaussians with these moments. Biased upwards by few images (Binkowski
    et al. 2018, section 3), so only values of equally many images compare. With at most f images a covariance is
    singular: the distance is still defined, but the bias is as large as what is measured.
    """
    mean_fake, root_fake = _moments(fake)
    mean_real, root_real = _moments(real)
    # With S = R'R the trace of (S1 S2)^(1/2) is the sum of the singular values of R1 R2': nothing is squared and then
    # rooted again, so a singular covariance costs no accuracy.
    cross = torch.linalg.svdvals(root_fake @ root_real.T).sum()
    total = (mean_fake - mean_real).square().sum() + root_fake.square().sum() + root_real.square().sum() - 2 * cross
    return max(float(total), 0.0)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (f,) and a root R (min(n, f), f) of the covariance R'R."""
    mean = x.mean(0)
    return mean, torch.linalg.qr((x - mean) / (len(x) - 1) ** 0.5, mode="r").R


def kernel_distance(fake: Tensor, real: Tensor) -> float:
    """Unbiased MMD^2 with the kernel (x.y / f + 1)^3 over all pairs of images. Binkowski et al. 2018, eq. 4.

    KID is customarily the mean of this over random subsets of 1,000 images: the same expectation, more variance.
    """
    return _mean_kernel(fake) + _mean_kernel(real) - 2 * float(_kernel_sum(fake, real)) / (len(fake) * len(real))


def _mean_kernel(x: Tensor) -> float:
    """Mean of the kernel over the pairs of two different images."""
    own = _cubic(x.square().sum(1), x.shape[1]).sum()
    return float(_kernel_sum(x, x) - own) / (len(x) * (len(x) - 1))


def _kernel_sum(x: Tensor, y: Tensor) -> Tensor:
    return torch.stack([_cubic(x[rows] @ y.T, x.shape[1]).sum() for rows in _blocks(len(x), len(y))]).sum()


def _cubic(products: Tensor, f: int) -> Tensor:
    return (products / f + 1) ** 3


def density_and_coverage(fake: Tensor, real: Tensor, k: int = NEAREST) -> tuple[float, float]:
    """Density and coverage of Naeem et al. 2020, eqs. 3 and 4, in the strict form of their code.

    Around each real image lies a ball that reaches to its k-th nearest real neighbour. Density is the number of balls
    a generated image lies in, over k, on average; coverage is the part of the balls that hold a generated image. Of
    images of the same kind, equally many, density is expected to be 1 and coverage 1 - 2^-k.
    """
    # Distances do not depend on the origin, their rounding does.
    centre = real.mean(0)
    fake, real = fake - centre, real - centre
    inside, covered = 0, 0
    for rows in _blocks(len(real), max(len(real), len(fake))):
        to_real = _squared_distances(real[rows], real)
        to_real[torch.arange(len(to_real)), torch.arange(rows.start, rows.stop)] = torch.inf  # not its own neighbour
        radius = to_real.topk(k, dim=1, largest=False).values[:, -1:]
        hits = (_squared_distances(real[rows], fake) < radius).sum(1)
        inside += int(hits.sum())
        covered += int((hits > 0).sum())
    return inside / (k * len(fake)), covered / len(real)


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    return (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * (x @ y.T)).clamp(min=0)


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    """The rows of a matrix, cut so that no part of it has more than a bounded number of values."""
    size = max(1, _BLOCK // columns)
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))
