"""Distances between sets of features, against closed forms, torchmetrics and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd

from lehr import randomness
from lehr.errors import DataError
from lehr.evaluation import generation
from lehr.evaluation.generation import compare_features, density_and_coverage, frechet_distance, kernel_distance


def normal(n, f, counter=0):
    return randomness.normal(3, "test", counter, (n, f)).double()


def with_moments(x, mean, covariance):
    """Points that have exactly this mean and this covariance."""
    x = x - x.mean(0)
    whiten = torch.linalg.inv(torch.linalg.cholesky(x.T @ x / (len(x) - 1)))
    return x @ whiten.T @ torch.linalg.cholesky(covariance).T + mean


class TestFrechet:
    def test_of_two_gaussians_that_commute_is_the_closed_form(self):
        variances = torch.tensor([[4.0, 9.0, 0.25], [1.0, 16.0, 0.25]], dtype=torch.float64)
        means = torch.tensor([[0.0, 1.0, 2.0], [1.0, 3.0, 2.0]], dtype=torch.float64)
        x, y = (with_moments(normal(50, 3, i), means[i], variances[i].diag()) for i in range(2))
        # |mu1 - mu2|^2 + sum (s1 - s2)^2 = 5 + (1 + 1 + 0)
        assert frechet_distance(x, y) == pytest.approx(7, rel=1e-10)

    def test_of_two_gaussians_that_do_not_commute_is_the_closed_form(self):
        a = torch.tensor([[2.0, 0.6], [0.6, 1.0]], dtype=torch.float64)
        b = torch.tensor([[1.0, -0.3], [-0.3, 3.0]], dtype=torch.float64)
        x, y = with_moments(normal(40, 2), 0, a), with_moments(normal(60, 2, 1), 0, b)
        # of a 2x2 matrix M with positive eigenvalues, tr M^(1/2) = sqrt(tr M + 2 sqrt(det M))
        root = math.sqrt(float((a @ b).trace()) + 2 * math.sqrt(float(torch.det(a) * torch.det(b))))
        assert frechet_distance(x, y) == pytest.approx(7 - 2 * root, rel=1e-10)

    def test_of_a_shifted_set_is_the_square_of_the_shift(self):
        x, shift = normal(100, 5), torch.arange(5.0, dtype=torch.float64)
        assert frechet_distance(x + shift, x) == pytest.approx(30, rel=1e-10)

    def test_of_a_set_and_itself_is_zero_even_where_its_covariance_is_singular(self):
        x = normal(20, 64)
        assert frechet_distance(x, x) == pytest.approx(0, abs=1e-10)
        assert frechet_distance(x + 1, x) == pytest.approx(64, rel=1e-10)

    @pytest.mark.parametrize("f", [8, 64])
    def test_equals_that_of_torchmetrics_on_the_same_features(self, f):
        fake, real = normal(300, f) @ normal(f, f, 1) + 0.3, normal(400, f, 2).exp()

        class Flat(torch.nn.Module):
            num_features = f

            def forward(self, images):
                return images.flatten(1)

        metric = FrechetInceptionDistance(Flat(), normalize=True).set_dtype(torch.float64)
        metric.update(fake[:, None, None], real=False)
        metric.update(real[:, None, None], real=True)
        assert frechet_distance(fake, real) == pytest.approx(float(metric.compute()), rel=1e-6)


class TestKernel:
    def test_equals_that_of_torchmetrics_on_the_same_features(self, monkeypatch):
        fake, real = normal(90, 12) + 0.5, normal(90, 12, 1)
        expected = float(poly_mmd(real, fake))
        assert kernel_distance(fake, real) == pytest.approx(expected, rel=1e-12)
        monkeypatch.setattr(generation, "_BLOCK", 7 * 90)  # blocks that do not divide the rows
        assert kernel_distance(fake, real) == pytest.approx(expected, rel=1e-12)

    def test_sets_may_differ_in_size(self):
        fake, real = normal(4, 3), normal(6, 3, 1)

        def k(x, y):
            return (float(x @ y) / 3 + 1) ** 3

        expected = (
            sum(k(fake[i], fake[j]) for i in range(4) for j in range(4) if i != j) / 12
            + sum(k(real[i], real[j]) for i in range(6) for j in range(6) if i != j) / 30
            - 2 * sum(k(x, y) for x in fake for y in real) / 24
        )
        assert kernel_distance(fake, real) == pytest.approx(expected, rel=1e-12)

    def test_is_zero_in_expectation_for_sets_of_the_same_kind(self):
        values = torch.tensor(
            [kernel_distance(normal(60, 6, 2 * i), normal(60, 6, 2 * i + 1)) for i in range(300)], dtype=torch.float64
        )
        error = float(values.std()) / math.sqrt(len(values))
        assert abs(float(values.mean())) < 3 * error  # a biased estimate is 60 errors off
        assert (values < 0).any()


def brute_force(fake, real, k):
    """Density and coverage as Naeem et al. 2020 write them down."""
    real, fake = real.numpy(), fake.numpy()
    own = np.sqrt(((real[:, None] - real[None]) ** 2).sum(-1))
    radius = np.sort(own, axis=1)[:, k]  # the first is the image itself
    inside = np.sqrt(((real[:, None] - fake[None]) ** 2).sum(-1)) < radius[:, None]
    return inside.sum() / (k * len(fake)), inside.any(1).mean()


class TestDensityAndCoverage:
    @pytest.mark.parametrize(("n", "m", "f"), [(100, 70, 3), (60, 150, 20)])
    def test_equal_brute_force_however_the_rows_are_cut(self, monkeypatch, n, m, f):
        real, fake = normal(n, f) + 50, 0.8 * normal(m, f, 1) + 50.2
        expected = brute_force(fake, real, 5)
        assert density_and_coverage(fake, real) == pytest.approx(expected, rel=1e-12)
        monkeypatch.setattr(generation, "_BLOCK", 7 * max(n, m))
        assert density_and_coverage(fake, real) == pytest.approx(expected, rel=1e-12)
        assert density_and_coverage(fake, real, k=2) == pytest.approx(brute_force(fake, real, 2), rel=1e-12)

    def test_of_sets_of_the_same_kind_are_near_their_expectations(self):
        n, k = 2000, 5
        density, coverage = density_and_coverage(normal(n, 4), normal(n, 4, 1))
        assert density == pytest.approx(1, abs=0.05)
        # Naeem et al. 2020, eq. 8
        missed = math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
        assert coverage == pytest.approx(1 - missed, abs=0.015)

    def test_a_dropped_mode_costs_coverage_and_not_density(self):
        centres = torch.tensor([[0.0, 0.0], [100.0, 0.0]], dtype=torch.float64).repeat(300, 1)
        real, fake = normal(600, 2) + centres, normal(600, 2, 1)
        whole = density_and_coverage(normal(600, 2, 2) + centres, real)
        dropped = density_and_coverage(fake, real)
        assert whole[1] > 0.93
        assert 0.45 < dropped[1] <= 0.5
        assert dropped[0] > 0.9

    def test_images_far_from_all_real_ones_have_neither(self):
        assert density_and_coverage(normal(50, 3) + 1000, normal(50, 3, 1)) == (0, 0)


class TestAllTogether:
    def test_real_against_real_is_small_and_a_shift_is_seen_by_each(self):
        real, other = normal(1000, 8), normal(1000, 8, 1)
        same, shifted = compare_features(other, real), compare_features(other + 1, real)
        assert same.frechet < 0.1
        assert abs(same.kernel) < 0.02
        assert same.coverage > 0.94
        assert shifted.frechet == pytest.approx(8, abs=0.6)
        assert shifted.kernel > 10 * abs(same.kernel)
        assert shifted.density < same.density
        assert shifted.coverage < same.coverage
        assert (same.n_fake, same.n_real, same.note) == (1000, 1000, "")

    def test_float32_features_are_compared_in_float64(self):
        fake, real = normal(30, 4).float(), normal(30, 4, 1).float()
        assert compare_features(fake, real) == compare_features(fake.double(), real.double())

    def test_fewer_images_than_features_are_said(self):
        assert compare_features(normal(20, 30), normal(100, 30, 1)).note == (
            "covariance rank-deficient: 20 generated images for 30 features, so frechet is far too large"
        )
        assert "20 generated and 30 real images" in compare_features(normal(20, 30), normal(30, 30, 1)).note
        assert compare_features(normal(31, 30), normal(31, 30, 1)).note == ""

    def test_what_cannot_be_compared_is_refused_in_one_line(self):
        with pytest.raises(DataError, match=r"^generation: 5 real images are too few, 6 or more are needed$"):
            compare_features(normal(10, 2), normal(5, 2))
        with pytest.raises(DataError, match=r"^generation: a feature of the generated images is not finite$"):
            compare_features(normal(10, 2) / 0, normal(10, 2))
        with pytest.raises(ValueError, match="expected features"):
            compare_features(normal(10, 2), normal(10, 3))
