"""Latent spaces that are the same, the same but for a linear map, and others."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lehr.errors import DataError
from lehr.evaluation.compatibility import apply_map, compatibility, debiased_cka, fit_map, r_squared
from lehr.posterior import Point


class Cells:
    """Encodes cells of 2 x 2 pixels by an orthogonal matrix, and so without loss, or with only some of its rows."""

    def __init__(self, seed: int = 0, channels: int = 12, mixed: Tensor | None = None) -> None:
        square = torch.randn(12, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.matrix = torch.linalg.qr(square)[0][:channels]
        self.mixed = torch.eye(channels, dtype=torch.float64) if mixed is None else mixed

    def encode(self, x: Tensor) -> Point:
        cells = torch.nn.functional.pixel_unshuffle(x.double(), 2)
        return Point(torch.einsum("dc,bchw->bdhw", self.mixed @ self.matrix, cells) + 0.5)

    def decode(self, z: Tensor) -> Tensor:
        z = torch.einsum("cd,bdhw->bchw", self.matrix.T @ self.mixed.inverse(), z.double() - 0.5)
        return torch.nn.functional.pixel_shuffle(z, 2).float()


def rotation(n: int) -> Tensor:
    return torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(9), dtype=torch.float64))[0]


IMAGES = torch.rand(40, 3, 12, 8, generator=torch.Generator().manual_seed(3))


def test_a_space_and_itself_are_one():
    found = compatibility(Cells(channels=6), Cells(channels=6), IMAGES)
    assert found.cka == pytest.approx(1)
    assert found.psnr_direct == found.psnr_own == pytest.approx(found.psnr_mapped)
    assert found.are_interchangeable
    assert (found.fitted, found.held_out) == (20, 20)


@pytest.mark.parametrize("mixed", [torch.eye(6, dtype=torch.float64).roll(1, 0), 3 * rotation(6)])
def test_permuted_and_rotated_channels_are_the_same_space_but_for_a_map(mixed):
    """CKA does not see rotations and scales; decoded as they are they give something else, mapped the same."""
    found = compatibility(Cells(channels=6), Cells(channels=6, mixed=mixed), IMAGES)
    assert found.cka == pytest.approx(1)
    assert found.r2 == pytest.approx(1)
    assert found.psnr_mapped == pytest.approx(found.psnr_own)
    assert found.psnr_mapped_3x3 == pytest.approx(found.psnr_own, abs=1e-3)
    assert found.psnr_direct < found.psnr_own - 1
    assert found.are_linearly_mapped
    assert not found.are_interchangeable
    assert "a linear map" in found.sentence


def test_a_space_that_holds_something_else_is_not_compatible():
    """Six directions of twelve, and the six others: pixels are independent, so that they have nothing in common."""
    one, other = Cells(channels=6), Cells(channels=6)
    other.matrix = Cells().matrix[6:]
    found = compatibility(one, other, IMAGES)
    assert abs(found.cka) < 0.05
    assert found.r2 < 0.05
    assert found.psnr_mapped < found.psnr_own - 1
    assert not found.are_linearly_mapped
    assert found.sentence.startswith("different latent spaces")


def test_fewer_channels_have_no_direct_decoding():
    found = compatibility(Cells(channels=4), Cells(channels=6), IMAGES)
    assert found.psnr_direct is None
    assert "has other channels" in found.sentence
    assert found.r2 == pytest.approx(4 / 6, abs=0.05)  # four of the six channels are there, of the others nothing


def test_what_cannot_be_compared_is_said_in_a_line():
    class Coarse(Cells):
        def encode(self, x: Tensor) -> Point:
            return Point(torch.nn.functional.avg_pool2d(super().encode(x).mean, 2))

    with pytest.raises(DataError, match="6 x 6 x 4 of the one and 6 x 3 x 2 of the other"):
        compatibility(Cells(channels=6), Coarse(channels=6), IMAGES)
    with pytest.raises(DataError, match="images: 7, and two latent spaces are compared by 8 or more"):
        compatibility(Cells(), Cells(), IMAGES[:7])


def test_with_fewer_positions_than_weights_nothing_is_said_of_a_map():
    """Flat latents have one position an image: a rotation of 12 channels would be taken for another space."""
    assert compatibility(Cells(channels=6), Cells(channels=6), IMAGES[:8]).psnr_mapped_3x3 is None

    class Flat(Cells):
        def encode(self, x: Tensor) -> Point:
            return Point(super().encode(x).mean.flatten(1))

    with pytest.raises(DataError, match=r"images: 40, and a map of 12 channels, 1 positions an image, is .* 104 or"):
        compatibility(Flat(), Flat(), IMAGES[:, :, :2, :2])


def test_of_a_decoder_that_does_not_heed_its_latents_nothing_is_said():
    class Blind(Cells):
        def decode(self, z: Tensor) -> Tensor:
            return torch.full_like(super().decode(z), 0.5)

    with pytest.raises(DataError, match="whether it decodes these latents cannot be told"):
        compatibility(Cells(channels=6), Blind(channels=6), IMAGES)


def test_channels_of_any_scale_have_a_map():
    torch.manual_seed(0)
    scales = torch.tensor([1e-7, 1.0, 1e5, 0.0], dtype=torch.float64).view(1, -1, 1, 1)
    x = torch.randn(20, 4, 3, 3, dtype=torch.float64)
    weight = fit_map(scales * x, x)
    assert torch.allclose(apply_map(weight, scales * x)[:, :3], x[:, :3], atol=1e-8)
    assert weight.isfinite().all()


def test_debiased_cka_is_0_of_independent_latents_however_many_channels_there_are():
    """The plain one is about p / (n + p), here 0.5 (reference: independent Gaussians)."""
    torch.manual_seed(0)
    x, y = torch.randn(2, 64, 64, 8, 8).double()
    assert abs(debiased_cka(x, y)) < 0.02
    u, v = (z[:, :, 0, 0] - z[:, :, 0, 0].mean(0) for z in (x, y))
    plain = (v.T @ u).square().sum() / ((u.T @ u).norm() * (v.T @ v).norm())
    assert plain == pytest.approx(0.5, abs=0.05)


def test_debiased_cka_is_the_mean_over_sets_of_four_different_images():
    """The unbiased estimator is a U-statistic: of 5 images with all of its tuples written down."""
    from itertools import permutations

    torch.manual_seed(0)
    x, y = torch.randn(5, 3, 1, 1).double(), torch.randn(5, 2, 1, 1).double()
    k, m = (z.flatten(1) @ z.flatten(1).T for z in (x, y))

    def hsic(a: Tensor, b: Tensor) -> float:
        tuples = list(permutations(range(5), 4))
        return sum(float(a[i, j] * (b[i, j] + b[q, r] - 2 * b[i, q])) for i, j, q, r in tuples) / len(tuples)

    assert debiased_cka(x, y) == pytest.approx(hsic(k, m) / (hsic(k, k) * hsic(m, m)) ** 0.5)


def test_the_map_is_that_of_least_squares_and_of_3_x_3_a_convolution():
    torch.manual_seed(0)
    x = torch.randn(20, 3, 5, 4, dtype=torch.float64)
    convolution = torch.nn.Conv2d(3, 2, 3, padding=1).double()
    y = convolution(x).detach()
    assert torch.allclose(apply_map(fit_map(x, y, 3), x), y)
    rows = torch.cat([x.movedim(1, -1).reshape(-1, 3), torch.ones(400, 1)], 1).double()
    expected = torch.linalg.lstsq(rows, y.movedim(1, -1).reshape(-1, 2)).solution
    torch.testing.assert_close(fit_map(x, y), expected)
    assert 0 < r_squared(apply_map(fit_map(x, y), x), y) < 0.5 < r_squared(apply_map(fit_map(x, y, 3), x), y)
